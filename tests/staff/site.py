"""A site with the page: ``python -m tests.staff.site DATABASES``; prints its port when it is up.

DATABASES is JSON, as :func:`galera_router.expand` takes it. It ends with its standard input.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import django


def main(databases: dict[str, Any]) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.staff.settings"
    django.setup()
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.management import call_command
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application
    from django.db import connections

    from galera_router import expand
    from tests.integration.support import use_databases

    use_databases(expand(databases))
    call_command("migrate", verbosity=0, run_syncdb=True)
    connections.close_all()
    server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

"""Django on the drill's cluster, for each of its processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import django


def begin(settings: Path) -> None:
    """Have this process use the DATABASES that ``settings``, a file of JSON, has."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from galera_router import expand
    from tests.integration.support import use_databases

    use_databases(expand(json.loads(settings.read_text())))

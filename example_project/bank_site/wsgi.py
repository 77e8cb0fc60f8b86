"""The WSGI application, static files of the admin included.

Serving static files from Django is handy for an example; a real site lets its web server do it.
"""

from __future__ import annotations

import os

from cluster_strip.counts import Counting
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bank_site.settings")

application = Counting(StaticFilesHandler(get_wsgi_application()))

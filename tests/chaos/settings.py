"""Settings of the processes that a run starts; what differs is in the file it names."""

from __future__ import annotations

import os
from pathlib import Path

import galera_router
from tests.chaos.config import Config

CONFIG = Config.load(Path(os.environ["CHAOS_CONFIG"]))

SECRET_KEY = "for the tests only"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.chaos.views"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["galera_router", "tests.chaos"]
MIDDLEWARE = ["galera_router.middleware.GaleraMiddleware", "tests.chaos.views.visits"]
DATABASE_ROUTERS = ["galera_router.routers.GaleraRouter"]
DATABASES = galera_router.expand(CONFIG.databases)
LOGGING_CONFIG = None

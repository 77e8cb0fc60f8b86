"""Settings of the two processes: stock Django on one node, or the router on the cluster."""

from __future__ import annotations

import json
import os
from typing import Any

import galera_router

CONFIG: dict[str, Any] = json.loads(os.environ["DIFFERENTIAL"])
IS_ROUTER = CONFIG["side"] == "router"

SECRET_KEY = "for the tests only"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.differential.scenes"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "tests.shop"]
MIDDLEWARE: list[str] = []
DATABASES = CONFIG["databases"]
LOGGING_CONFIG = None
if IS_ROUTER:
    INSTALLED_APPS.insert(0, "galera_router")
    MIDDLEWARE.insert(0, "galera_router.middleware.GaleraMiddleware")
    DATABASE_ROUTERS = ["galera_router.routers.GaleraRouter"]
    DATABASES = galera_router.expand(DATABASES)

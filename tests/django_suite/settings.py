"""Settings for Django's suite; its ``runtests`` module sets most of the others itself."""

from __future__ import annotations

import json
import os

import django

import galera_router
from tests.django_suite.sides import ROUTER

DATABASES = json.loads(os.environ["SUITE_DATABASES"])
if os.environ["SUITE_SIDE"] == ROUTER:
    DATABASES = galera_router.expand(DATABASES)
    DATABASE_ROUTERS = ["galera_router.routers.GaleraRouter"]

TEST_RUNNER = "tests.django_suite.runner.Runner"
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if django.VERSION < (6,):
    DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False

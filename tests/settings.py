"""Settings of the test suite; the integration tests put a running cluster in the place of NODES."""

from __future__ import annotations

import galera_router

SECRET_KEY = "for the tests only"
USE_TZ = True
ROOT_URLCONF = "tests.shop.urls"
ALLOWED_HOSTS = ["*"]
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "galera_router",
    "tests.shop",
]
MIDDLEWARE = [
    "galera_router.middleware.GaleraMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASE_ROUTERS = ["galera_router.routers.GaleraRouter"]
DATABASES = galera_router.expand(
    {
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "galera_router",
            "USER": "galera",
            "PASSWORD": "galera",
            "NODES": {f"db{n}": {"HOST": "127.0.0.1", "PORT": n} for n in (1, 2, 3)},
        }
    }
)

"""Settings of the bank, read from the environment with django-environ.

``DATABASE_URL`` names the cluster: ``mysql://USER:PASSWORD@HOST:PORT,HOST:PORT,.../NAME``.
A file ``.env`` beside ``manage.py`` is read too.
"""

from __future__ import annotations

from pathlib import Path

import environ

import galera_router

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="only-for-development-set-SECRET_KEY-elsewhere")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])

DATABASES = galera_router.expand(
    {
        "default": {
            "URL": env.str("DATABASE_URL", default="mysql://bank@127.0.0.1:3306/bank"),
            "ATOMIC_REQUESTS": True,
            "CONN_MAX_AGE": env.int("CONN_MAX_AGE", default=60),
        }
    }
)
DATABASE_ROUTERS = ["galera_router.routers.GaleraRouter"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "galera_router",
    "galera_router.staff",
    "bank",
    "cluster_strip",
]

MIDDLEWARE = [
    "galera_router.middleware.GaleraMiddleware",
    "bank_site.policy.content_security_policy",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "bank.middleware.AskAgainMiddleware",
]

ROOT_URLCONF = "bank_site.urls"
WSGI_APPLICATION = "bank_site.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "cluster_strip.context.strip",
            ],
        },
    },
]

STATIC_URL = "static/"
TIME_ZONE = "UTC"
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="WARNING")},
}

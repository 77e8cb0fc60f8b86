"""The one check that cannot be the app's own: whether the app is installed."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core import checks
from django.db import connections

APP = "galera_router"
CLUSTER_KEY = "GALERA"  # in the settings of a cluster's alias


def check_installed(**kwargs: Any) -> list[checks.CheckMessage]:
    """The app is installed where DATABASES has a cluster; E002."""
    found = [alias for alias in connections.settings if CLUSTER_KEY in connections.settings[alias]]
    if not found or apps.is_installed(APP):
        return []
    return [
        checks.Error(
            f"DATABASES has a Galera cluster, {', '.join(map(repr, found))}, but the app is not"
            " installed: everything goes to the first node, and there is no failover.",
            hint=f'Add "{APP}" to INSTALLED_APPS.',
            id="galera_router.E002",
        )
    ]


def watch() -> None:
    """Have ``manage.py check`` ask; harmless when repeated."""
    checks.register(check_installed, APP)

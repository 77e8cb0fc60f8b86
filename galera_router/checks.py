"""System checks of the settings, with permanent IDs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.utils.module_loading import import_string

from .cluster import Cluster, clusters
from .markers import TABLE
from .middleware import GaleraMiddleware
from .routers import GaleraRouter


def check_tables(databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """The marker table is there; asked with ``check --database`` and by ``migrate``."""
    named = set(databases or ())
    return [message for c in clusters() if c.alias in named for message in _marker_table(c)]


def _marker_table(cluster: Cluster) -> list[CheckMessage]:
    options = cluster.config.options
    if not options.commit_marker or not options.failover_enable:
        return []
    wrapper = connections[cluster.alias]
    with wrapper.cursor() as cursor:
        tables = wrapper.introspection.table_names(cursor)
    if TABLE in tables or MigrationRecorder.Migration._meta.db_table not in tables:
        return []  # in a database that has never been migrated, it is not the only one
    return [
        Warning(
            f"The table {TABLE} is missing on {cluster.alias!r}: where the answer to a COMMIT is"
            " lost, nobody can tell whether it was carried out (CommitOutcomeUnknown).",
            hint="Run migrate (if it is running now, it will make the table), or set the option"
            " commit_marker to False.",
            id="galera_router.W002",
        )
    ]


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Router and middleware are where a cluster needs them."""
    found = clusters()
    return [*_router(), *_middleware(found)] if found else []


def _router() -> list[CheckMessage]:
    named: list[Any] = list(settings.DATABASE_ROUTERS)
    routers = [import_string(r) if isinstance(r, str) else type(r) for r in named]
    if any(issubclass(router, GaleraRouter) for router in routers):
        return []
    return [
        Error(
            "DATABASES has a Galera cluster, but DATABASE_ROUTERS has no router for it.",
            hint='Add "galera_router.routers.GaleraRouter" to DATABASE_ROUTERS.',
            id="galera_router.E001",
        )
    ]


def _middleware(found: list[Any]) -> list[CheckMessage]:
    atomic = [c.alias for c in found if connections.settings[c.alias]["ATOMIC_REQUESTS"]]
    path = f"{GaleraMiddleware.__module__}.{GaleraMiddleware.__qualname__}"
    if not atomic or path in settings.MIDDLEWARE:
        return []
    return [
        Warning(
            f"ATOMIC_REQUESTS is on for {', '.join(atomic)}, but MIDDLEWARE lacks"
            " GaleraMiddleware: a request that meets a deadlock fails instead of running again.",
            hint=f'Put "{path}" first in MIDDLEWARE.',
            id="galera_router.W001",
        )
    ]

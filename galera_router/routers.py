"""The database router: reads to the pinned secondary, writes to the cluster's alias."""

from __future__ import annotations

import functools
from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, models

from .cluster import Cluster, cluster_of
from .context import context_of
from .exceptions import ConfigurationError
from .installation import APP


class GaleraRouter:
    """For ``DATABASE_ROUTERS``; answers for clusters and leaves other databases alone."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        """The pinned secondary's alias, or the cluster's where the read must follow a write."""
        cluster = _cluster(hints)
        context = context_of(cluster.alias) if cluster is not None else None
        return context.read_alias() if context is not None else None

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        """The cluster's alias: wherever the primary now is."""
        cluster = _cluster(hints)
        return cluster.alias if cluster is not None else None

    def allow_relation(self, obj1: models.Model, obj2: models.Model, **hints: Any) -> bool | None:
        """All nodes of a cluster hold the same data."""
        first, second = cluster_of(obj1._state.db or ""), cluster_of(obj2._state.db or "")
        return True if first is not None and first is second else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Migrate through the cluster's alias only: the nodes replicate the rest.

        Our own table is of use on a cluster alone.
        """
        cluster = cluster_of(db)
        if cluster is None:
            return False if app_label == "galera_router" else None
        return None if cluster.alias == db else False


@functools.cache
def _require_app() -> None:
    """Without the app there is no snapshot and no failover: say so at the first query."""
    if not apps.is_installed(APP):
        raise ConfigurationError(
            f'DATABASE_ROUTERS names GaleraRouter, but INSTALLED_APPS lacks "{APP}".'
        )


def _cluster(hints: dict[str, Any]) -> Cluster | None:
    """The cluster that the object at hand comes from, else the default one."""
    _require_app()
    instance = hints.get("instance")
    alias = instance._state.db if instance is not None else None
    return cluster_of(alias or DEFAULT_DB_ALIAS)

"""System checks, with permanent IDs; docs/checks.md explains each.

``settings`` and ``databases`` require no server. For ``servers`` and ``tables`` each node is asked,
by ``check --database`` and by ``migrate``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core import checks

from galera_router.cluster.nodes import Cluster
from galera_router.cluster.registry import clusters
from galera_router.compat import checking

from . import databases as aliases
from . import guard, roles, servers, settings, tables
from .messages import APP
from .probe import Report, ask

__all__ = ["check_database", "check_settings", "register"]


def register() -> None:
    """Have ``manage.py check`` run them."""
    checks.register(check_settings, APP)
    checks.register(check_database, checks.Tags.database)
    checking.guard_checks(lambda: guard.Run(check_database).guard)


def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """Everything that can be told without a server."""
    found = clusters()
    return [*settings.check(found), *aliases.check(found), *roles.check(found)]


def check_database(databases: Iterable[str] | None = None, **kwargs: Any) -> list[Any]:
    """What each node of the clusters in ``databases`` is and has."""
    named = set(databases or ())
    return [message for c in clusters() if c.alias in named for message in _check_nodes(c)]


def _check_nodes(cluster: Cluster) -> list[checks.CheckMessage]:
    reports: list[Report] = [ask(node) for node in cluster.nodes]
    return [*servers.check(cluster, reports), *tables.check(cluster, reports)]

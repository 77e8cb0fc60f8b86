"""The database router: it pins the secondary to read from, and answers with the cluster's alias."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, models, router
from django.db.utils import ConnectionRouter

from galera_router.cluster.registry import cluster_of
from galera_router.compat import internals
from galera_router.conf import APP
from galera_router.exceptions import ConfigurationError
from galera_router.transactions.sessions import answer_of, session_of


class GaleraRouter:
    """For ``DATABASE_ROUTERS``, first of all: the routers behind it choose the database, as if
    it were not there, and where that is a cluster it chooses the node.
    """

    _asked: tuple[list[Any], ConnectionRouter] | None = None
    _alone_in: list[Any] | None = None  # the listed routers, if none is behind this one

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        """Choose the database to read from, as the routers behind this one would.

        Returns:
            Its alias. That of a cluster also has the attribute ``node``, the alias of the secondary
            that the read will go to, if there is one.

        Raises:
            ConfigurationError: INSTALLED_APPS lacks the app.
        """
        if self._alone_in is router.routers:
            chosen = _without_others(hints)
        else:
            chosen = self._behind().db_for_read(model, **hints)
        answer = answer_of(chosen)
        if answer is not None:
            return answer
        cluster = cluster_of(chosen)
        if cluster is None or cluster.alias != chosen:  # no cluster, or one node by its name
            return chosen
        session = session_of(chosen)
        return session.pin() if session is not None else chosen

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        """Choose the database to write to, as the routers behind this one would.

        Returns:
            Its alias; for the alias of a node, that of the node's cluster.

        Raises:
            ConfigurationError: INSTALLED_APPS lacks the app.
        """
        if self._alone_in is router.routers:
            chosen = _without_others(hints)
        else:
            chosen = self._behind().db_for_write(model, **hints)
        cluster = cluster_of(chosen)
        return cluster.alias if cluster is not None else chosen

    def allow_relation(self, obj1: models.Model, obj2: models.Model, **hints: Any) -> bool | None:
        """Returns True for two aliases of one cluster, which hold the same data; else None."""
        first, second = obj1._state.db or "", obj2._state.db or ""
        if first == second:
            return None
        cluster = cluster_of(first)
        return True if cluster is not None and cluster is cluster_of(second) else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Migrate through the cluster's alias only: the nodes replicate the rest.

        Our own tables are made on every cluster, and on no other database.

        Returns:
            False for a node's alias, and for our app on what is no cluster; True for our app on a
            cluster; else None, which is no opinion.
        """
        cluster = cluster_of(db)
        if app_label == APP:
            return cluster is not None and cluster.alias == db
        return None if cluster is None or cluster.alias == db else False

    def _behind(self) -> ConnectionRouter:
        """Django's own choice among the routers behind this one."""
        listed: list[Any] = router.routers
        if self._asked is None or self._asked[0] is not listed:
            _require_app()
            rest = listed[listed.index(self) + 1 :] if self in listed else []
            self._asked = listed, ConnectionRouter(rest)
            self._alone_in = None if rest else listed
        return self._asked[1]


def _without_others(hints: dict[str, Any]) -> str:
    """What Django chooses if no router has an opinion."""
    instance = hints["instance"] if "instance" in hints else None  # noqa: SIM401
    return (instance is not None and instance._state.db) or DEFAULT_DB_ALIAS


def _require_app() -> None:
    """Without the app there is no snapshot and no failover: say so at the first query.

    A test may leave it out of INSTALLED_APPS for a while; it has been started all the same.
    """
    if not internals.is_started() and not apps.is_installed(APP):
        raise ConfigurationError(
            f'DATABASE_ROUTERS names GaleraRouter, but INSTALLED_APPS lacks "{APP}".'
        )

"""System checks while no node can be used: a message instead of a traceback."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.core.checks import CheckMessage, Tags

from galera_router.cluster.nodes import Cluster
from galera_router.cluster.registry import clusters
from galera_router.connections.errors import is_permanent
from galera_router.exceptions import ClusterError

from .messages import error
from .probe import Report, ask

logger = logging.getLogger("galera_router")

Check = Callable[..., Any]

#: Seconds between two questions to nodes that do not answer.
ROUND = 0.5
#: Checks with these tags ask the server.
_ASKING = frozenset({Tags.models, Tags.database})


class Run:
    """One run of the system checks.

    Checks that need a server are left out if no node can be used, and that is told; ``ours`` says
    why, of each node. Where nodes may still come, they are waited for.

    Args:
        ours: the check that tells what is wrong with each node.
    """

    def __init__(self, ours: Check) -> None:
        self._ours = ours
        self._usable: dict[str, bool] = {}
        self._told: set[str] = set()

    def guard(self, check: Check) -> Check:
        """Returns what is called instead of ``check``."""
        if check is self._ours:
            return check
        asking = not _ASKING.isdisjoint(getattr(check, "tags", ()))

        def guarded(*args: Any, **kwargs: Any) -> Any:
            lacking = self._unusable(kwargs.get("databases")) if asking else []
            if lacking:
                return [message for alias in lacking for message in self._without(alias)]
            try:
                return check(*args, **kwargs)
            except ClusterError as failure:
                return self._tell(f"A system check needs a server: {failure}")

        return guarded

    def _unusable(self, databases: Iterable[str] | None) -> list[str]:
        """The clusters among ``databases`` of which no node can be used.

        Django 6.1 names all aliases, those of nodes too, where the user has named none: then
        nobody wants to wait.
        """
        named = set(databases or ())
        found = [c for c in clusters() if c.alias in named]
        waits = named.isdisjoint(alias for c in found for alias in c.config.node_aliases)
        return [c.alias for c in found if not self._is_usable(c, waits=waits)]

    def _is_usable(self, cluster: Cluster, *, waits: bool) -> bool:
        if cluster.alias not in self._usable:
            patience = cluster.config.options.reconnect_wait_time if waits else 0.0
            self._usable[cluster.alias] = wait_for_a_node(cluster, patience)
        return self._usable[cluster.alias]

    def _without(self, alias: str) -> list[CheckMessage]:
        return self._tell(
            f"No node of {alias!r} can be used, so all system checks that need one are left out."
        )

    def _tell(self, text: str) -> list[CheckMessage]:
        if text in self._told:
            return []
        self._told.add(text)
        hint = "Start the servers, or correct HOST and PORT. check --database says what each lacks."
        return [error(20, text, hint)]


def wait_for_a_node(cluster: Cluster, patience: float) -> bool:
    """Returns True if a node can be used, at the latest after ``patience`` seconds."""
    deadline, told = time.monotonic() + patience, False
    while True:
        reports = [ask(node) for node in cluster.nodes]
        if any(report.is_usable for report in reports):
            return True
        if not any(map(_may_come, reports)) or time.monotonic() >= deadline:
            return False
        if not told:  # with a patience of 0 it has ended before
            logger.warning(
                "%s: no node can be used yet; the system checks wait for up to %g s"
                " (reconnect_wait_time)",
                cluster.alias,
                patience,
            )
            told = True
        time.sleep(ROUND)


def _may_come(report: Report) -> bool:
    """Returns True if waiting may help."""
    if report.error is None:
        return report.is_mariadb
    return not is_permanent(report.error)

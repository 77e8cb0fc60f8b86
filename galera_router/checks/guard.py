"""System checks while no node can be used: a message instead of a traceback."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.core.checks import CheckMessage, Tags

from galera_router.cluster.nodes import Cluster, clusters
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

    Checks that need a server are left out if no node can be used; ``ours`` says why. Where nodes
    may still come, they are waited for.

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
            if asking and not self._all_usable(kwargs.get("databases")):
                return []
            try:
                return check(*args, **kwargs)
            except ClusterError as failure:
                return self._failed(failure)

        return guarded

    def _all_usable(self, databases: Iterable[str] | None) -> bool:
        named = set(databases or ())
        return all(self._is_usable(c) for c in clusters() if c.alias in named)

    def _is_usable(self, cluster: Cluster) -> bool:
        if cluster.alias not in self._usable:
            self._usable[cluster.alias] = wait_for_a_node(cluster)
        return self._usable[cluster.alias]

    def _failed(self, failure: ClusterError) -> list[CheckMessage]:
        if str(failure) in self._told:
            return []
        self._told.add(str(failure))
        hint = "check --database tells what is wrong with each node."
        return [error(20, f"A system check needs a server: {failure}", hint)]


def wait_for_a_node(cluster: Cluster) -> bool:
    """Returns True if a node can be used, at the latest after ``reconnect_wait_time``."""
    patience = cluster.config.options.reconnect_wait_time
    deadline, told = time.monotonic() + patience, False
    while True:
        reports = [ask(node) for node in cluster.nodes]
        if any(report.is_usable for report in reports):
            return True
        if not any(map(_may_come, reports)) or time.monotonic() >= deadline:
            return False
        if not told:
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

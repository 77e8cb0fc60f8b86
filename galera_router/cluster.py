"""The nodes of each cluster: how they are, which is the primary, where to read.

One record per node and process, shared by all threads. Nobody waits for a node that is known
to be down: after a growing, jittered pause a thread of its own tries it, or, where no node is
well, one caller at a time.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connections

from .conf import ClusterConfig, NodeConfig, cluster_config, node_role
from .verdict import is_permanent

logger = logging.getLogger("galera_router")

#: Seconds for which a node that was down must have been well before it is primary again.
FAILBACK_DELAY = 5.0
#: Seconds until a node that is down is tried again: the first pause and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


@dataclass(eq=False)
class Node:
    """One server, as this process knows it. Only its :class:`Cluster` changes it."""

    config: NodeConfig
    up: bool = True
    well_since: float = float("-inf")
    failures: int = 0
    retry_at: float = 0.0
    reason: str = field(default="", repr=False)
    permanent: bool = False

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def alias(self) -> str:
        return self.config.alias


class Cluster:
    """The nodes behind one role alias.

    Args:
        config: what :func:`galera_router.expand` left in the settings.
        clock: seconds, never going back.
        rng: chooses among the readers and jitters the pauses.
    """

    def __init__(
        self,
        config: ClusterConfig,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.config = config
        self.alias = config.alias
        self.nodes = tuple(Node(node) for node in config.nodes)
        self._clock = clock
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self._by_alias = {node.alias: node for node in self.nodes}
        #: the primary that this process last connected to; another one may still be applying
        #: what has been committed through that one
        self.acting: Node | None = None
        #: called with a node that is down and due to be tried; must not block
        self.probe: Callable[[Cluster, Node], None] = lambda cluster, node: None
        #: what the backend once asked of a server (version, sql_mode …), for new connections
        self.server_data: dict[str, Any] | None = None

    def node(self, alias: str) -> Node:
        """The node whose own alias is ``alias``."""
        return self._by_alias[alias]

    def primary(self) -> Node | None:
        """The node to write to: the first of NODES that is well, so that workers agree.

        A node that came back is passed over until it has been well for
        :data:`FAILBACK_DELAY`, unless there is no other.
        """
        self._probe_due()
        with self._lock:
            electable = [node for node in self.nodes if node.config.electable]
            up = [node for node in electable if node.up]
            settled = self._clock() - FAILBACK_DELAY
            for node in up:
                if node.well_since <= settled:
                    return node
            return up[0] if up else self._due(electable)

    def reader(self, exclude: Iterable[Node] = ()) -> Node | None:
        """The node to read from: HOST, else a random one; the primary if no other is well."""
        primary = self.primary()
        with self._lock:
            others = [node for node in self.nodes if node not in exclude]
            preferred = [node for node in others if node.alias == self.config.preferred]
            secondaries = [node for node in others if node is not primary]
            return self._well(preferred) or self._well(secondaries) or self._well(others)

    def any_down(self, *, electable: bool) -> Node:
        """The node to try when none is well and there is nothing to do but to try one."""
        with self._lock:
            nodes = [node for node in self.nodes if node.config.electable or not electable]
            down = [node for node in nodes if not node.up]
            if not down:
                return nodes[0]
            node = min(down, key=lambda node: node.retry_at)
            node.retry_at = self._clock() + self._pause(node)
            return node

    def mark_down(self, node: Node, error: BaseException) -> None:
        """Note that ``node`` cannot serve; it is tried again after a pause."""
        with self._lock:
            was_up, node.up = node.up, False
            node.failures += 1
            node.reason = str(error)
            node.permanent = is_permanent(error)
            node.retry_at = self._clock() + self._pause(node)
        if was_up:
            logger.warning("%s: node %s is down: %s", self.alias, node.name, error)

    def mark_up(self, node: Node) -> None:
        """Note that ``node`` has just answered."""
        if node.up:
            return
        with self._lock:
            node.up, node.failures, node.reason = True, 0, ""
            node.well_since = self._clock()
        logger.warning("%s: node %s is up again", self.alias, node.name)

    def hopeless(self, *, electable: bool) -> bool:
        """Whether no wait can help: every node refuses our name, password or database."""
        nodes = [node for node in self.nodes if node.config.electable or not electable]
        return all(not node.up and node.permanent for node in nodes)

    def complaints(self, *, electable: bool) -> str:
        """Each node and why it cannot serve, for an error message."""
        nodes = [node for node in self.nodes if node.config.electable or not electable]
        return "; ".join(f"{node.name}: {node.reason or 'not tried'}" for node in nodes)

    def _probe_due(self) -> None:
        """Have one node that is down tried, while others are well and nobody has to wait."""
        if all(node.up for node in self.nodes) or not any(node.up for node in self.nodes):
            return
        with self._lock:
            node = self._due(self.nodes)
        if node is not None:
            self.probe(self, node)

    def _well(self, nodes: list[Node]) -> Node | None:
        well = [node for node in nodes if node.up]
        return self._rng.choice(well) if well else None

    def _due(self, nodes: Iterable[Node]) -> Node | None:
        now = self._clock()
        for node in nodes:
            if not node.up and node.retry_at <= now:
                node.retry_at = now + self._pause(node)  # others pass by while one tries
                return node
        return None

    def _pause(self, node: Node) -> float:
        pause = min(FIRST_PAUSE * 2.0 ** min(node.failures, 10), LONGEST_PAUSE)
        return pause * self._rng.uniform(0.5, 1.0)


_clusters: dict[str, Cluster] = {}
_lock = threading.Lock()


def cluster_of(alias: str) -> Cluster | None:
    """The cluster whose role alias or node alias is ``alias``; None for other databases."""
    if alias not in connections.settings:
        return None
    settings = connections.settings[alias]
    role = node_role(settings) or alias
    config = cluster_config(connections.settings[role])
    if config is None:
        return None
    with _lock:
        known = _clusters.get(role)
        if known is None or known.config is not config:
            known = _clusters[role] = Cluster(config)
        return known


def clusters() -> list[Cluster]:
    """All clusters in DATABASES."""
    found = [cluster_of(alias) for alias in connections.settings]
    return list({id(cluster): cluster for cluster in found if cluster}.values())


def _renew_locks() -> None:
    """A lock that another thread held at the fork would never be released in the child."""
    global _lock
    _lock = threading.Lock()
    for cluster in _clusters.values():
        cluster._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)

"""Looking at the nodes: their state, and how many SELECTs each has answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import MySQLdb

if TYPE_CHECKING:
    from galera_router.testing import GaleraCluster, GaleraNode

LOOK = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN"
    " ('Com_select', 'wsrep_local_state_comment', 'wsrep_last_committed')"
)


def status(node: GaleraNode) -> dict[str, str] | None:
    """The node's status variables, or None where it does not answer (yet)."""
    if not node.running:
        return None
    try:
        return {name.lower(): value for name, value in node.query(LOOK)}
    except MySQLdb.Error:
        return None


def state(node: GaleraNode) -> str:
    """In one word: ``Synced`` or another of Galera's states, ``down`` or ``starting``."""
    if not node.running:
        return "down"
    seen = status(node)
    return seen["wsrep_local_state_comment"] if seen else "starting"


def states(cluster: GaleraCluster) -> str:
    """All nodes in one line."""
    return "   ".join(f"{node.name} {state(node)}" for node in cluster.nodes)


def positions(cluster: GaleraCluster) -> set[str | None]:
    """The last write that each node has applied; one element: all have the same."""
    seen = [status(node) for node in cluster.nodes]
    return {one["wsrep_last_committed"] if one else None for one in seen}


class ReadMeter:
    """Counts each node's SELECTs, across restarts of the node, which set its counter to zero."""

    def __init__(self, cluster: GaleraCluster) -> None:
        self._nodes = cluster.nodes
        self._last = {node.name: self._counter(node) or 0 for node in self._nodes}
        self._total = dict.fromkeys(self._last, 0)

    def look(self) -> None:
        """Read the counters; what a node answered after the last look before it died is lost."""
        for node in self._nodes:
            counter = self._counter(node)
            if counter is not None:
                last = self._last[node.name]
                self._total[node.name] += counter - last if counter >= last else counter
                self._last[node.name] = counter

    def shares(self) -> dict[str, float]:
        """Each node's part of all SELECTs, from 0 to 1."""
        everything = sum(self._total.values()) or 1
        return {name: count / everything for name, count in self._total.items()}

    @staticmethod
    def _counter(node: GaleraNode) -> int | None:
        seen = status(node)
        return int(seen["com_select"]) if seen else None

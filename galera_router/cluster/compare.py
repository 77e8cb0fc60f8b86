"""Ask the nodes where they are, to tell one that is behind from a cluster that stands still."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from galera_router.cluster.node import Node
from galera_router.cluster.position import Position
from galera_router.cluster.probe import started

#: Seconds that the nodes are given for their answers at least.
SHORTEST = 0.1

_found: WeakKeyDictionary[Node, tuple[float, bool]] = WeakKeyDictionary()
_lock = threading.Lock()


def lacks_something(node: Node) -> bool:
    """Returns True if another node that is up had committed more before ``node`` was asked.

    One thread at a time asks; those that have waited for it take its answer.
    """
    came = time.monotonic()
    with _lock:
        at, found = _found.get(node, (-math.inf, False))
        if at < came:
            at, found = time.monotonic(), _ask(node)
            _found[node] = at, found
        return found


def _ask(node: Node) -> bool:
    others = positions(other for other in node.cluster.nodes if other.up and other is not node)
    own = positions([node])
    return any(
        position.cluster_id == known.cluster_id and position.seqno > known.seqno
        for known in own
        for position in others
    )


def positions(nodes: Iterable[Node]) -> list[Position]:
    """Where ``nodes`` say that they are; those that do not answer in time are left out."""
    began, asked = time.monotonic(), [(node, _limit(node)) for node in nodes]
    longest = max((limit for _, limit in asked), default=0.0)
    pings = [ping for node, limit in asked if (ping := started(node, limit)) is not None]
    while any(ping.answer is None for ping in pings) and time.monotonic() - began < longest:
        time.sleep(0.001)
    answers = [ping.answer for ping in pings if ping.answer is not None]
    told = [answer.position for answer in answers if answer.error is None]
    return [position for position in told if position is not None]


def _limit(node: Node) -> float:
    timeout: float = node.cluster.config.options.watchdog_timeout
    return max(SHORTEST, timeout) + node.distance.allowance()


def _renew_lock() -> None:
    """A lock that another thread held at the fork would never be released in the child."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)

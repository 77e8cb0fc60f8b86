"""One thread per process that frees statements from dead nodes, and knows how the nodes are.

It is started by the first connection to a node. It looks every moment at what is in flight, and
has a node asked, by another thread, on which something has been in flight for long. While the
process works it also has every node asked now and then.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from weakref import WeakKeyDictionary

from galera_router.cluster.nodes import Node, clusters_met
from galera_router.cluster.vigil import Moment, Vigil
from galera_router.connections import connection as wire
from galera_router.connections.connection import NodeConnection

logger = logging.getLogger("galera_router")

#: Seconds since it was last used for which a cluster's nodes are asked how they are.
ACTIVE = 10.0
#: Seconds between two looks, at most, and while nothing is in use.
LOOK, IDLE_LOOK = 0.125, 0.5


class Watchdog:
    """Looks after all connections of the process.

    Args:
        clock: seconds, never going back.
        wall: seconds of the time of day.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._vigils: WeakKeyDictionary[Node, Vigil] = WeakKeyDictionary()
        self._looked = clock()
        self._meant = LOOK  # seconds to sleep before the next look
        self._awake = 0.0
        self._woken = threading.Event()
        self._sleeps = False

    def start(self) -> None:
        """Begin; raises RuntimeError if no thread is to be had."""
        threading.Thread(target=self._run, name="galera_router: watchdog", daemon=True).start()

    def wake(self) -> None:
        """There is a new connection to look after."""
        if self._sleeps:
            self._woken.set()

    def look(self) -> float | None:
        """Do what is due now; returns the seconds until the next look, None for no more."""
        moment = self._moment()
        links: defaultdict[Node, list[NodeConnection]] = defaultdict(list)
        for link in wire.links():
            links[link.node].append(link)
        nodes = {node for cluster in clusters_met() for node in cluster.nodes}
        busy = False
        for node in nodes | links.keys():
            active = node in nodes and moment.now - node.cluster.used < ACTIVE
            busy |= self._vigil(node).look(moment, links[node], active=active) or active
        if not busy and not any(links.values()):
            return None
        self._meant = self._pause(links) if busy else IDLE_LOOK
        return self._meant

    def _moment(self) -> Moment:
        """Now; time in which the whole process stood still does not count as awake."""
        now = self._clock()
        self._awake += min(now - self._looked, 2 * self._meant)
        self._looked = now
        return Moment(now, self._awake, self._wall())

    def _vigil(self, node: Node) -> Vigil:
        vigil = self._vigils.get(node)
        if vigil is None:
            vigil = self._vigils[node] = Vigil(node)
        return vigil

    def _pause(self, links: dict[Node, list[NodeConnection]]) -> float:
        limits = (link.options.watchdog_after for some in links.values() for link in some)
        shortest = min((limit for limit in limits if limit), default=4 * LOOK)
        return max(0.02, min(LOOK, shortest / 4))

    def _run(self) -> None:
        while True:
            self._woken.clear()
            self._sleeps = True  # before looking: a connection made from here on wakes us
            try:
                pause = self.look()
            except Exception:  # the thread must live on
                logger.exception("the watchdog has failed to look after the connections")
                pause = ACTIVE
            self._sleeps = pause is None
            self._woken.wait(pause)


_watchdog: Watchdog | None = None
_lock = threading.Lock()


def ensure() -> None:
    """Have a watchdog in this process, awake."""
    watchdog = _watchdog or _begin()
    if watchdog is not None:
        watchdog.wake()


def _begin() -> Watchdog | None:
    global _watchdog
    with _lock:
        if _watchdog is None:
            watchdog = Watchdog()
            try:
                watchdog.start()
            except RuntimeError as error:  # the interpreter is ending, say
                logger.warning("no watchdog: a statement on a dead node may hang: %s", error)
            else:
                _watchdog = watchdog
        return _watchdog


def install() -> None:
    """Have the first connection to a node start the watchdog."""
    wire.on_new = ensure


def _after_fork() -> None:
    """The parent's thread is not here; our own first connection starts another."""
    global _watchdog, _lock
    _watchdog = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)

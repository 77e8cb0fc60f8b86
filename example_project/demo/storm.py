"""Nodes are killed and come back: first a secondary, then the primary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.nodes import state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from galera_router.testing import GaleraCluster, GaleraNode

# When, as parts of the whole show.
SECONDARY_DIES, SECONDARY_STARTS = 0.2, 0.3
PRIMARY_DIES, PRIMARY_STARTS = 0.47, 0.57


class Storm:
    """The storm is told the time again and again by :meth:`blow`, and does what is due by then.

    ``before_kill`` is called right before a node dies, ``say`` tells the audience.
    """

    def __init__(
        self,
        cluster: GaleraCluster,
        seconds: float,
        say: Callable[[str], None],
        before_kill: Callable[[], None],
    ) -> None:
        self._primary, self._secondary = cluster.nodes[:2]
        self._seconds = seconds
        self._say = say
        self._before_kill = before_kill
        self._now = 0.0
        self._plot = self._steps()

    def blow(self, now: float) -> bool:
        """Do what is due ``now``, in seconds since the start; False if the storm is over."""
        self._now = now
        return next(self._plot, None) is not None

    def _steps(self) -> Iterator[bool]:
        yield from self._until(SECONDARY_DIES)
        self._kill(self._secondary, "a secondary")
        yield from self._until(SECONDARY_STARTS)
        yield from self._start(self._secondary)
        # Two of three nodes at once would be more than a cluster of three survives.
        yield from self._until(PRIMARY_DIES)
        self._kill(self._primary, "the primary")
        yield from self._until(self._now / self._seconds + PRIMARY_STARTS - PRIMARY_DIES)
        yield from self._start(self._primary)

    def _until(self, part: float) -> Iterator[bool]:
        while self._now < part * self._seconds:
            yield True

    def _kill(self, node: GaleraNode, role: str) -> None:
        self._before_kill()
        node.kill()
        self._say(f"kill -9 {node.name}, {role}")

    def _start(self, node: GaleraNode) -> Iterator[bool]:
        start = self._now
        self._say(f"{node.name} is started again")
        node.start(wait=False)
        while state(node) != "Synced":
            yield True
        self._say(f"{node.name} is Synced again, after {self._now - start:.1f} s")

"""For how long a node has lacked what another one has.

A node whose applier stands still (a backup has locked a table, say) answers and says that it is
in step. Only its position tells: it stays, while those of the others go on. A node that is merely
busy lacks the last transactions, but has all that the others had a moment ago.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from galera_router.cluster.position import Position

#: Seconds for which positions are kept beyond those that are asked about.
KEPT = 60.0


class _Stay:
    """A node was heard to be at ``seqno`` from ``first`` to ``last``."""

    def __init__(self, seqno: int, at: float) -> None:
        self.seqno = seqno
        self.first = self.last = at


class Track:
    """The positions that one node has told, and when."""

    def __init__(self) -> None:
        self._at: Position | None = None
        self._stays: deque[_Stay] = deque()

    def note(self, position: Position, at: float, kept: float = KEPT) -> None:
        """Note that the node was at ``position`` at the moment ``at``.

        Args:
            position: what it has told.
            at: any clock's seconds, the same for all nodes.
            kept: seconds after which that may be forgotten.
        """
        if not self._goes_on(position):  # it was started anew, or the cluster was
            self._stays.clear()
        self._at = position
        if self._stays and self._stays[-1].seqno == position.seqno:
            self._stays[-1].last = at
        else:
            self._stays.append(_Stay(position.seqno, at))
        while len(self._stays) > 1 and self._stays[1].first < at - kept:
            self._stays.popleft()

    def _goes_on(self, position: Position) -> bool:
        known = self._at
        if known is None or (known.cluster_id, known.node) != (position.cluster_id, position.node):
            return False
        return position.seqno >= known.seqno

    def clear(self) -> None:
        """The node is down: where it had come says nothing any more."""
        self._at = None
        self._stays.clear()

    def beyond(self, position: Position) -> float | None:
        """When the node was first heard to have what ``position`` lacks; None if it was not."""
        if not self._compares(position):
            return None
        return next((stay.first for stay in self._stays if stay.seqno > position.seqno), None)

    def was_within(self, position: Position, since: float) -> bool:
        """Returns True if the node had no more than ``position`` at some moment after ``since``."""
        return self._compares(position) and any(
            stay.seqno <= position.seqno and stay.last >= since for stay in self._stays
        )

    def _compares(self, position: Position) -> bool:
        """Returns True for a position of another server of the same cluster."""
        known = self._at
        if known is None or known.cluster_id != position.cluster_id:
            return False
        return not position.node or known.node != position.node


def seconds(position: Position, others: Iterable[Track], now: float) -> float:
    """For how long a node at ``position`` has lacked what one of ``others`` has; 0 if it does not.

    At least so long: it is not known before the others are asked.
    """
    moments = [track.beyond(position) for track in others]
    found = [moment for moment in moments if moment is not None]
    return max(0.0, now - min(found)) if found else 0.0

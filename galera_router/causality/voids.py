"""Tokens of what a cluster does not have, and never will.

A cluster that was begun again from an older node goes on from an earlier point than the one that
clients have tokens of. One that was built anew has another identity. Nobody but the cluster can
tell: :mod:`galera_router.transactions.waiting` asks it, and what it has said is remembered here,
for the process.

In the place of a void position stands the one that the cluster had come to when that was found out.
So a read is never older than what there was then.
"""

from __future__ import annotations

import time
from weakref import WeakKeyDictionary

from galera_router.cluster.nodes import Cluster
from galera_router.cluster.position import Mark, Position

#: Seconds after a void token for which others are expected: as long as most clients keep theirs.
EXPECTED = 600.0
#: Void tokens that are remembered.
KEPT = 1000

_Key = tuple[Position | Mark, str]


class Voids:
    """The void tokens of one cluster."""

    def __init__(self) -> None:
        self._instead: dict[_Key, Position] = {}
        self._until = float("-inf")

    @property
    def expected(self) -> bool:
        """Returns True if a void token was met of late: its cluster is asked about others first."""
        return time.monotonic() < self._until

    def note(self, position: Position | Mark, instead: Position, *, expect: bool) -> None:
        """``position`` is void, as the cluster has said when it had come to ``instead``.

        Args:
            position: what a token named.
            instead: what stands in its place.
            expect: more such tokens are expected. Not of a marker that was removed: that is found
                out without a wait.
        """
        if expect:
            self._until = time.monotonic() + EXPECTED
        self._instead[position, position.signed] = instead
        for key in list(self._instead)[:-KEPT]:
            self._instead.pop(key, None)

    def instead(self, position: Position | Mark) -> Position | None:
        """Returns the position to use instead of ``position``; None if it is not known as void.

        It is known of the very token that was asked about: a later one may be of the same number.
        """
        return self._instead.get((position, position.signed)) if position.signed else None


_voids: WeakKeyDictionary[Cluster, Voids] = WeakKeyDictionary()


def voids_of(cluster: Cluster) -> Voids:
    """The void tokens of ``cluster`` in this process."""
    return _voids.setdefault(cluster, Voids())


def instead_of(cluster: Cluster, position: Position | Mark) -> Position | None:
    """Returns the position to use instead of ``position``; None if it is not known as void.

    Nothing is known any more once the cluster has another identity.
    """
    found, known = voids_of(cluster).instead(position), cluster.membership
    return found if found and known and known.agreed == found.cluster_id else None

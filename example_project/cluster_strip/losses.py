"""What the site has to remember when a node is lost, from what the router tells of.

A statement or transaction that was under way on the node goes on elsewhere: a failover, whose
seconds are told. A request that has still to write finds no primary, and waits until there is
another one; that is no failover of its own, and how long it waited is known when it is answered.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cluster_strip import counts
from galera_router import signals

if TYPE_CHECKING:
    from galera_router.events import Failover, NodeDown, NodeUp, PrimaryChanged

#: Seconds in which a process that hears of a new primary first also notices why.
SOON = 2.0

_down: set[str] = set()  # nodes, as far as this process knows
_moved: dict[str, tuple[str, float]] = {}  # from which node: to which, and when, by the clock


def install() -> None:
    """Listen from now on; harmless when repeated."""
    for signal, receiver in (
        (signals.node_down, note_down),
        (signals.node_up, note_up),
        (signals.primary_changed, note_primary),
        (signals.failover, note_failover),
    ):
        signal.connect(receiver, dispatch_uid=f"cluster_strip {receiver.__name__}", weak=False)


def note_down(event: NodeDown, **kwargs: Any) -> None:
    """A node was lost; another one may be the primary in its place already."""
    _down.add(event.node)
    node, since = _moved.pop(event.node, ("", 0.0))
    if node and time.monotonic() - since < SOON:
        counts.note_failover(event.node, node, 0.0)


def note_up(event: NodeUp, **kwargs: Any) -> None:
    """It is back."""
    _down.discard(event.node)


def note_primary(event: PrimaryChanged, **kwargs: Any) -> None:
    """Another node is the primary: a failover if the one before it was lost."""
    if event.before in _down:
        counts.note_failover(event.before, event.node, 0.0)
    else:
        _moved[event.before] = event.node, time.monotonic()


def note_failover(event: Failover, **kwargs: Any) -> None:
    """What was under way has gone on elsewhere."""
    counts.note_failover(event.lost, event.taken_over_by, event.seconds)

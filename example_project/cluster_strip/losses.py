"""What the site has to remember when a node is lost, from what the router tells of.

A statement or transaction that was under way on the node goes on elsewhere: a failover, whose
seconds are told. A request that has still to write finds no primary, and waits until there is
another one: from the moment that this process has noticed the loss.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cluster_strip import counts
from galera_router import signals

if TYPE_CHECKING:
    from galera_router.events import Failover, NodeDown, NodeUp, PrimaryChanged

_down: dict[str, float] = {}  # since when, by the clock, as far as this process knows


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
    """A node was lost."""
    _down.setdefault(event.node, time.monotonic())


def note_up(event: NodeUp, **kwargs: Any) -> None:
    """It is back."""
    _down.pop(event.node, None)


def note_primary(event: PrimaryChanged, **kwargs: Any) -> None:
    """Another node is the primary: a failover if the one before it was lost."""
    since = _down.get(event.before)
    if since is not None:
        counts.note_failover(event.before, event.node, time.monotonic() - since)


def note_failover(event: Failover, **kwargs: Any) -> None:
    """What was under way has gone on elsewhere."""
    counts.note_failover(event.lost, event.taken_over_by, event.seconds)

"""Signals that an application may subscribe to, each with one frozen event.

``failover`` is sent after a failover has succeeded, in the thread that met it, with the
keyword argument ``event``, a :class:`Failover`. An exception in a receiver is logged and
goes no further: the transaction that was just rescued is not the receiver's to break.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.dispatch import Signal

logger = logging.getLogger("galera_router")


@dataclass(frozen=True)
class Failover:
    """One node was lost and another took over an open transaction or a statement."""

    alias: str
    """The cluster's alias."""
    lost: str
    """Name of the node that was lost."""
    taken_over_by: str
    """Name of the node that goes on."""
    reason: str
    """What the driver said of the loss."""
    seconds: float
    """From the error to the moment the replay was done."""
    replayed: int
    """Statements replayed and compared."""


failover = Signal()


def report(event: Failover) -> None:
    """Log ``event`` at WARNING and tell the receivers."""
    logger.warning(
        "%s: failover from %s to %s in %.3f s, %d statements replayed: %s",
        event.alias,
        event.lost,
        event.taken_over_by,
        event.seconds,
        event.replayed,
        event.reason,
    )
    for receiver, outcome in failover.send_robust(sender=Failover, event=event):
        if isinstance(outcome, Exception):
            logger.error("failover receiver %r failed", receiver, exc_info=outcome)

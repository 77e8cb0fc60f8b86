"""Signals that an application may subscribe to, each with one frozen event.

Each is sent with the keyword argument ``event``, one of :mod:`galera_router.events`; ``sender`` is
its class. :func:`send`, which is not for applications, sends them and writes their lines to the
log; ``Promotion`` has none. An exception in a receiver goes no further, and Django logs it: the
transaction that was just rescued is not the receiver's to break.

An event that is met in the middle of a statement is kept until that is done, so that a receiver may
use the database.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from django.dispatch import Signal

from galera_router import events
from galera_router.events import Event
from galera_router.events import Failover as Failover

P = ParamSpec("P")

logger = logging.getLogger("galera_router")

node_down = Signal()
node_up = Signal()
node_out_of_step = Signal()
node_in_step = Signal()
node_lagging = Signal()
node_caught_up = Signal()
node_refusing = Signal()
node_accepting = Signal()
primary_changed = Signal()
failover = Signal()
promotion = Signal()
replay = Signal()
conflict = Signal()
rerun = Signal()
rerun_refused = Signal()
outcome_settled = Signal()
outcome_unknown = Signal()
waited = Signal()
no_turn = Signal()
token_ignored = Signal()

#: The signal of each kind of event.
SIGNALS: Mapping[type[Event], Signal] = {
    events.NodeDown: node_down,
    events.NodeUp: node_up,
    events.NodeOutOfStep: node_out_of_step,
    events.NodeInStep: node_in_step,
    events.NodeLagging: node_lagging,
    events.NodeCaughtUp: node_caught_up,
    events.NodeRefusing: node_refusing,
    events.NodeAccepting: node_accepting,
    events.PrimaryChanged: primary_changed,
    events.Failover: failover,
    events.Promotion: promotion,
    events.Replay: replay,
    events.Conflict: conflict,
    events.Rerun: rerun,
    events.RerunRefused: rerun_refused,
    events.OutcomeSettled: outcome_settled,
    events.OutcomeUnknown: outcome_unknown,
    events.Waited: waited,
    events.NoTurn: no_turn,
    events.TokenIgnored: token_ignored,
}

#: What an event's field is called on a record of the log: ``galera_node``.
PREFIX = "galera_"
#: How many subjects of lines that are not repeated are remembered.
SUBJECTS = 1000


def _now(event: Event) -> bool:
    return False


#: Returns True if it keeps the event, to be given to :func:`deliver` later.
hold: Callable[[Event], bool] = _now


def send(kind: Callable[P, Event], *values: P.args, **fields: P.kwargs) -> None:
    """Tell of what has happened, if anybody listens: else no event is made.

    Args:
        kind: the event's class.
        *values: of its fields, in their order.
        **fields: of the others, by name.
    """
    if _listens(kind):
        event = kind(*values, **fields)
        if not hold(event):
            deliver(event)


def _listens(kind: Any) -> bool:
    """Returns True if there is a receiver, or if the log may have a line for it."""
    signal: Signal = SIGNALS[kind]
    return bool(signal.receivers) or (kind.LEVEL > 0 and logger.isEnabledFor(kind.LEVEL))


def deliver(event: Event) -> None:
    """Write the line of ``event`` and tell the receivers. Only :func:`send` makes events."""
    if event.LINE:
        _log(event)
    signal = SIGNALS[type(event)]
    if signal.receivers:
        signal.send_robust(sender=type(event), event=event)


def _log(event: Event) -> None:
    if not logger.isEnabledFor(event.level):
        return
    left_out = _left_out(event)
    if left_out is None:
        return
    line, values = event.line, event.values()
    extra = {PREFIX + name: value for name, value in values.items()}
    extra[f"{PREFIX}event"] = type(event).__name__
    if left_out:
        line, values["more"] = f"{line} (and %(more)d more since that was last told)", left_out
    logger.log(event.level, line, values, extra=extra)


_told: dict[object, tuple[float, int]] = {}  # subject: when it was told, and how often not since
_lock = threading.Lock()


def _left_out(event: Event) -> int | None:
    """How many lines like that of ``event`` were left out before it; None to leave it out, too."""
    if not event.PAUSE:
        return 0
    subject, now = (type(event), event.subject), time.monotonic()
    with _lock:
        told, more = _told.get(subject, (float("-inf"), 0))
        if now - told < event.PAUSE:
            _told[subject] = told, more + 1
            return None
        if len(_told) >= SUBJECTS:
            _told.clear()
        _told[subject] = now, 0
    return more


def forget_told() -> None:
    """Have each line written that is next, whatever was written just now."""
    _told.clear()


def _renew_lock() -> None:
    """After a fork another thread's lock would never be released."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)

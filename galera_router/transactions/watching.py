"""Who wants to know of each statement of the application, and where it was answered.

The two ways on which a statement is sent, the long one and the fast lane, are replaced by watched
ones only while there is somebody. Else they are as if there were none of this.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from galera_router.cluster.node import Node
from galera_router.connections.connection import NodeConnection, Tally
from galera_router.connections.packet import Step

from .cursor import Call, _Door
from .lane import Lane
from .statements import Statement

logger = logging.getLogger("galera_router")

Observer = Callable[[Statement, NodeConnection], None]
#: How many statements a node has answered; True: plain reads, False: all others.
Totals = Counter[tuple[Node, bool]]

_send = Call.send
_query_quickly = _Door._query_quickly
_observers: tuple[Observer, ...] = ()

_lock = threading.Lock()
_tallies: list[tuple[Node, weakref.ref[NodeConnection], Tally]] = []
_ended: Totals = Counter()  # what was counted on connections that are gone


def watch(*observers: Observer, count: bool = False) -> None:
    """Have ``observers``, and no others, called when a statement of the application was answered.

    They are called with the statement and the connection, in the statement's thread. What they
    raise is logged.

    Args:
        count: have :func:`totals` count, too; it does as soon as there is an observer.
    """
    global _observers
    _observers = observers
    watched = bool(observers) or count
    if watched and Call.send is _send:  # it begins now: what was counted once is of no interest
        _ended.subtract(totals())
    Call.send = _watched_send if watched else _send  # type: ignore[method-assign]
    quickly = _watched_quickly if watched else _query_quickly
    _Door._query_quickly = quickly  # type: ignore[method-assign]


def totals() -> Totals:
    """What was counted so far."""
    with _lock:
        for entry in list(_tallies):
            node, link, tally = entry
            if link() is None:  # nobody counts there any more
                _add(_ended, node, tally)
                _tallies.remove(entry)
        found = _ended.copy()
        for node, _, tally in _tallies:
            _add(found, node, tally)
    return found


def _add(totals: Totals, node: Node, tally: Tally) -> None:
    totals[node, True] += tally.reads
    totals[node, False] += tally.others


@functools.wraps(_send)
def _watched_send(
    self: Call,
    link: NodeConnection,
    before: Sequence[Step] = (),
    *,
    head: bytes = b"",
    tail: bytes = b"",
    asks: bool = False,
    until: float = 0.0,
) -> Any:
    rows = _send(self, link, before, head=head, tail=tail, asks=asks, until=until)
    tally = link.tally or _begin_tally(link)
    if self.statement.readable:
        tally.reads += 1
    else:
        tally.others += 1
    if _observers:
        _tell(self.statement, link)
    return rows


@functools.wraps(_query_quickly)
def _watched_quickly(self: _Door, lane: Lane, sql: bytes) -> Any:
    rows = _query_quickly(self, lane, sql)
    if self._lane is lane:  # else it has gone the long way
        link = lane.link
        tally = link.tally or _begin_tally(link)
        tally.reads += 1
        if _observers and self._statement is not None:
            _tell(self._statement, link)
    return rows


def _begin_tally(link: NodeConnection) -> Tally:
    link.tally = tally = Tally()
    with _lock:
        _tallies.append((link.node, weakref.ref(link), tally))
    return tally


def _tell(statement: Statement, link: NodeConnection) -> None:
    for observe in _observers:
        try:
            observe(statement, link)
        except Exception:  # the others are to be told all the same
            logger.exception("what watches the statements has failed")


def _after_fork() -> None:
    """The parent counts its own; another thread's lock would never be released."""
    global _lock
    _lock = threading.Lock()
    _tallies.clear()
    _ended.clear()


os.register_at_fork(after_in_child=_after_fork)

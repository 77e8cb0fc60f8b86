"""Who wants to see each statement of the application, and where it was sent.

The two ways on which a statement is sent, the long one and the fast lane, are replaced by watched
ones only while there is somebody. Else they are as if there were none of this.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from galera_router.connections.connection import NodeConnection
from galera_router.connections.packet import Step

from .cursor import Call, _Door
from .lane import Lane
from .statements import Statement

logger = logging.getLogger("galera_router")

Observer = Callable[[Statement, NodeConnection], None]

_send = Call.send
_query_quickly = _Door._query_quickly
_observers: tuple[Observer, ...] = ()


def watch(*observers: Observer) -> None:
    """Have ``observers``, and no others, called when a statement of the application was answered.

    They are called with the statement and the connection, in the statement's thread. What they
    raise is logged.
    """
    global _observers
    _observers = observers
    Call.send = _watched_send if observers else _send  # type: ignore[method-assign]
    quickly = _watched_quickly if observers else _query_quickly
    _Door._query_quickly = quickly  # type: ignore[method-assign]


@functools.wraps(_send)
def _watched_send(
    self: Call,
    link: NodeConnection,
    before: Sequence[Step] = (),
    *,
    head: bytes = b"",
    tail: bytes = b"",
    until: float = 0.0,
) -> Any:
    rows = _send(self, link, before, head=head, tail=tail, until=until)
    _tell(self.statement, link)
    return rows


@functools.wraps(_query_quickly)
def _watched_quickly(self: _Door, lane: Lane, sql: bytes) -> Any:
    rows = _query_quickly(self, lane, sql)
    if self._lane is lane and self._statement is not None:  # else it has gone the long way
        _tell(self._statement, lane.link)
    return rows


def _tell(statement: Statement, link: NodeConnection) -> None:
    try:
        for observe in _observers:
            observe(statement, link)
    except Exception:
        logger.exception("what watches the statements has failed")

"""The one door: what sits in ``DatabaseWrapper.connection`` in place of the driver's connection.

Django's ``Atomic``, ``ATOMIC_REQUESTS`` and ``on_commit`` keep their state on the wrapper and
reach the server only through that attribute. With this object there, Django's own state machine
runs unmodified and becomes lazy: no server hears of a transaction before its first statement, and
the primary not before the first write.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper
from MySQLdb.connections import Connection as DriverConnection

from galera_router.connections.connection import NodeConnection

from .cursor import Call, door
from .direct import Direct
from .statements import Statement

if TYPE_CHECKING:
    from .cursor import _Door
    from .lane import Lane


class Owner(Protocol):
    """Whose door it is: a cluster's session, or one node by its alias."""

    lane: Lane | None
    wrapper: BaseDatabaseWrapper

    def run(self, call: Call) -> Any: ...
    def any_link(self, statement: Statement | None) -> NodeConnection: ...
    def is_open(self, link: NodeConnection) -> bool: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def set_autocommit(self, flag: bool) -> None: ...
    def ping(self) -> None: ...
    def close(self) -> None: ...
    def direct_link(self) -> NodeConnection: ...
    def note_left(self, link: NodeConnection, left: Statement | str) -> None: ...


class Connection:
    """The DB-API connection that a wrapper sees; anything unusual is asked of the driver's.

    Args:
        owner: who carries it out.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        # The owner's own, without a step in between: these are called in every request.
        self.commit = owner.commit
        self.rollback = owner.rollback
        self.autocommit = owner.set_autocommit
        #: Sends a statement to where it belongs; returns the number of rows.
        self.run = owner.run

    def cursor(self, cursorclass: Any = None) -> Any:
        """A cursor that belongs to no server yet.

        Args:
            cursorclass: the driver's, or a class built on one; without, that of the settings.
        """
        chosen = cursorclass
        if chosen is None:
            options = self.owner.wrapper.settings_dict["OPTIONS"]
            chosen = DriverConnection.default_cursor
            if "cursorclass" in options:
                chosen = options["cursorclass"] or chosen
        if type(chosen) is type:
            return door(chosen)(self)
        if not isinstance(chosen, type):  # a factory: there is no class to build on
            return chosen(self._direct())
        return door(chosen)(self)

    def ping(self, *args: Any) -> None:
        self.owner.ping()

    def close(self) -> None:
        self.owner.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def next_result(self, *args: Any) -> int:
        """No result waits for a cursor that has not been executed."""
        return -1

    def __getattr__(self, name: str) -> Any:
        """What a driver's connection has, without a promotion for the mere look at it."""
        if name.startswith("__"):
            raise AttributeError(name)
        found = inspect.getattr_static(DriverConnection, name, None)
        if inspect.isroutine(found):
            if name in _ON_THE_CLIENT:
                return getattr(self.owner.any_link(None).connection, name)
            return lambda *args, **kwargs: getattr(self._direct(), name)(*args, **kwargs)
        return getattr(self.owner.any_link(None).connection, name)

    def _direct(self) -> Direct:
        return Direct(self.owner, self.owner.direct_link())

    # --- what a cursor asks

    def writes_literals_for(self, cursor: _Door, statement: Statement) -> NodeConnection:
        """Have ``cursor`` speak through some connection: how values are written depends on it."""
        link: NodeConnection | None = cursor._link
        if link is None or not self.owner.is_open(link):
            link = self.owner.any_link(statement)
            if not cursor._whole:
                cursor._discard()
            cursor._link, cursor._ticket = link, -1
        cursor.connection = link.connection
        return link


_ON_THE_CLIENT = frozenset(
    {"literal", "escape", "escape_string", "string_literal", "character_set_name"}
)

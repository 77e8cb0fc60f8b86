"""The driver's connection, where the application uses it past the door.

A statement that comes through the door tells what it leaves on its connection. What the application
does on the driver's own does not come that way, and is seen here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import MySQLdb

from galera_router.connections.connection import NodeConnection

from .statements import Statement, classify

if TYPE_CHECKING:
    from .connection import Owner

#: Methods that send a statement, and its text where it is not the argument.
_SENDS = {
    "query": "", "send_query": "", "begin": "BEGIN", "commit": "COMMIT", "rollback": "ROLLBACK",
    "autocommit": "SET autocommit = 0",
}  # fmt: skip
#: Those that set something without one that is seen.
_SETS = frozenset(
    {"change_user", "select_db", "set_character_set", "set_server_option", "set_sql_mode"}
)


class Direct:
    """The driver's connection of ``link``, in whose use the owner is told what may be left there.

    Args:
        owner: whose door the application came past.
        link: the connection.
    """

    def __init__(self, owner: Owner, link: NodeConnection) -> None:
        self._owner = owner
        self._link = link

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._link.connection, name)
        if name in _SENDS or name in _SETS:
            return functools.partial(self._call, name, found)
        return found

    def _call(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        finally:  # of one that has failed nobody knows what it has left
            self._owner.note_left(self._link, _left(name, *args, *kwargs.values()))
            with suppress(MySQLdb.Error):  # it is closed
                self._link.note_way()


def _left(name: str, *args: Any) -> Statement | str:
    """Returns the statement that was sent, or how a message names the method that was called."""
    if name in _SETS:
        return f"{name}() of the driver's connection"
    sql = _SENDS[name] or (args[0] if args else "")
    return classify(sql if isinstance(sql, str) else bytes(sql))

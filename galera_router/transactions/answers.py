"""What ``LAST_INSERT_ID()`` and ``ROW_COUNT()`` would give if there were one server alone.

They live on one connection, and are those of the statement before. After a failover the new
connection knows nothing of them, and what we send along with a statement changes them.

Of an INSERT the key is known here. What draws or sets one in another way, such as a procedure or
``LAST_INSERT_ID(n)``, is given the key that was drawn before, and leaves one that only its own
connection knows.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

from galera_router.connections.connection import NodeConnection
from galera_router.connections.packet import Step
from galera_router.exceptions import FailoverImpossible
from galera_router.recovery.journal import Answer, Rows
from galera_router.recovery.keys import key_drawn
from galera_router.recovery.lexer import Token, tokens

from .cursor import Call

_Link = weakref.ref[NodeConnection] | None
_Insert = tuple[bytes, Rows | None, int, int, Any, _Link]
#: Inserts that are looked through for the last one that has drawn a key.
INSERTS = 8
#: Said where 0 would be written in the place of a key.
UNKNOWN_KEY = "LAST_INSERT_ID() is not known any more: the connection that knew it was lost."
#: Bytes of a statement that is worth looking through.
LONG = 64 * 1024


class Answers:
    """Of one session.

    Attributes:
        rows: what ``ROW_COUNT()`` would give.
    """

    def __init__(self) -> None:
        self._key: int | None = None  # None if none was drawn; 0 if it is not known
        self.rows = 0  # of the last statement; as after what sets a connection up
        # On which the server knows the key by itself; not kept alive: it would never be closed.
        self._link: _Link = None
        # Those that nobody has looked through yet: nearly always nobody asks.
        self._inserts: deque[_Insert] = deque(maxlen=INSERTS)

    def note(self, call: Call, link: NodeConnection | None) -> None:
        """A statement has been answered on ``link``; None if not by a server."""
        statement, cursor = call.statement, call.cursor
        self.rows = -1 if cursor.description is not None else cursor.rowcount
        if statement.sets_key and link is not None:  # the server alone knows it now
            self._inserts.clear()
            self._key, self._link = 0, weakref.ref(link)
            return
        if not statement.insert:
            return
        rows = None
        if cursor.description is not None:
            rows = cursor._rows if cursor.gives_tuples else cursor.tuples()
        known = weakref.ref(link) if link is not None else None
        told = rows and rows[:1], cursor.rowcount, cursor.lastrowid, cursor.description
        sql = call.sql if len(call.sql) < LONG else b""  # its key counts as not known
        self._inserts.append((sql, *told, known))

    def failed(self) -> None:
        """A statement has ended with an error."""
        self.rows = -1

    def ended(self) -> None:
        """A transaction has ended; with stock Django ``SET autocommit = 1`` follows."""
        self.rows = 0

    def ahead(self, call: Call, link: NodeConnection) -> list[Step]:
        """What has to be sent ahead of ``call`` so that it is given the right key.

        Raises:
            FailoverImpossible: it would write a key that nobody knows any more.
        """
        if not (call.statement.asks or call.statement.sets_key):
            return []
        if self._inserts:
            self._find_key(backslashes=b"\\" in link.connection.literal("'"))
        if self._key is None or (self._link is not None and self._link() is link):
            return []
        if self._key == 0 and call.statement.write and _uses_key(call):
            raise FailoverImpossible(UNKNOWN_KEY)
        return [Step(b"SET LAST_INSERT_ID = %d" % self._key)]

    def key_on(self, link: NodeConnection) -> int:
        """What ``LAST_INSERT_ID()`` gives on ``link`` behind what goes :meth:`ahead`.

        Raises:
            Exception: the driver's errors; the server is asked where nobody else knows.
        """
        if self._key == 0 and self._link is not None and self._link() is link:
            link.query(b"SELECT LAST_INSERT_ID()")
            return int(link.rows()[0][0])
        return self._key or 0

    def _find_key(self, *, backslashes: bool) -> None:
        link: _Link = None
        full = len(self._inserts) == INSERTS
        for sql, rows, rowcount, lastrowid, columns, link in reversed(self._inserts):
            answer = Answer(rows, rowcount, lastrowid, columns)
            key = key_drawn(sql, answer, backslashes=backslashes)
            if key != 0:
                self._key, self._link = key or 0, link
                break
        else:
            if full:  # the server knows it unless it was drawn on yet another connection
                self._key, self._link = 0, link
        self._inserts.clear()

    def fill_in(self, call: Call) -> None:
        """Write the number of rows into a statement that asks for it."""
        if call.statement.asks and b"ROW_COUNT" in call.sql.upper() and len(call.sql) < LONG:
            call.sql = _with_rows(call.sql, self.rows)


def _uses_key(call: Call) -> bool:
    """Returns True unless ``call`` asks for a number of rows only."""
    sql = call.sql.upper()
    return call.statement.asks and (b"LAST_INSERT_ID" in sql or b"IDENTITY" in sql)


def _with_rows(sql: bytes, rows: int) -> bytes:
    """``sql`` with the number in the place of each ``ROW_COUNT()``."""
    found = tokens(sql)
    for first, opening, closing in reversed(list(zip(found, found[1:], found[2:], strict=False))):
        if first.word == b"ROW_COUNT" and (opening.text, closing.text) == (b"(", b")"):
            alias = b" AS `ROW_COUNT()`" if _is_column(found, closing.end) else b""
            sql = sql[: first.start] + b"%d" % rows + alias + sql[closing.end :]
    return sql


def _is_column(found: tuple[Token, ...], end: int) -> bool:
    """Returns True for ``SELECT ROW_COUNT()`` alone, whose column has that name."""
    return len(found) == 4 and found[0].word == b"SELECT" and found[-1].end == end

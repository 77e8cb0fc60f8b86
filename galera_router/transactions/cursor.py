"""The one door: a DB-API cursor that belongs to no server until its statement needs one.

It is a subclass of the cursor class that the user has chosen, and takes the place of the driver's
cursor. Execute wrappers, debug cursors and whatever else wraps a cursor stand above it and see
each statement of the application once; what is sent again for a replay never passes them.

``execute``, ``executemany`` and ``callproc`` decide what a statement is. It is sent in ``_query``,
the last step of mysqlclient's cursor: there its bytes are final, and the batches of
``executemany`` pass one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any

import MySQLdb
from MySQLdb.constants import CR
from MySQLdb.cursors import Cursor

from galera_router.connections.connection import NodeConnection, written_otherwise
from galera_router.connections.errors import ERRORS
from galera_router.connections.packet import Packet, Step, next_answer
from galera_router.recovery.journal import Answer, Entry

from .lane import Lane, known
from .statements import Statement, classify

if TYPE_CHECKING:
    from .connection import Connection


#: Bytes from which on a statement may be more than the server takes, and what may go with it.
LARGE, SPARE = 256 * 1024, 1024
#: What of a cursor class makes its rows.
_OF_ROWS = ("_fetch_type", "_fetch_row", "_do_get_result", "_post_get_result", "_query")
#: Said of a connection that was cut inside an answer.
NO_COLUMNS = "the answer has no columns"


@dataclass(slots=True)
class Call:
    """One statement of the application, on its way to a server.

    Attributes:
        cursor: the application's cursor.
        statement: what it is.
        sql: the bytes to send.
        query: the driver's own way to send them.
        writes: it may write, whatever it looks like: a secondary has refused it.
    """

    cursor: Any
    statement: Statement
    sql: bytes
    query: Callable[[bytes], Any]
    writes: bool = False

    def send(
        self,
        link: NodeConnection,
        before: Sequence[Step] = (),
        *,
        head: bytes = b"",
        tail: bytes = b"",
        asks: bool = False,
        until: float = 0.0,
    ) -> Any:
        """Send it on ``link`` and take its answer; returns the number of rows.

        Args:
            link: the connection.
            before: statements of ours that go ahead of it in its packet.
            head: what keeps it inside its transaction; see :mod:`galera_router.connections.packet`.
            tail: makes one compound statement of it, with ``head``.
            asks: whether the transaction is open is asked behind it.
            until: when the wait that the packet begins with is to be ended (monotonic seconds).

        Raises:
            FailoverImpossible: the values in it are written for a connection of another kind.
            MySQLdb.Error: the server's or the driver's error.
        """
        cursor = self.cursor
        if cursor._link.way != link.way:  # of the connection that it was written for or sent to
            raise written_otherwise(cursor._link, link)
        cursor.point_at(link)
        if len(self.sql) >= LARGE:
            link.check_size(len(self.sql) + SPARE)
        link.until = until
        link.busy = monotonic()
        try:
            if before or head:
                counts = bool(tail) and not self.statement.insert
                packet = Packet(link.connection, before, head, tail, counts=counts, asks=asks)
                return self._in_packet(cursor, packet)
            rows = self.query(self.sql)
            self._check_answer(cursor)
            cursor._whole = self.statement.readable and cursor.buffered
            return rows
        except MySQLdb.Error:
            link.note_failure()
            raise
        finally:
            link.busy = link.until = 0.0
            if cursor.connection is not None:
                cursor.connection = link.connection
            if self.statement.state:
                link.note_way()

    def _in_packet(self, cursor: Any, packet: Packet) -> Any:
        cursor.connection = packet
        rows = self.query(self.sql)
        self._check_answer(cursor)
        cursor._whole = self.statement.readable and cursor.buffered
        packet.check_open()
        if packet.encloses and cursor.description is not None:
            next_answer(packet.driver)  # that of the compound statement, behind the rows
            packet.driver.discard_result()
        return rows

    def _check_answer(self, cursor: Any) -> None:
        """A connection that was cut inside an answer may look as if there were no rows."""
        if self.statement.readable and cursor.description is None:
            raise MySQLdb.OperationalError(CR.SERVER_LOST, NO_COLUMNS)

    @property
    def buffered(self) -> bool:
        """Returns True if the answer will be held on the client, where it can be noted."""
        return bool(self.cursor.buffered)

    def entry(self) -> Entry:
        """The journal's entry of what has just been answered; only if it is buffered."""
        statement = self.statement
        if statement.savepoint is not None:
            return Entry(self.sql)
        entry = Entry(self.sql, self._answer(), statement.ordered, statement.insert)
        entry.session, entry.plain = statement.verb == "SET", statement.plain and not self.writes
        return entry

    def failed(self, number: int) -> Entry:
        """The journal's entry of a statement that has failed with error ``number``."""
        return Entry(self.sql, insert=self.statement.insert, error=number)

    def _answer(self) -> Answer:
        cursor = self.cursor
        if cursor.description is None:
            return Answer(None, cursor.rowcount, cursor.lastrowid)
        rows = cursor._rows if cursor.gives_tuples else cursor.tuples()
        return Answer(rows, cursor.rowcount, cursor.lastrowid, cursor.description)

    def put_answer(self, rows: tuple[Any, ...] | None, rowcount: int) -> int:
        """Give the cursor an answer that came another way than by its own connection."""
        cursor = self.cursor
        cursor._executed = self.sql
        cursor._result = None
        cursor._rows = rows or ()
        cursor.rownumber = 0
        cursor.rowcount = rowcount
        cursor.lastrowid = 0
        cursor.description = None if rows is None else (("", None, None, None, None, None, False),)
        return rowcount


@functools.cache
def door(base: Any) -> type:
    """The cursor class ``base`` as a door to the cluster."""
    buffered = hasattr(base, "scroll")
    tuples = not buffered or all(getattr(base, name) == getattr(Cursor, name) for name in _OF_ROWS)
    members = {
        "__module__": base.__module__,
        "buffered": buffered,
        "gives_tuples": tuples,
        "executemany_fallback": "loop",  # several statements in one would be taken for the first
        "_execute_as_driver": base.execute,
        "_query_as_driver": base._query,
    }
    bases = (_Door, base) if tuples else (_OtherRows, _Door, base)
    return type(base.__name__, bases, members)


class _Door:
    """What :func:`door` puts on top of the driver's cursor class.

    Attributes:
        buffered: it holds its whole answer on the client.
        gives_tuples: its rows are the driver's tuples, which nobody can change.
    """

    buffered: bool
    gives_tuples: bool
    _execute_as_driver: Any
    _query_as_driver: Any
    connection: Any
    description: Any
    _rows: Any
    _result: Any
    rownumber: Any

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)  # type: ignore[call-arg]
        self._home = connection
        self._owner = connection.owner
        self._link: NodeConnection | None = None
        self._ticket = -1
        self._statement: Statement | None = None  # what is being executed
        self._lane: Lane | None = None  # on which it is
        self._whole = True  # nothing of its answer is left on the connection

    # --- what the application calls

    def execute(self, query: Any, args: Any = None) -> Any:
        lane = self._owner.lane
        if lane is not None and self._statement is None:
            statement = lane.read(query)
            if statement is not None and self.buffered and self.connection is not None:
                return self._run_quickly(lane, statement, query, args)
        execute = self._execute_as_driver
        if self._statement is not None:  # a batch of executemany
            return execute(query, args)
        return self._run(known(query), "execute", execute, query, args)

    def _run_quickly(self, lane: Lane, statement: Statement, query: Any, args: Any) -> Any:
        if self._link is not lane.link:
            if not self._whole:
                self._discard()
            self._link = lane.link
        self.connection = lane.link.connection
        self._statement, self._lane = statement, lane
        try:
            return self._execute_as_driver(query, args)
        finally:
            self._statement = self._lane = None

    def executemany(self, query: Any, args: Any) -> Any:
        if not isinstance(args, (list, tuple)) and args is not None:
            args = list(args)
        executemany = super().executemany  # type: ignore[misc]
        return self._run(classify(query), "executemany", executemany, query, args)

    def callproc(self, procname: Any, args: Any = ()) -> Any:
        callproc = super().callproc  # type: ignore[misc]
        return self._run(classify(b"CALL p()"), "callproc", callproc, procname, args)

    def _run(self, statement: Statement, name: str, run: Any, *args: Any) -> Any:
        if self.connection is None:
            raise MySQLdb.ProgrammingError("cursor closed")
        if self._statement is not None:  # called through a proxy around the driver's connection
            return run(*args)
        self._statement = statement
        try:
            link = self._home.writes_literals_for(self, statement)
            if link.proxied:
                return self._through_proxy(link, name, args)
            return run(*args)
        finally:
            self._statement = None

    def _through_proxy(self, link: NodeConnection, name: str, args: Any) -> Any:
        """Have a proxy around the driver's connection, such as a tracer's, see the statement."""
        return getattr(link.connection.cursor(lambda connection: self), name)(*args)

    # --- what the driver's cursor does with it

    def _query(self, q: Any) -> Any:
        if self._lane is not None:
            return self._query_quickly(self._lane, bytes(q))
        query = self._query_as_driver
        statement = self._statement
        if statement is None:
            return query(q)
        q = bytes(q)
        if statement.verb == "CALL":
            statement = classify(q)
        return self._home.run(Call(self, statement, q, query))

    def _query_quickly(self, lane: Lane, sql: bytes) -> Any:
        """Send a read on the fast lane; see :mod:`galera_router.transactions.lane`."""
        link, session = lane.link, lane.session
        if len(sql) >= LARGE or (lane.begins and lane.is_stale()):
            return self._home.run(self.call(sql))
        assert self._statement is not None
        session.leave_lane(self, self._statement, sql)
        rows, failed = None, None
        link.busy = monotonic()
        try:
            if lane.begins:
                self.connection = lane.packet()
            rows = self._query_as_driver(sql)
            if self.description is None:
                raise MySQLdb.OperationalError(CR.SERVER_LOST, NO_COLUMNS)
        except (*ERRORS, UnicodeError) as error:
            failed = error
        finally:
            link.busy = 0.0
            self.connection = link.connection
        if failed is not None:  # the long way may lead to another connection
            return session.after_lane(self.call(sql), lane, failed)
        self._whole = True
        lane.note(self, self._statement, sql)
        return rows

    def call(self, sql: bytes) -> Call:
        """The statement that is being executed, to be sent the long way."""
        assert self._statement is not None
        statement, self._lane = self._statement, None
        return Call(self, statement, sql, self._query_as_driver)

    def point_at(self, link: NodeConnection) -> None:
        """Speak through ``link`` from now on."""
        self._whole = False
        if self._link is not link:
            self._discard()
            self._link = link
        self.connection = link.connection
        link.drain()
        self._ticket = link.ticket

    def _discard(self) -> None:
        """Drain only what is one's own.

        The garbage collector may close a cursor in the middle of another one's packet.
        """
        if self._whole:
            self.description = self.description_flags = None
            self._rows = self.rownumber = None
            return
        if self._link is not None and self._ticket == self._link.ticket:
            super()._discard()  # type: ignore[misc]
            return
        connection, self.connection = self.connection, None
        try:
            super()._discard()  # type: ignore[misc]
        finally:
            self.connection = connection


class _OtherRows:
    """For a class whose rows are no tuples: dictionaries, say, that the application may change.

    What is noted of an answer is taken from the driver's result once more.
    """

    _stored: Any = None
    _result: Any

    def _post_get_result(self) -> None:
        self._stored = self._result
        super()._post_get_result()  # type: ignore[misc]

    def _discard(self) -> None:
        self._stored = None
        super()._discard()  # type: ignore[misc]

    def tuples(self) -> tuple[tuple[Any, ...], ...]:
        """The rows of the answer that has just come."""
        self._stored.data_seek(0)
        rows: tuple[tuple[Any, ...], ...] = self._stored.fetch_row(0)
        return rows


def is_sending(frame: FrameType, cursor: Any) -> bool:
    """Returns True if ``cursor`` is sending a statement on the fast lane in ``frame``."""
    return frame.f_code is _Door._query_quickly.__code__ and frame.f_locals["self"] is cursor

"""Send a journal to another node, in as few packets as possible, and compare every answer."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from MySQLdb.cursors import Cursor

from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import Verdict, errno, verdict
from galera_router.connections.packet import IS_OPEN, Step, several_statements
from galera_router.exceptions import ReplayMismatch
from galera_router.recovery import keys, variables
from galera_router.recovery.compare import Difference, Kind, Look, compare, difference
from galera_router.recovery.inserts import Insert
from galera_router.recovery.journal import Answer, Entry
from galera_router.recovery.keys import Kept, Table
from galera_router.recovery.lexer import trimmed
from galera_router.recovery.marker import MarkerGone, is_fenced, moved

Check = Callable[[Any], None]

#: Bytes of one packet; the server's max_allowed_packet is 16 MB unless set lower.
PACKET = 512 * 1024
#: How the message of a ReplayMismatch begins, unless the caller says it better.
PHRASE = "The data changed while the transaction ran"
_SEPARATOR = b"\n;\n"  # on a line of its own: a statement may end in a comment
_LOST = 2013


class Replay:
    """One run of a journal on one driver connection.

    Args:
        link: a connection outside a transaction.
        error: the driver's base error class.
        conflict: its class for a deadlock and for a lost connection.
        phrase: how the message of a mismatch begins; what differs follows behind a colon.
    """

    def __init__(
        self,
        link: NodeConnection,
        *,
        error: type[Exception],
        conflict: type[Exception],
        phrase: str = PHRASE,
    ) -> None:
        self._link = link
        self._connection = link.connection
        self._limit = PACKET if several_statements(link.connection) else 0
        self._error = error
        self._conflict = conflict
        self._phrase = phrase
        self._packet: list[tuple[bytes, Check | None, bytes | None]] = []
        self._size = 0
        self._looks: list[Look] = []
        self._tables: dict[bytes, Table] = {}
        self._pinned = False
        # The driver escapes a quote as the session's SQL mode wants it.
        self._backslashes = b"\\" in self._literal("'")

    def run(self, begin: Iterable[Step], entries: Iterable[Entry]) -> None:
        """Open a transaction with ``begin`` and bring it to where ``entries`` ended.

        If that fails, the session's variables are what they were before the transaction; the
        transaction itself is left open.

        Raises:
            ReplayMismatch: an answer differs from the one in the journal.
            MarkerGone: the marker could not be advanced.
            Exception: the driver's errors, where the connection or the transaction is gone.
        """
        self._link.drain()
        variables.restore(self._link)
        try:
            self._run(begin, entries)
        except Exception:
            self._restore()
            raise

    def _run(self, begin: Iterable[Step], entries: Iterable[Entry]) -> None:
        for step in begin:
            self._add(step.statement, functools.partial(self._done, step), None)
        for entry in entries:
            if not entry.plain:  # it may lock or write: see _still_open
                self._flush()
            self._replay(entry)
            if not entry.plain:
                self._flush()
        self._flush()

    def _restore(self) -> None:
        """Leave nothing on a connection that is still of use."""
        with contextlib.suppress(self._error):
            if self._pinned:
                self._link.query(keys.UNPIN)
            variables.restore(self._link)

    def _replay(self, entry: Entry) -> None:
        if entry.session:
            variables.remember(self._link, entry.statement)
        if entry.error is not None:
            self._alone(entry)
        elif (kept := self._kept(entry)) is not None:
            self._send_kept(entry, kept)
        else:
            self._send(entry)

    def _send(self, entry: Entry) -> None:
        key = keys.pinned_key(entry, backslashes=self._backslashes)
        if key is not None:
            self._add(b"SET INSERT_ID = %d" % key, None, None)
            self._flush()
            self._pinned = True
        matters = keys.key_matters(entry, backslashes=self._backslashes)
        check = functools.partial(self._compare, entry, matters)
        self._add(entry.statement, check, entry.statement)
        if key is not None:
            self._flush()
            self._add(keys.UNPIN, self._unpinned, None)

    def _unpinned(self, cursor: Any) -> None:
        self._pinned = False

    # --- inserts that values are written into

    def _kept(self, entry: Entry) -> Kept | None:
        insert = keys.told(entry, backslashes=self._backslashes)
        if insert is None:
            return None
        table = self._table(insert)
        if not table.columns:
            return None
        there = self._there(entry, insert, table) if insert.may_replace else ()
        return keys.with_keys(entry, insert, table, self._literal, there)

    def _table(self, insert: Insert) -> Table:
        if insert.table not in self._tables:
            rows = self._ask(keys.describe(insert, self._literal))
            self._tables[insert.table] = Table.of(rows)
        return self._tables[insert.table]

    def _there(self, entry: Entry, insert: Insert, table: Table) -> set[int]:
        assert entry.answer is not None
        told = keys.keys_told(insert, entry.answer, table)
        if not told or table.auto is None:
            return set()
        name = b"`" + table.auto.replace(b"`", b"``") + b"`"
        wanted = b", ".join(b"%d" % key for key in told)
        statement = b"SELECT %s FROM %s WHERE %s IN (%s) LOCK IN SHARE MODE" % (
            name, insert.table, name, wanted,
        )  # fmt: skip
        return {key for (key,) in self._ask(statement)}

    def _send_kept(self, entry: Entry, kept: Kept) -> None:
        one = entry.answer is not None and entry.answer.rowcount == 1
        check = functools.partial(self._compare, entry, one)
        self._add(kept.statement, check, entry.statement)
        for name, value in kept.sequences:
            self._flush()
            self._add(b"DO SETVAL(%s, %d)" % (name.encode(), value), None, None)
        if kept.drawn is not None:
            self._flush()
            self._add(b"SET LAST_INSERT_ID = %d" % kept.drawn, None, None)

    def _literal(self, value: Any) -> bytes:
        text: bytes = self._connection.literal(value)
        return text

    # --- packets

    def _add(self, statement: bytes, check: Check | None, source: bytes | None) -> None:
        """Have ``statement`` sent.

        Args:
            statement: what to send.
            check: called with the cursor that holds its answer.
            source: the application's statement, if it is one.
        """
        statement = trimmed(statement, backslashes=self._backslashes)
        if self._packet and self._size + len(statement) > self._limit:
            self._flush()
        self._packet.append((statement, check, source))
        self._size += len(statement) + len(_SEPARATOR)

    def _flush(self) -> None:
        if len(self._packet) > 1 and self._packet[-1][2] is not None:
            self._packet.append((IS_OPEN, self._still_open, None))
        packet, self._packet, self._size = self._packet, [], 0
        if not packet:
            return
        position = 0
        with self._cursor() as cursor:
            try:
                cursor.execute(_SEPARATOR.join(statement for statement, _, _ in packet))
                for position, (_, check, _) in enumerate(packet):
                    if position and cursor.nextset() is None:
                        raise self._unknown()
                    if check is not None:
                        check(cursor)
            except self._error as error:
                self._raise(error, packet[position][2])
        looks, self._looks = self._looks, []
        for look in looks:
            self._look(look)

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        # Not the application's class, whose rows may be dicts; and made past a tracer around the
        # connection, which would show the values of rows that are in the text.
        cursor = Cursor(self._connection)
        self._link.busy = time.monotonic()
        try:
            yield cursor
        except BaseException:
            self._link.busy = self._link.until = 0.0
            with contextlib.suppress(self._error):  # of a connection that is lost: 2014, say
                cursor.close()
            raise
        self._link.busy = self._link.until = 0.0
        cursor.close()

    def _ask(self, statement: bytes) -> tuple[Any, ...]:
        """The rows of a statement of ours, behind all that is to be sent."""
        self._flush()
        with self._cursor() as cursor:
            cursor.execute(statement)
            if cursor.description is None:
                raise self._unknown()
            rows: tuple[Any, ...] = cursor.fetchall()
            return rows

    def _alone(self, entry: Entry) -> None:
        self._flush()
        with self._cursor() as cursor:
            try:
                cursor.execute(entry.statement)
            except self._error as error:
                self._failed(entry, error)
            else:
                if entry.error is not None:
                    raise self._mismatch(entry.statement, Kind.SUCCEEDS, entry.error)
                self._compare(entry, False, cursor)

    def _failed(self, entry: Entry, error: Exception) -> None:
        if entry.error is None or verdict(error) is not Verdict.STATEMENT:
            self._raise(error, entry.statement)
        elif errno(error) != entry.error:
            raise self._mismatch(entry.statement, Kind.OTHER_ERROR, errno(error)) from error

    def _look(self, look: Look) -> None:
        try:
            found = look.judge(self._ask(look.statement))
        except self._error as error:
            if verdict(error) is not Verdict.STATEMENT:
                raise
            found = look.undecided
        if found is not None:
            raise self._differs(found)

    # --- what comes back

    @staticmethod
    def _done(step: Step, cursor: Any) -> None:
        if step.told is not None:
            step.told(cursor.fetchall())
        step.done(cursor.rowcount)

    def _still_open(self, cursor: Any) -> None:
        """A transaction that Galera aborts between two statements of a packet is told nothing.

        What follows in the packet runs outside a transaction (seen: 10.11.19). So a statement
        that locks or writes travels alone, and behind several reads the server is asked.
        """
        row = cursor.fetchone() if cursor.description is not None else None
        if row is None:
            raise self._unknown()
        if not row[0]:
            raise self._conflict(1213, "the transaction was aborted by the cluster in a replay")

    def _compare(self, entry: Entry, key_matters: bool, cursor: Any) -> None:
        rows = cursor.fetchall() if cursor.description is not None else None
        answer = Answer(rows, cursor.rowcount, cursor.lastrowid, cursor.description)
        mine = entry.answer
        had_rows = mine is not None and (mine.rows is not None or entry.digest is not None)
        if had_rows and rows is None:
            raise self._unknown()
        found = compare(entry, answer, key_matters=key_matters, backslashes=self._backslashes)
        if isinstance(found, Look):
            self._looks.append(found)
        elif found is not None:
            raise self._differs(found)

    def _unknown(self) -> Exception:
        """Results are missing: the connection is of no more use, and nothing else is known."""
        self._link.cut()
        return self._conflict(_LOST, "Lost connection to server during a replay: too few results")

    def _mismatch(self, statement: bytes, kind: Kind, error: int) -> ReplayMismatch:
        return self._differs(difference(statement, kind, error))

    def _differs(self, found: Difference) -> ReplayMismatch:
        return ReplayMismatch(f"{self._phrase}: {found.text}.")

    def _raise(self, error: Exception, source: bytes | None) -> None:
        if moved(error):
            raise MarkerGone from error
        if is_fenced(error):
            raise error
        if source is not None and verdict(error) is Verdict.STATEMENT:
            raise self._mismatch(source, Kind.FAILS, errno(error)) from error
        raise error

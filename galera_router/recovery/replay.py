"""Send a journal to another node, in as few packets as possible, and compare every answer."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any

from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import Verdict, errno, verdict
from galera_router.connections.packet import Step, several_statements
from galera_router.exceptions import ReplayMismatch
from galera_router.recovery.journal import Answer, Entry, Template
from galera_router.recovery.keys import pinned_key, with_keys
from galera_router.recovery.marker import MarkerGone, moved

Check = Callable[[Any], None]

#: Bytes of one packet; the server's max_allowed_packet is 16 MB unless set lower.
PACKET = 512 * 1024
_SEPARATOR = b"\n;\n"  # on a line of its own: a statement may end in a comment


class Replay:
    """One run of a journal on one driver connection.

    Args:
        link: a connection outside a transaction.
        error: the driver's base error class.
        conflict: its class for a deadlock.
    """

    def __init__(
        self, link: NodeConnection, *, error: type[Exception], conflict: type[Exception]
    ) -> None:
        self._link = link
        self._connection = link.connection
        self._limit = PACKET if several_statements(link.connection) else 0
        self._error = error
        self._conflict = conflict
        self._packet: list[tuple[bytes, Check | None, bool]] = []
        self._size = 0

    def run(self, begin: Iterable[Step], entries: Iterable[Entry]) -> None:
        """Open a transaction with ``begin`` and bring it to where ``entries`` ended.

        Raises:
            ReplayMismatch: an answer differs from the one in the journal.
            MarkerGone: the marker could not be advanced.
            Exception: the driver's errors, where the connection or the transaction is gone.
        """
        for step in begin:
            self._add(step.statement, functools.partial(self._done, step), ours=True)
        for entry in entries:
            if not entry.read_only:  # it may lock: see _still_open
                self._flush()
            self._replay(entry)
            if not entry.read_only:
                self._flush()
        self._flush()

    def _replay(self, entry: Entry) -> None:
        template = entry.template
        if template is not None and (entry.error is not None or template.many):
            self._alone(entry, template)
        elif rewritten := with_keys(entry):
            self._alone(entry, Template(*rewritten, False))
        else:
            key = pinned_key(entry)
            if key is not None:
                self._add(b"SET INSERT_ID=%d" % key, None)
                self._flush()
            self._add(entry.statement, functools.partial(self._compare, entry))

    def _add(self, statement: bytes, check: Check | None, *, ours: bool = False) -> None:
        statement = statement.rstrip(b"; \t\r\n")
        if self._packet and self._size + len(statement) > self._limit:
            self._flush()
        self._packet.append((statement, check, ours))
        self._size += len(statement) + len(_SEPARATOR)

    def _flush(self) -> None:
        if len(self._packet) > 1 and not self._packet[-1][2]:
            self._packet.append((b"SELECT @@in_transaction", self._still_open, True))
        packet, self._packet, self._size = self._packet, [], 0
        if not packet:
            return
        cursor = self._connection.cursor()
        self._link.busy = time.monotonic()
        position = 0
        try:
            cursor.execute(_SEPARATOR.join(statement for statement, _, _ in packet))
            for position, (_, check, _) in enumerate(packet):
                if position and cursor.nextset() is None:
                    raise ReplayMismatch("a replayed statement gave no answer")
                if check is not None:
                    check(cursor)
        except self._error as error:
            self._raise(error, ours=packet[position][2])
        finally:
            self._link.busy = self._link.until = 0.0
            cursor.close()

    def _alone(self, entry: Entry, template: Template) -> None:
        self._flush()
        cursor = self._connection.cursor()
        execute = cursor.executemany if template.many else cursor.execute
        self._link.busy = time.monotonic()
        try:
            execute(template.sql, template.params)
        except self._error as error:
            if entry.error is None or errno(error) != entry.error:
                self._raise(error)
        else:
            if entry.error is not None:
                raise ReplayMismatch(f"a statement that failed with {entry.error} now succeeds")
            self._compare(entry, cursor)
        finally:
            self._link.busy = self._link.until = 0.0
            cursor.close()

    @staticmethod
    def _done(step: Step, cursor: Any) -> None:
        step.done(cursor.rowcount)

    def _still_open(self, cursor: Any) -> None:
        """A transaction that Galera aborts between two statements of a packet is told nothing.

        What follows in the packet runs outside a transaction (seen: 10.11.19). So a statement
        that locks travels alone, and behind several reads the server is asked.
        """
        if not cursor.fetchone()[0]:
            raise self._conflict(1213, "the transaction was aborted by the cluster in a replay")

    @staticmethod
    def _compare(entry: Entry, cursor: Any) -> None:
        rows = cursor.fetchall() if cursor.description is not None else None
        if not entry.same(Answer(rows, cursor.rowcount, cursor.lastrowid)):
            raise ReplayMismatch(
                "The data changed while the transaction ran: a statement that was replayed gave"
                " another answer than before. Nothing was written; run the transaction again."
            )

    @staticmethod
    def _raise(error: Exception, *, ours: bool = False) -> None:
        if moved(error):
            raise MarkerGone from error
        if not ours and verdict(error) is Verdict.STATEMENT:
            raise ReplayMismatch(f"a replayed statement failed with {errno(error)}") from error
        raise error

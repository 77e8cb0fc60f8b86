"""One packet: statements of ours that travel with one of the application's.

A transaction that Galera aborts between two statements of a packet is told nothing: what follows
runs outside a transaction, and even a COMMIT is answered as if all were well (seen: 10.11.19). So
what travels behind the first lock of a transaction is kept inside it (``head``), or the server is
asked whether it was (``asks``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import MySQLdb
from MySQLdb.constants import CLIENT, CR

from .errors import READ_ONLY_TRANSACTION, errno

Rows = tuple[tuple[Any, ...], ...]
#: Asks whether a transaction is open.
IS_OPEN = b"SELECT @@in_transaction"
_DEADLOCK = 1213
#: Fails unless one is. FOUND_ROWS() and the warnings are those of the statement before it.
_STAYS_OPEN = (
    b"BEGIN NOT ATOMIC IF NOT @@in_transaction THEN"
    b" SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = %d; END IF; END" % _DEADLOCK
)


def _nothing(rows: int) -> None: ...


@dataclass(slots=True)
class Step:
    """A statement of ours that travels with one of the application's.

    Attributes:
        statement: without parameters.
        done: called with the number of affected rows when the server has answered it.
        told: called ahead of that with the rows of its answer; None if nobody wants them.
    """

    statement: bytes
    done: Callable[[int], None] = _nothing
    told: Callable[[Rows], None] | None = None


class Packet:
    """Stands in for the driver's connection while one packet is sent and answered.

    The application's cursor sends its statement through it and sees the answer to that alone.
    Where a statement fails, the server does not come to those behind it.

    Args:
        driver: the driver's connection.
        before: sent ahead of the statement.
        head: goes right before the statement.
        tail: goes right behind it, and makes one compound statement of all three.
        counts: that tells how many rows the application's statement has changed, unless it is one.
        asks: the packet ends with the question whether the transaction is open.
    """

    def __init__(
        self,
        driver: Any,
        before: Sequence[Step],
        head: bytes = b"",
        tail: bytes = b"",
        *,
        counts: bool = False,
        asks: bool = False,
    ) -> None:
        self.driver = driver
        self._before = before
        self._head = head
        self._tail = tail
        self._counts = counts
        self._asks = asks and several_statements(driver)
        self._passed = 0  # of those before, how many were answered
        self._rows = 1
        # What a cursor asks of a connection when its statement is answered.
        self.store_result = driver.store_result
        self.warning_count = driver.warning_count
        self.insert_id = driver.insert_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self.driver, name)

    def query(self, statement: bytes) -> None:
        """Send the statement and take the answers to those ahead of it."""
        statement = self._head + statement + self._tail
        try:
            if several_statements(self.driver):
                # On a line of its own: the application's statement may end in a comment.
                self._together(statement + b"\n; " + _STAYS_OPEN if self._asks else statement)
            else:
                self._one_by_one()
                self.driver.query(statement)
        except MySQLdb.Error as error:
            if self._is_refused_outside(error):
                raise aborted() from error
            raise
        if self._counts and self.driver.field_count():
            self._take_rows()

    def _together(self, statement: bytes) -> None:
        for step in reversed(self._before):
            statement = step.statement + b"; " + statement
        self.driver.query(statement)
        for step in self._before:
            self._answered(step)
            self._passed += 1
            next_answer(self.driver)

    def _one_by_one(self) -> None:
        for step in self._before:
            self.driver.query(step.statement)
            self._answered(step)
            self._passed += 1

    def _is_refused_outside(self, error: MySQLdb.Error) -> bool:
        """Returns True if ``head`` has kept the statement from running outside the transaction.

        What goes before it is refused like that only if the application wants no writes at all.
        """
        kept = bool(self._head) and not self._tail and self._passed == len(self._before)
        return kept and errno(error) == READ_ONLY_TRANSACTION

    def _take_rows(self) -> None:
        """Take the number of rows, and go on to the answer of the compound statement."""
        self._rows = int(self.driver.store_result().fetch_row(0)[0][0])
        next_answer(self.driver)

    def _answered(self, step: Step) -> None:
        rows = self.driver.affected_rows()
        if step.told is None:
            self.driver.discard_result()
        else:
            step.told(self.driver.store_result().fetch_row(0))
        step.done(rows)

    def check_open(self) -> None:
        """Take the answer to the question, behind that to the statement.

        Raises:
            MySQLdb.OperationalError: a conflict: the statement ran outside the transaction.
        """
        if not self._asks:
            return
        try:
            next_answer(self.driver)
        except MySQLdb.Error as error:
            if errno(error) == _DEADLOCK:
                raise aborted() from error
            raise

    @property
    def encloses(self) -> bool:
        """Returns True if the application's statement is a part of a compound one."""
        return bool(self._tail)

    def affected_rows(self) -> int:
        """The rows that the application's statement has changed or found."""
        rows: int = self._rows if self._counts else self.driver.affected_rows()
        return rows


def aborted() -> MySQLdb.OperationalError:
    """Returns the error that the server has not sent: Galera has aborted the transaction."""
    text = "the transaction was aborted by the cluster between two statements of a packet"
    return MySQLdb.OperationalError(_DEADLOCK, text)


def next_answer(driver: Any) -> None:
    """Go on to the next answer of a packet.

    Raises:
        MySQLdb.OperationalError: there is none: what the server did is unknown.
    """
    if driver.next_result() != 0:
        raise _too_few()


def _too_few() -> MySQLdb.OperationalError:
    return MySQLdb.OperationalError(CR.SERVER_LOST, "fewer answers than statements")


def several_statements(connection: Any) -> bool:
    """Returns True if one packet may carry several statements (the driver's default)."""
    return bool(connection.client_flag & CLIENT.MULTI_STATEMENTS)


def text_of(value: Any) -> str:
    """A text of the server, which a connection without a charset gives as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)

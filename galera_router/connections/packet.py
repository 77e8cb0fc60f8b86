"""One packet: statements of ours that travel with one of the application's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import MySQLdb
from MySQLdb.constants import CLIENT, CR

Rows = tuple[tuple[Any, ...], ...]


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
        head, tail: make one compound statement of it.
        counts: that tells how many rows the application's statement has changed, unless it is one.
    """

    def __init__(
        self,
        driver: Any,
        before: Sequence[Step],
        head: bytes = b"",
        tail: bytes = b"",
        *,
        counts: bool = False,
    ) -> None:
        self.driver = driver
        self._before = before
        self._head = head
        self._tail = tail
        self._counts = counts
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
        if self.driver.client_flag & CLIENT.MULTI_STATEMENTS:
            self._together(statement)
        else:
            self._one_by_one()
            self.driver.query(statement)
        if self._counts and self.driver.field_count():
            self._take_rows()

    def _together(self, statement: bytes) -> None:
        for step in reversed(self._before):
            statement = step.statement + b"; " + statement
        self.driver.query(statement)
        for step in self._before:
            self._answered(step)
            next_answer(self.driver)

    def _one_by_one(self) -> None:
        for step in self._before:
            self.driver.query(step.statement)
            self._answered(step)

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

    @property
    def encloses(self) -> bool:
        """Returns True if the application's statement is a part of a compound one."""
        return bool(self._tail)

    def affected_rows(self) -> int:
        """The rows that the application's statement has changed or found."""
        rows: int = self._rows if self._counts else self.driver.affected_rows()
        return rows


def next_answer(driver: Any) -> None:
    """Go on to the next answer of a packet.

    Raises:
        MySQLdb.OperationalError: there is none: what the server did is unknown.
    """
    if driver.next_result() != 0:
        raise MySQLdb.OperationalError(CR.SERVER_LOST, "fewer answers than statements")


def several_statements(connection: Any) -> bool:
    """Returns True if one packet may carry several statements (the driver's default)."""
    return bool(connection.client_flag & CLIENT.MULTI_STATEMENTS)


def text_of(value: Any) -> str:
    """A text of the server, which a connection without a charset gives as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)

"""Statements of ours that travel with one of the application's, in one packet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from MySQLdb.constants import CLIENT

from galera_router.compat import internals
from galera_router.connections.errors import is_lost
from galera_router.recovery.marker import MarkerGone


@dataclass(frozen=True)
class Step:
    """A statement of ours that travels with one of the application's.

    Attributes:
        statement: without parameters and without rows.
        done: called with the number of affected rows when the server has answered it.
    """

    statement: bytes
    done: Callable[[int], None] = lambda rows: None


def carry(cursor: Any, before: Sequence[Step]) -> None:
    """Have the next ``execute`` of ``cursor`` take other statements along in its packet.

    Where one fails, the server does not come to those behind it. The cursor is left as if the
    application's statement alone had been sent.
    """

    def execute(query: Any, args: Any = None) -> Any:
        del cursor.execute  # also breaks the reference cycle
        if several_statements(cursor.connection):
            return _in_one_packet(cursor, before, query, args)
        for step in before:
            cursor.execute(step.statement)
            step.done(cursor.rowcount)
        return cursor.execute(query, args)

    cursor.execute = execute


def enclose(cursor: Any, before: Sequence[Step], head: bytes, tail: bytes) -> None:
    """Have the next ``execute`` of ``cursor`` send its statement within one compound statement.

    Its number of rows is then that of the whole, and a row for what ``tail`` changes.
    """

    def execute(query: Any, args: Any = None) -> Any:
        del cursor.execute
        if isinstance(query, bytes):
            query = query.decode("utf-8", "surrogateescape")
        # On a line of its own: the application's statement may end in a comment.
        carry(cursor, before)
        cursor.execute(f"{head.decode()}{query}\n; {tail.decode()}", args)
        if cursor.description is None:
            cursor.rowcount -= 1
        else:
            _to_the_end(cursor)
        internals.note_statement_sent(cursor, len(head), len(tail) + 3)
        return cursor.rowcount

    cursor.execute = execute


def _to_the_end(cursor: Any) -> None:
    """Past the rows, which ``cursor`` holds already, to the answer of the whole."""
    try:
        cursor.connection.next_result()
    except Exception:
        internals.forget_answers(cursor)
        raise


def _in_one_packet(cursor: Any, before: Sequence[Step], query: Any, args: Any) -> Any:
    head = b"".join(step.statement + b"; " for step in before)
    cursor.execute(head.decode() + query if isinstance(query, str) else head + query, args)
    try:
        for step in before:
            step.done(cursor.rowcount)
            cursor.nextset()
    except Exception as error:
        if is_lost(error) or isinstance(error, MarkerGone):
            internals.forget_answers(cursor)
        raise
    finally:
        internals.note_statement_sent(cursor, len(head), 0)
    return cursor.rowcount


def several_statements(connection: Any) -> bool:
    """Whether one packet may carry several statements (the driver's default)."""
    return bool(connection.client_flag & CLIENT.MULTI_STATEMENTS)

"""One execution of a statement: the caller's cursor, where it speaks to, what came back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from galera_router.compat import internals
from galera_router.connections import packets
from galera_router.connections.connection import Link
from galera_router.recovery.journal import Answer, Entry, Template
from galera_router.transactions.context import Context
from galera_router.transactions.statements import Statement, classify

Execute = Callable[..., Any]


@dataclass(slots=True)
class Call:
    """One execution, as Django hands it to an execute wrapper."""

    execute: Execute
    sql: str | bytes
    params: Any
    many: bool
    context: dict[str, Any]
    statement: Statement
    carries: bool = False

    def send(self, link: Link, until: float = 0.0) -> Any:
        """Execute it on ``link``, which the cursor is bound to.

        Args:
            link: the connection.
            until: when the wait that its packet begins with is to be ended (monotonic seconds).
        """
        link.until = until
        link.busy = time.monotonic()
        try:
            return self.execute(self.sql, self.params, self.many, self.context)
        finally:
            link.busy = link.until = 0.0
            if self.carries:  # nothing was executed where there was nothing to execute for
                vars(self.cursor).pop("execute", None)
                self.carries = False

    def bind(self, context: Context, wrapper: BaseDatabaseWrapper, connection: Any) -> None:
        """Have the caller's cursor speak through ``connection``, the one that ``wrapper`` has."""
        holder = self.context["cursor"]
        current = getattr(holder.cursor, "connection", None)
        if current is connection or current is None:  # None: the caller has closed it
            return
        context.passive = True
        try:
            holder.cursor = wrapper.create_cursor()
        finally:
            context.passive = False

    def note_state(self, link: Link) -> None:
        """Note what the statement has left on its connection."""
        verb = self.statement.verb
        if self.statement.state or verb in {"BEGIN", "START"}:
            link.state = f"{verb} left state on its connection"
        if verb in {"LOCK", "UNLOCK"}:
            link.locked = verb == "LOCK"

    @property
    def text(self) -> bytes:
        """The statement without its parameters."""
        return self.sql.encode() if isinstance(self.sql, str) else bytes(self.sql)

    @property
    def cursor(self) -> Any:
        """The driver's cursor that the caller holds, under whatever is wrapped around it."""
        return _driver_cursor(self.context["cursor"].cursor)

    @property
    def buffered(self) -> bool:
        """Whether the answer will be held on the client, where it can be noted."""
        return hasattr(self.context["cursor"].cursor, "scroll")

    def carry(self, before: Sequence[packets.Step]) -> None:
        """Have other statements sent in the packet of this one, ahead of it."""
        self.carries = True
        packets.carry(self.cursor, before)

    def enclose(self, before: Sequence[packets.Step], head: bytes, tail: bytes) -> None:
        """Have this one sent within a compound statement; see :func:`packets.enclose`."""
        self.carries = True
        packets.enclose(self.cursor, before, head, tail)

    def entry(self) -> Entry:
        """The journal's entry of what has just been answered; only if it is buffered."""
        if self.statement.savepoint is not None:
            return Entry(self._sent())
        statement = self.statement
        entry = Entry(self._sent(), self._answer(), statement.ordered, statement.insert)
        entry.session = statement.verb == "SET"
        entry.template = self._template()
        return entry

    def failed(self, number: int) -> Entry:
        """The journal's entry of a statement that has failed with error ``number``."""
        sql = self.sql if self.many else self.cursor.mogrify(self.sql, self.params)
        statement = sql.encode() if isinstance(sql, str) else bytes(sql)
        insert = self.statement.insert
        return Entry(statement, insert=insert, error=number, template=self._template())

    def _template(self) -> Template | None:
        """For ``executemany`` alone: it sends several statements, and tells the last one."""
        return Template(self.sql, self.params, True) if self.many else None

    def _sent(self) -> bytes:
        return internals.statement_sent(self.context["cursor"].cursor)

    def _answer(self) -> Answer:
        cursor = self.context["cursor"].cursor
        if cursor.description is None:
            return Answer(None, cursor.rowcount, cursor.lastrowid)
        rows = cursor.fetchall()  # the cursor's own tuple, no copy
        if rows:
            cursor.scroll(0, "absolute")
        return Answer(rows, cursor.rowcount, cursor.lastrowid, cursor.description)


def call(execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Call:
    """The call of one execute wrapper."""
    if many and not isinstance(params, (list, tuple)):
        params = list(params)  # an iterator could not be sent twice
    return Call(execute, sql, params, many, context, classify(sql))


def _driver_cursor(cursor: Any) -> Any:
    """The driver's cursor under whatever the backend has wrapped around it."""
    while (inner := vars(cursor).get("cursor")) is not None:
        cursor = inner
    return cursor

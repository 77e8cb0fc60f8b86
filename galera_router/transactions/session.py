"""What a role alias answers when Django commits, rolls back, pings or closes it.

COMMIT, ROLLBACK and autocommit pass no execute wrapper; they reach the stand-in in the
wrapper's ``connection`` and, through it, this module.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.utils import InterfaceError

from galera_router.compat import internals
from galera_router.connections.connection import Link
from galera_router.recovery import failover, outcome
from galera_router.transactions import links, readers
from galera_router.transactions.context import Context, Phase
from galera_router.transactions.standin import StandIn, UnboundCursor, noting


class Session:
    """The delegate behind the stand-in of one role wrapper.

    Args:
        context: where the thread's transaction stands.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._unreported: Exception | None = None
        self._closed = False

    def open(self) -> None:
        """In the place of ``DatabaseWrapper.connect``: no server is spoken to."""
        self._closed = False
        self.context.end_transaction()
        internals.open_lazily(self.context.wrapper, StandIn(self))

    @contextmanager
    def question(self) -> Iterator[Any]:
        """A cursor to ask any server with, outside the transaction and without a promotion."""
        context = self.context
        wrapper = context.wrapper
        if context.primary is None and context.reads_elsewhere() and context.pinned():
            link, _ = readers.reader(context)
            wrapper = connections[link.node.alias]
        else:
            link = context.primary or failover.connect_primary(context)
        quietly = internals.uncounted(wrapper)
        with context.passively(), quietly, link.in_flight(), wrapper.cursor() as cursor:
            yield cursor

    # --- what the stand-in asks

    def cursor(self) -> Any:
        """The primary's cursor where it is certain to be the one, else an unbound one."""
        context = self.context
        if context.primary is not None and (context.begun or context.passive):
            return self._cursor(context.primary)
        return UnboundCursor(self._bind)

    def set_autocommit(self, flag: bool) -> None:
        """Turn autocommit on or off; the server's own stays on, transactions are explicit."""
        if flag and not self.context.autocommit:
            self.commit()  # as the server does
        elif not flag:
            self.context.promoted = False
        self.context.autocommit = flag
        error, self._unreported = self._unreported, None
        if error is not None and sys.exc_info()[0] is None:  # the block ends as if all were well
            internals.note_autocommit(self.context.wrapper, flag)
            raise error

    def commit(self) -> None:
        """Make the transaction final.

        Raises:
            CommitOutcomeUnknown: the connection was lost before the answer came.
            Exception: the driver's error, where the server refused; it has rolled back.
        """
        context = self.context
        if context.broken is not None:
            raise context.broken
        links.end_snapshot(context)
        if context.begun:
            outcome.commit(context)
        context.end_transaction()

    def rollback(self) -> None:
        """Undo the transaction; a lost connection has done so by itself."""
        context = self.context
        links.end_snapshot(context)
        link = context.primary
        if context.uncertain:  # part of it may be final already
            context.note_write()
            context.note_commit()
        if context.begun and link is not None:
            outcome.rollback(context, link)
        self._unreported = context.broken if context.silent else None
        context.end_transaction()

    def ping(self) -> None:
        """Have the connection to the primary checked when it is next used, if it is.

        Raises:
            Exception: the driver's error, if it has been closed.
        """
        if self._closed:
            raise self.context.wrapper.Database.InterfaceError(0, "closed")  # type: ignore[attr-defined]
        if self.context.primary is not None:
            self.context.primary.unchecked = True

    def close(self) -> None:
        """Close the connection to the primary and forget what was set on it."""
        self._closed = True
        context = self.context
        links.end_snapshot(context)
        link, context.primary = context.primary, None
        inside = context.wrapper.in_atomic_block
        context.end_transaction()
        context.unpin()
        context.reset_options()
        context.forgotten = None
        if inside:  # as with stock Django, nothing works until the block has been left
            context.broken = InterfaceError(0, "the connection was closed in an atomic block")
        if link is not None:
            link.close()

    def driver(self) -> Any:
        """The driver's connection to the primary, for what only it can answer."""
        context = self.context
        if context.autocommit:
            return failover.connect_primary(context).connection
        if not context.begun:
            failover.go_live(context)
        context.journal.prevent("the driver's connection was used directly")
        assert context.primary is not None
        return context.primary.connection

    # --- how

    def _cursor(self, link: Link) -> Any:
        cursor = link.connection.cursor(noting(link.connection.cursorclass))
        cursor.note_call = self._note_call
        return cursor

    def _bind(self) -> Any:
        """The primary's cursor for a ``callproc`` on a cursor that was not bound yet."""
        context = self.context
        if context.broken is not None:
            raise context.broken
        if context.autocommit:
            return self._cursor(failover.connect_primary(context))
        context.marking.wanted = True
        if context.phase is not Phase.LIVE or not context.begun:
            failover.go_live(context)
        return self.cursor()

    def _note_call(self) -> None:
        context = self.context
        context.note_write()
        if context.autocommit:
            context.note_commit()
        else:
            context.journal.prevent("a stored procedure was called")
            context.uncertain = True

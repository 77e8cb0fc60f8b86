"""COMMIT, exactly once: an outcome that was not told is found out."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from typing import NoReturn

from django.db.utils import InterfaceError

from galera_router.compat import internals
from galera_router.connections.connection import Link
from galera_router.connections.errors import Verdict, is_conflict, is_lost, verdict
from galera_router.connections.packets import Step
from galera_router.exceptions import (
    CommitOutcomeUnknown,
    FailoverImpossible,
    NoNodeAvailable,
    ReplayMismatch,
)
from galera_router.recovery import failover
from galera_router.recovery.candidates import LOSSES, Loss, tell
from galera_router.recovery.leases import give_back
from galera_router.recovery.marker import Marker, MarkerGone, moved
from galera_router.recovery.retry import pause
from galera_router.transactions import links
from galera_router.transactions.context import Context

Row = tuple[int, int, int]
Resume = Callable[[Context, Link, Marker], None]


def commit(context: Context) -> None:
    """Make the transaction that is open on the primary final.

    Raises:
        CommitOutcomeUnknown: the answer was lost, and there is no marker to tell.
        ClusterError: it was lost, is not committed and cannot be replayed.
        Exception: the driver's error, where the server refused; it has rolled back.
    """
    doubt: Doubt | None = None
    while True:
        link = context.primary
        assert link is not None
        if doubt is None and internals.is_stale(link.connection):  # lost before it was sent
            failover.recover(context, InterfaceError(2013, "connection lost before COMMIT"))
            link = context.primary
            assert link is not None
        context.note_write()
        try:
            link.query(b"COMMIT")
        except links.errors(context) as error:
            if doubt is None and not is_lost(error):
                _refused(context, error)
                continue
            if doubt is None and _only_read(context):
                _confirm(context, Doubt(context, link, error), error)
                break
            doubt = doubt or Doubt(context, link, error)
            if doubt.settle(error, functools.partial(_replay, doubt, error)) is not None:
                break
        else:
            give_back(context, link, committed=True)
            links.closed(context, link)
            break
    context.note_commit(wrote=context.marking.wanted)


def lost_when_uncertain(context: Context, link: Link, error: Exception) -> NoReturn:
    """Say what is known of a transaction that may have ended by itself when ``link`` was lost.

    Raises:
        FailoverImpossible: it had not, and cannot be replayed.
        CommitOutcomeUnknown: it has, or that cannot be found out.
    """
    reason = failover.obstacle(context, link) or "it may have ended by itself"

    def refuse(context: Context, link: Link, marker: Marker) -> None:
        raise FailoverImpossible(reason)

    doubt = Doubt(context, link, error)
    try:
        doubt.settle(error, refuse)
        raise doubt.unknown("a part of it has been committed")
    except Exception as outcome:
        context.broken = outcome
        raise


def rollback(context: Context, link: Link) -> None:
    """Undo the transaction that is open on ``link``; a lost connection has done so by itself.

    Raises:
        Exception: the driver's error, where the server refused.
    """
    try:
        link.query(b"ROLLBACK")
    except links.errors(context) as error:
        if not is_lost(error):
            raise
        context.lose_primary()
    else:
        give_back(context, link, committed=False)
        links.closed(context, link)


def _refused(context: Context, error: Exception) -> None:
    """Raise ``error`` unless the transaction could be brought to its end once more."""
    context.begun = context.marking.done = False
    if not is_conflict(error) or not failover.may_repeat(context, error):
        raise error
    failover.repeat(context, error)


def _replay(doubt: Doubt, error: Exception, context: Context, link: Link, marker: Marker) -> None:
    """Bring the transaction to its end in the one in which the marker was looked at."""
    if not is_lost(error) and not is_conflict(error):
        raise Refused(error)
    reason = failover.obstacle(context, doubt.link)
    if reason is not None:
        raise FailoverImpossible(reason)
    failover.replay(context, link, [Step(marker.advance(), failover.found)])
    failover.live(context, link)


def _only_read(context: Context) -> bool:
    """Whether the transaction came to no statement that writes by its looks, or has undone it."""
    marking = context.marking
    return not marking.done and (marking.marker is not None or not marking.wanted)


def _confirm(context: Context, doubt: Doubt, error: Exception) -> None:
    """Make sure that a transaction of reads alone has had nothing to commit.

    A function that writes looks like a read; in a read-only transaction the server refuses it.
    """
    doubt.leave(error)
    if failover.obstacle(context, None) is not None or not context.options.failover_enable:
        raise doubt.unknown("its reads cannot be made again")
    reads = [entry for entry in context.journal if entry.read_only]

    def again(context: Context, link: Link) -> None:
        try:
            failover.replay(context, link, [Step(links.BEGIN_READ_ONLY)], reads)
        except ReplayMismatch:  # what others have changed since is not ours to find
            pass
        finally:
            failover.undo(context)

    try:
        link = failover.on_primary(context, again)
    except links.errors(context) as refusal:
        raise doubt.unknown(str(refusal)) from refusal
    give_back(context, link, committed=False)


class Refused(Exception):
    """The server has refused what was sent again."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Doubt:
    """A change whose answer was lost: it may have been committed, or may be yet.

    Args:
        context: the thread's context.
        link: the connection that was lost.
        error: how.

    Attributes:
        link: the same.
    """

    def __init__(self, context: Context, link: Link, error: Exception) -> None:
        self._context = context
        self._loss = Loss(link.node, error)
        self.link = link
        self._deadline = time.monotonic() + context.options.reconnect_wait_time
        self._found: Row | None = None
        self._refusal: Exception | None = None
        self._repetitions = 0
        self._losses = 0

    def settle(self, error: Exception, resume: Resume) -> Row | None:
        """Find out what has become of the change.

        Args:
            error: what was met last.
            resume: called where the change is not there, in a transaction that holds the
                marker's row; it either brings the change to its end again or raises.

        Returns:
            The marker's row if the change was committed, None if ``resume`` has been called.

        Raises:
            CommitOutcomeUnknown: it cannot be found out.
            Exception: what ``resume`` has raised; the change cannot be committed any more.
        """
        context = self._context
        self.leave(error)
        self._losses += 1
        if self._losses > LOSSES and time.monotonic() >= self._deadline:
            raise self.unknown(f"it was lost {self._losses} times")
        if context.marking.marker is None or not context.options.failover_enable:
            raise self.unknown("there is no marker for it")
        link = self._on_some_node(resume)
        if self._refusal is not None:
            raise self._refusal from self._loss.error
        tell(context, self._loss, link.node)
        return self._found

    def _on_some_node(self, resume: Resume) -> Link:
        context = self._context
        errors: tuple[type[Exception], ...] = (*links.errors(context), MarkerGone)
        while True:
            try:
                return failover.on_primary(context, lambda c, link: self._look(link, resume))
            except NoNodeAvailable as none:
                raise self.unknown(str(none)) from none
            except errors as conflict:
                self._wait(conflict)

    def leave(self, error: Exception) -> None:
        """Let go of the connection, or of what is open on it."""
        context = self._context
        if is_lost(error):
            if verdict(error) is Verdict.OUT and context.primary is not None:
                context.cluster.mark_down(context.primary.node, error)
            context.lose_primary()
        else:
            failover.undo(context)

    def _wait(self, error: Exception) -> None:
        if isinstance(error, CommitOutcomeUnknown):
            raise error
        failover.undo(self._context)
        # A marker that has moved just now: the lost transaction has come in between.
        again = is_conflict(error) or moved(error) or isinstance(error, MarkerGone)
        if not again or time.monotonic() >= self._deadline:
            raise self.unknown(str(error)) from error
        self._repetitions += 1
        time.sleep(min(pause(self._repetitions), 1.0))

    def _look(self, link: Link, resume: Resume) -> None:
        marker = self._context.marking.marker
        assert marker is not None
        row = self._row(link, marker)
        self._found, self._refusal = None, None
        if row[0] == marker.seq + 1:
            self._found = row
            link.query(b"ROLLBACK")
            marker.seq, marker.node = row[0], link.node
            self._context.marking.done = False
            self._context.forgotten = self.link.state
            give_back(self._context, link, committed=False)
            return
        try:
            if row[0] != marker.seq:  # a fence of our own whose answer was lost
                raise FailoverImpossible("it was given up")
            resume(self._context, link, marker)
        except (ReplayMismatch, FailoverImpossible, Refused) as refusal:
            self._fence(link, marker, row, refusal)

    def _row(self, link: Link, marker: Marker) -> Row:
        """The marker's row, locked; the node may first have to apply what the others have."""
        for begin in (links.BEGIN, links.SYNCED + links.BEGIN):
            link.query(begin)
            row = _one_row(link, marker.look())
            if row is not None and marker.seq <= row[0] <= marker.seq + 2:
                return row
            link.query(b"ROLLBACK")
        raise self.unknown("its marker is not there any more")

    def _fence(self, link: Link, marker: Marker, row: Row, refusal: Exception) -> None:
        """See to it that what could not be replayed here can be committed nowhere."""
        link.query(b"ROLLBACK")
        if row[0] == marker.seq:
            link.query(links.BEGIN)
            link.query(marker.fence())
            link.query(b"COMMIT")
        self._context.marking.marker = None
        if isinstance(refusal, FailoverImpossible):
            refusal = failover.impossible(self._context, self.link, self._loss.error, str(refusal))
        self._refusal = refusal.error if isinstance(refusal, Refused) else refusal

    def unknown(self, reason: str) -> CommitOutcomeUnknown:
        """The error that says what there is to look for."""
        context, link = self._context, self.link
        context.note_write()
        context.note_commit()  # it may be there: nothing around it may run again
        changes = writes(context)
        context.marking.marker = None
        return CommitOutcomeUnknown(
            f"The connection to {link.node.name} was lost when the transaction may have been"
            f" committed ({self._loss.error}), and what became of it cannot be found out: {reason}."
            f" Look before you repeat it. It was connection {link.thread_id}, with"
            f" {', '.join(changes) or 'writes that were not recorded'}.",
            node=link.node.name,
            connection_id=link.thread_id,
            writes=changes,
        )


def _one_row(link: Link, statement: bytes) -> Row | None:
    cursor = link.connection.cursor()
    link.busy = time.monotonic()
    try:
        cursor.execute(statement)
        row: Row | None = cursor.fetchone()
        return row
    finally:
        link.busy = 0.0
        cursor.close()


_CHANGE = re.compile(
    rb"\s*(INSERT|REPLACE|UPDATE|DELETE)\s+(?:IGNORE\s+)?(?:INTO\s+|FROM\s+)?`?(\w+)", re.IGNORECASE
)


def writes(context: Context) -> tuple[str, ...]:
    """Verb and table of each write in the journal, without its values."""
    found = [_CHANGE.match(entry.statement) for entry in context.journal]
    return tuple(f"{m[1].decode().upper()} {m[2].decode()}" for m in found if m is not None)

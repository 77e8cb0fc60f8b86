"""COMMIT, exactly once: an outcome that was not told is found out."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import MySQLdb

from galera_router import signals
from galera_router.cluster.position import Mark
from galera_router.connections.begin import BEGIN, BEGIN_READ_ONLY, SYNCED, UNHURRIED
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import (
    ERRORS,
    Verdict,
    is_conflict,
    is_interrupted,
    is_lost,
    refuses_writes,
    verdict,
)
from galera_router.connections.packet import Step
from galera_router.events import OutcomeSettled, OutcomeUnknown
from galera_router.exceptions import (
    CommitOutcomeUnknown,
    FailoverImpossible,
    NoNodeAvailable,
    ReplayMismatch,
)

from . import failover, rebuilding
from .failover import LOSSES, Loss
from .journal import Entry
from .marker import Marker, MarkerGone, give_back, moved
from .retry import pause

if TYPE_CHECKING:
    from galera_router.transactions.transaction import Transaction

Row = tuple[int, int, int]
Resume = Callable[[NodeConnection, Marker], None]


def commit(transaction: Transaction) -> None:
    """Make the transaction that is open on the primary final.

    Raises:
        CommitOutcomeUnknown: the answer was lost, and there is no marker to tell.
        ClusterError: it was lost, is not committed and cannot be replayed.
        Exception: the driver's error, where the server refused; it has rolled back.
    """
    session = transaction.session
    link = _alive(transaction)
    doubt: Doubt | None = None
    while True:
        try:
            link.query(b"COMMIT")
        except ERRORS as error:
            if doubt is not None or carried_out(transaction, link, error) is None:
                if doubt is None and not is_lost(error):
                    _refused(transaction, error)
                elif doubt is None and _only_read(transaction):
                    link = _confirm(transaction, Doubt(transaction, link, error), error)
                    break
                else:
                    doubt = doubt or Doubt(transaction, link, error)
                    if doubt.settle(error, functools.partial(_replay, doubt, error)) is not None:
                        break
                link = _primary(transaction)
                continue
        mark = give_back(session, transaction.marking, link, committed=True)
        session.following.note_write(link.node, mark, link.server)
        session.transaction_ended(link)
        break
    session.following.note_commit(wrote=transaction.marking.wanted)


def carried_out(transaction: Transaction, link: NodeConnection, error: Exception) -> Row | None:
    """The marker's row if a COMMIT that ``error`` has interrupted was carried out all the same.

    The connection is there, and the transaction over: so the row tells, and nothing can follow.

    Raises:
        CommitOutcomeUnknown: there is no marker, or it could not be read.
    """
    marking = transaction.marking
    if not is_interrupted(error) or not (marking.done or marking.wanted):
        return None
    doubt = Doubt(transaction, link, error)
    if marking.marker is None:
        raise doubt.unknown("there is no marker for it") from error
    try:
        link.roll_back()
        row = _one_row(link, marking.marker.show())
    except ERRORS as lost:
        raise doubt.unknown(str(lost)) from error
    return row if row is not None and row[0] == marking.marker.seq + 1 else None


def _alive(transaction: Transaction) -> NodeConnection:
    link = _primary(transaction)
    if not link.is_stale():
        return link
    error = MySQLdb.OperationalError(2013, "connection lost before COMMIT")
    rebuilding.recover(transaction, error)
    return _primary(transaction)


def _primary(transaction: Transaction) -> NodeConnection:
    link = transaction.session.primary
    assert link is not None
    return link


def lost_when_uncertain(
    transaction: Transaction, link: NodeConnection, error: Exception
) -> NoReturn:
    """Say what is known of a transaction that may have ended by itself when ``link`` was lost.

    Raises:
        FailoverImpossible: it had not, and cannot be replayed.
        CommitOutcomeUnknown: it has, or that cannot be found out.
    """
    reason = rebuilding.obstacle(transaction, link) or "it may have ended by itself"

    def refuse(link: NodeConnection, marker: Marker) -> None:
        raise FailoverImpossible(reason)

    doubt = Doubt(transaction, link, error)
    try:
        doubt.settle(error, refuse)
        raise doubt.unknown("a part of it has been committed")
    except Exception as outcome:
        transaction.broken = outcome
        raise


def rollback(transaction: Transaction, link: NodeConnection) -> None:
    """Undo the transaction that is open on ``link``; a lost connection has done so by itself.

    Raises:
        Exception: the driver's error, where the server refused.
    """
    session = transaction.session
    try:
        link.roll_back()
    except ERRORS as error:
        if not is_lost(error):
            raise
        link.end_state("SET TRANSACTION", "BEGIN", "START")  # it has gone back, as it was to
        session.lose_primary()
    else:
        if not transaction.uncertain:
            give_back(session, transaction.marking, link, committed=False)
        session.transaction_ended(link)


def _refused(transaction: Transaction, error: Exception) -> None:
    """Raise ``error`` unless the transaction could be brought to its end once more."""
    transaction.marking.done = False
    if not rebuilding.may_repeat(transaction, error):
        transaction.to_pending()
        raise error
    rebuilding.repeat(transaction, error)


def _replay(doubt: Doubt, error: Exception, link: NodeConnection, marker: Marker) -> None:
    """Bring the transaction to its end in the one in which the marker was looked at."""
    transaction = doubt.transaction
    if not (is_lost(error) or is_conflict(error) or refuses_writes(error)):
        raise Refused(error)
    reason = rebuilding.obstacle(transaction, doubt.link)
    if reason is not None:
        raise FailoverImpossible(reason)
    began = time.monotonic()
    rebuilding.replay(transaction, link, [Step(marker.advance(link.epoch), rebuilding.found)])
    transaction.to_primary(link)
    rebuilding.tell_replay(transaction, link, "commit", began)


def _only_read(transaction: Transaction) -> bool:
    """Returns True if no statement that writes by its looks was met, or each has been undone."""
    marking = transaction.marking
    return not marking.done and (marking.marker is not None or not marking.wanted)


def _confirm(transaction: Transaction, doubt: Doubt, error: Exception) -> NodeConnection:
    """Make sure that a transaction of reads alone has had nothing to commit.

    A function that writes looks like a read; in a read-only transaction the server refuses it.
    """
    session = transaction.session
    doubt.leave(error)
    if rebuilding.obstacle(transaction, None) is not None or not session.options.failover_enable:
        raise doubt.unknown("its reads cannot be made again")
    reads = [entry for entry in transaction.journal if entry.read_only]

    def again(link: NodeConnection) -> None:
        try:
            link.query(BEGIN_READ_ONLY)
            for read in reads:
                _run_again(transaction, link, read)
        finally:
            failover.undo(session)

    try:
        link = failover.on_primary(session, again)
    except ERRORS as refusal:
        raise doubt.unknown(str(refusal)) from refusal
    doubt.note_lost_state()
    give_back(session, transaction.marking, link, committed=False)
    return link


def _run_again(transaction: Transaction, link: NodeConnection, read: Entry) -> None:
    """What others have changed since is not ours to find: only a write would be refused."""
    with suppress(ReplayMismatch):
        rebuilding.replay(transaction, link, (), [read])


class Refused(Exception):
    """The server has refused what was sent again."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Doubt:
    """A change whose answer was lost: it may have been committed, or may be yet.

    Args:
        transaction: the change, with its marker.
        link: the connection that was lost.
        error: how.
    """

    def __init__(self, transaction: Transaction, link: NodeConnection, error: Exception) -> None:
        self.transaction = transaction
        self.link = link
        self._session = transaction.session
        self._marking = transaction.marking
        self._loss = Loss(link.node, error)
        self._deadline = time.monotonic() + self._session.options.reconnect_wait_time
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
        self.leave(error)
        self._losses += 1
        if self._losses > LOSSES and time.monotonic() >= self._deadline:
            raise self.unknown(f"it was lost {self._losses} times")
        if self._marking.marker is None or not self._session.options.failover_enable:
            raise self.unknown("there is no marker for it")
        link = self._on_some_node(resume)
        alias, names = self._session.cluster.alias, (self.link.node.name, link.node.name)
        committed = self._found is not None
        signals.send(OutcomeSettled, alias, *names, committed, self._loss.seconds)
        if self._refusal is not None:
            raise self._refusal from self._loss.error
        self._session.tell(self._loss, link.node, len(self.transaction.journal))
        return self._found

    def _on_some_node(self, resume: Resume) -> NodeConnection:
        while True:
            try:
                return failover.on_primary(self._session, lambda link: self._look(link, resume))
            except NoNodeAvailable as none:
                raise self.unknown(str(none)) from none
            except (*ERRORS, MarkerGone) as conflict:
                self._wait(conflict)

    def leave(self, error: Exception) -> None:
        """Let go of the connection, or of what is open on it."""
        session = self._session
        if is_lost(error):
            if verdict(error) is Verdict.OUT and session.primary is not None:
                session.cluster.mark_down(session.primary.node, error)
            session.lose_primary(told=True)  # when it is known what has become of the change
        else:
            failover.undo(session)
        self._marking.done = False
        self.transaction.to_pending()

    def _wait(self, error: Exception) -> None:
        if isinstance(error, CommitOutcomeUnknown):
            raise error
        failover.undo(self._session)
        self.transaction.to_pending()
        # A marker that has moved just now: the lost transaction has come in between.
        again = is_conflict(error) or moved(error) or isinstance(error, MarkerGone)
        again |= failover.note_refusal(self._session, error)
        if not again or time.monotonic() >= self._deadline:
            raise self.unknown(str(error)) from error
        self._repetitions += 1
        time.sleep(min(pause(self._repetitions), 1.0))

    def _look(self, link: NodeConnection, resume: Resume) -> None:
        marker = self._marking.marker
        assert marker is not None
        row = self._row(link, marker)
        self._found, self._refusal = None, None
        if row[0] == marker.seq + 1:
            self._found = row
            link.roll_back()
            marker.seq, marker.node = row[0], link.node
            self._marking.done = False
            self.note_lost_state()
            mark = None if self._marking.direct else Mark(marker.worker, marker.seq)
            self._session.following.note_write(link.node, mark, link.server)
            self._session.following.found = True
            give_back(self._session, self._marking, link, committed=False)
            return
        try:
            if row[0] != marker.seq:  # a fence of our own whose answer was lost
                raise FailoverImpossible("it was given up")
            resume(link, marker)
        except (ReplayMismatch, FailoverImpossible, Refused) as refusal:
            self._fence(link, marker, row, refusal)

    def _row(self, link: NodeConnection, marker: Marker) -> Row:
        """The marker's row, locked; the node may first have to apply what the others have.

        What this begins is the transaction in which the change is made again, if it is.
        """
        for step in self._session.isolation_steps(link):
            link.query(step.statement)
            step.done(0)
        for begin in (BEGIN, SYNCED + BEGIN):
            link.query(begin)
            row = _one_row(link, UNHURRIED + marker.look())
            if row is not None and marker.seq <= row[0] <= marker.seq + 2:
                return row
            link.roll_back()
        raise self.unknown("its marker is not there any more")

    def _fence(self, link: NodeConnection, marker: Marker, row: Row, refusal: Exception) -> None:
        """See to it that what could not be replayed here can be committed nowhere."""
        self.transaction.to_pending()
        link.roll_back()
        if row[0] == marker.seq:
            link.query(BEGIN)
            link.query(UNHURRIED + marker.fence())
            link.query(b"COMMIT")
        self._marking.marker = None
        if isinstance(refusal, FailoverImpossible):
            refusal = rebuilding.impossible(
                self.transaction, self.link, self._loss.error, str(refusal)
            )
        else:
            self.note_lost_state()
        self._refusal = refusal.error if isinstance(refusal, Refused) else refusal

    def note_lost_state(self) -> None:
        """Note what was set on the lost connection: the next statement raises an error."""
        if self.link.state is not None:
            self._session.forgotten = self.link.state

    def unknown(self, reason: str) -> CommitOutcomeUnknown:
        """The error that says what there is to look for."""
        link = self.link
        self._session.following.note_write()
        self._session.following.note_commit()  # it may be there: nothing around it may run again
        changes = writes(self.transaction)
        self._marking.marker = None
        told = link.node.name, link.thread_id, changes, reason
        signals.send(OutcomeUnknown, self._session.cluster.alias, *told)
        return CommitOutcomeUnknown(
            f"The connection to {link.node.name} was lost when the transaction may have been"
            f" committed ({self._loss.error}), and what became of it cannot be found out: {reason}."
            f" Look before you repeat it. It was connection {link.thread_id}, with"
            f" {', '.join(changes) or 'writes that were not recorded'}."
            f"{rebuilding.what_was_set(link)}",
            node=link.node.name,
            connection_id=link.thread_id,
            writes=changes,
        )


def _one_row(link: NodeConnection, statement: bytes) -> Row | None:
    with link.in_flight():
        link.query(statement)
        rows = link.rows()
    if not rows:
        return None
    seq, found, key = (int(value) for value in rows[0])
    return seq, found, key


_CHANGE = re.compile(
    rb"\s*(INSERT|REPLACE|UPDATE|DELETE)\s+(?:IGNORE\s+)?(?:INTO\s+|FROM\s+)?`?(\w+)", re.IGNORECASE
)


def writes(transaction: Transaction) -> tuple[str, ...]:
    """Verb and table of each write in the journal, without its values."""
    found = [_CHANGE.match(entry.statement) for entry in transaction.journal]
    return tuple(f"{m[1].decode().upper()} {m[2].decode()}" for m in found if m is not None)

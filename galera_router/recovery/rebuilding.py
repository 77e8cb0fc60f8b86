"""The one gate: each rebuild of a transaction goes through here.

A promotion, a failover, a conflict, a marker that was renewed, an interruption: all begin the
transaction on some primary, send its journal there and compare. What keeps a transaction from
being rebuilt is asked in :func:`obstacle`, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import MySQLdb

from galera_router import events, signals
from galera_router.connections.connection import NodeConnection, written_otherwise
from galera_router.connections.errors import Verdict, is_conflict, verdict
from galera_router.connections.packet import Step
from galera_router.exceptions import ClusterError, FailoverImpossible, ReplayMismatch

from . import failover, keys
from .failover import Loss
from .journal import Entry
from .marker import MarkerGone, acquire, renew, take
from .replay import Replay

if TYPE_CHECKING:
    from galera_router.transactions.transaction import Transaction

#: How the message of a mismatch begins: at the first write, and after it.
BEFORE = "Somebody has changed what this transaction had read on a secondary before its first write"
AFTER = "Somebody has changed what this transaction had read before it was begun again"
#: Where nobody runs the code again.
ADVICE = (
    "Decorate the function with galera_atomic, which runs it again; or lock what it reads with"
    " select_for_update(), or change the row with F()."
)


def go_live(transaction: Transaction) -> NodeConnection:
    """Begin on the primary and bring the transaction to where its journal ends.

    Afterwards the primary has it open, or it is broken and the error says why.

    Raises:
        ReplayMismatch: what was read is not what the primary has.
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    began = time.monotonic() if signals.promotion.receivers and not transaction.stays else 0.0
    try:
        link = transaction.conflicts.persist(lambda link: _begin(transaction, link))
    except Exception as error:
        transaction.broken = error
        raise
    if began:
        _tell_promotion(transaction, link, began)
    return link


def go_on(transaction: Transaction, cause: str) -> NodeConnection:
    """:func:`go_live` for a transaction that has been on the primary before, told as a replay.

    Args:
        transaction: whose journal is replayed.
        cause: as in :class:`galera_router.events.Replay`.
    """
    began = time.monotonic()
    link = go_live(transaction)
    if transaction.journal.entries:
        tell_replay(transaction, link, cause, began)
    return link


def tell_replay(transaction: Transaction, link: NodeConnection, cause: str, began: float) -> None:
    """Tell that the journal was replayed on ``link`` since ``began`` (monotonic seconds)."""
    replayed, seconds = len(transaction.journal), time.monotonic() - began
    alias = transaction.session.cluster.alias
    signals.send(events.Replay, alias, link.node.name, cause, replayed, seconds)


def _tell_promotion(transaction: Transaction, link: NodeConnection, began: float) -> None:
    """Tell that it has moved here from a secondary, if it has read there."""
    replayed = sum(entry.savepoint is None for entry in transaction.journal)
    if replayed:
        alias, seconds = transaction.session.cluster.alias, time.monotonic() - began
        signals.send(events.Promotion, alias, link.node.name, replayed, seconds)


def _begin(transaction: Transaction, link: NodeConnection) -> None:
    session = transaction.session
    acquire(session, transaction.marking, link)
    try:
        replay(transaction, link, _opening(transaction, link))
    except ReplayMismatch:
        failover.undo(session)
        raise
    except MarkerGone:
        session.lose_primary()
        renew(session, transaction.marking)
        _begin(transaction, session.to_primary(link.node))
    else:
        transaction.to_primary(link)


def prepare(transaction: Transaction) -> list[Step]:
    """Have a connection on which the transaction can begin; returns what it begins with.

    For a transaction that has nothing to replay: its BEGIN travels with its first statement.

    Raises:
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    link = connect_marked(transaction)
    steps = _opening(transaction, link)
    last = steps.pop()

    def done(rows: int) -> None:
        last.done(rows)
        transaction.to_primary(link)

    return [*steps, Step(last.statement, done)]


def connect_marked(transaction: Transaction) -> NodeConnection:
    """The connection on which the transaction is to begin; its marker is taken, if it has one.

    Raises:
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    session, marking = transaction.session, transaction.marking
    link = session.primary_at_once()  # nearly always, and a marker is free
    if link is not None and take(session, marking, link):
        session.promoted = True
        return link
    return transaction.conflicts.persist(lambda link: acquire(session, marking, link))


def _opening(transaction: Transaction, link: NodeConnection) -> list[Step]:
    """What opens the transaction on ``link``, its marker included if it is to write."""
    steps = transaction.session.opening_steps(link)
    marker = transaction.marking.marker
    if transaction.marking.is_first and marker is not None:
        steps.append(Step(marker.advance(transaction.marking.epoch), found))
    return steps


def found(rows: int) -> None:
    """Check that an advance has met its row."""
    if rows != 1:
        raise MarkerGone


def replay(
    transaction: Transaction,
    link: NodeConnection,
    begin: Sequence[Step],
    entries: Iterable[Entry] | None = None,
) -> None:
    """Send the journal, or only ``entries`` of it, to ``link`` behind ``begin`` and compare.

    Raises:
        FailoverImpossible: the values in it are written for a connection of another kind.
        ReplayMismatch: an answer differs; the message says what to do about it in this place.
    """
    written = transaction.written
    if written is not None and written.way != link.way:
        raise written_otherwise(written, link)
    phrase = AFTER if transaction.stays else BEFORE
    run = Replay(link, error=MySQLdb.Error, conflict=MySQLdb.OperationalError, phrase=phrase).run
    try:
        run(begin, transaction.journal if entries is None else entries)
    except ReplayMismatch as error:
        advice = "" if transaction.can_run_again else f" {ADVICE}"
        raise ReplayMismatch(f"{error} {transaction.told()}{advice}") from error.__cause__


def draws_key(transaction: Transaction, link: NodeConnection) -> bool | None:
    """Returns True if an INSERT of the transaction has drawn what ``LAST_INSERT_ID()`` gives.

    A replay draws it as well. False: what it gives is the same behind a replay; None: in doubt.
    """
    backslashes = b"\\" in link.connection.literal("'")
    for entry in reversed(transaction.journal.entries):
        if not entry.insert or entry.answer is None:
            continue
        key = keys.key_drawn(entry.statement, entry.answer, backslashes=backslashes)
        if key is None:  # drawn or given, ``lastrowid`` is compared in a replay
            told = entry.answer.rows is None and keys.key_matters(entry, backslashes=backslashes)
            return False if told else None
        if key:
            return True
    return False


# --- why ----------------------------------------------------------------------------------


def recover(transaction: Transaction, error: Exception) -> None:
    """Move the open transaction of a lost primary to another node.

    Raises:
        FailoverImpossible: the transaction cannot be replayed; the message says why.
        ReplayMismatch: its replay gave other answers.
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    session = transaction.session
    link = session.primary
    assert link is not None, "only a transaction on the primary is recovered"
    loss = Loss(link.node, error)
    session.lose_primary(told=True)
    transaction.to_pending()
    if verdict(error) is Verdict.OUT:
        session.cluster.mark_down(link.node, error)
    refuse(transaction, link, error)
    found = go_on(transaction, "failover")
    session.tell(loss, found.node, len(transaction.journal))


def may_repeat(transaction: Transaction, error: Exception) -> bool:
    """Returns True if a transaction that has met a conflict may be replayed; waits a moment.

    So may one whose node takes no writes, if another one is the primary now.
    """
    session = transaction.session
    reason = obstacle(transaction, session.primary)
    elsewhere = failover.note_refusal(session, error, stays=reason)
    if reason is not None or not session.options.failover_enable:
        if is_conflict(error):
            transaction.conflicts.tell(error, again=False)
        return False
    return elsewhere or (is_conflict(error) and transaction.conflicts.worth_while(error))


def repeat(transaction: Transaction, error: Exception) -> None:
    """Replay on the primary, nearly always the same one, what has met the conflict ``error``.

    Raises:
        Exception: ``error``, where the replay differs or meets conflicts without an end; where
            ``error`` is that of a node which takes no writes, what the replay has met.
    """
    session = transaction.session
    loss = failover.refused(session, error)
    failover.undo(session)
    transaction.to_pending()
    try:
        found = go_on(transaction, "conflict" if loss is None else "failover")
    except Exception as failure:
        if not isinstance(failure, ReplayMismatch) and not is_conflict(failure):
            raise
        if loss is not None:
            transaction.broken = failure
            raise
        transaction.broken = error
        raise error from failure
    session.tell(loss, found.node, len(transaction.journal))


def renew_marker(transaction: Transaction, *, lose: bool = False) -> None:
    """The marker's row has gone: begin again with another one.

    Args:
        transaction: whose marker it is.
        lose: what has met this has left answers on the connection.

    Raises:
        FailoverImpossible: the transaction cannot be replayed; nothing of it was committed.
    """
    session = transaction.session
    link = session.primary
    renew(session, transaction.marking, None if lose else link)
    if lose:
        session.lose_primary(told=True)
    begun = transaction.is_on_primary
    transaction.to_pending()
    reason = obstacle(transaction, link) if begun else None
    if lose and link is not None:
        reason = reason or link.state
    if reason is not None:
        transaction.broken = FailoverImpossible(
            f"The marker of the transaction has gone, and it cannot be begun again: {reason}."
            f" {transaction.told()}{what_was_set(link if lose else None, reason)}",
            again=link is None or link.state is None,
        )
        raise transaction.broken
    if transaction.journal.entries:
        go_on(transaction, "marker")


def primary_changed(transaction: Transaction, error: Exception) -> None:
    """The epoch of the transaction is over: begin it again on the node that is primary now.

    Raises:
        FailoverImpossible: the transaction cannot be replayed; nothing of it was committed.
    """
    session, link = transaction.session, transaction.session.primary
    if link is None:  # lost meanwhile
        return
    begun = transaction.is_on_primary
    session.cluster.epochs.over(link.node)
    transaction.to_pending()
    reason = obstacle(transaction, link) if begun else link.state
    if reason is not None:
        if link.state is not None:
            session.lose_primary(idle=True, told=True)
        transaction.broken = FailoverImpossible(
            f"Another node than {link.node.name} is the primary of {session.cluster.alias!r} now,"
            f" and the open transaction cannot be moved there: {reason}. {transaction.told()}"
            f"{what_was_set(link, reason)}",
            again=link.state is None and not transaction.partly,
        )
        raise transaction.broken from error
    if transaction.journal.entries:
        go_on(transaction, "primary")


def refuse(transaction: Transaction, link: NodeConnection, error: Exception) -> None:
    """Raise unless the transaction may be replayed; further statements get the same error."""
    if not transaction.session.options.failover_enable:
        transaction.broken = error
        raise error
    reason = obstacle(transaction, link)
    if reason is None:
        return
    if link.state is not None:
        transaction.session.forgotten = None  # the error tells
    transaction.broken = impossible(transaction, link, error, reason)
    raise transaction.broken from error


def what_was_set(link: NodeConnection | None, reason: str = "") -> str:
    """Returns a sentence for an error's message about the state that is lost with ``link``.

    It is empty if there is none, or if it is the ``reason`` that the message gives already.
    """
    return "" if link is None or link.state in (None, reason) else f" Also, {link.state}."


def impossible(
    transaction: Transaction, link: NodeConnection, error: Exception, reason: str
) -> ClusterError:
    """The error for a transaction that was lost with ``link`` and cannot be replayed."""
    return FailoverImpossible(
        f"Node {link.node.name} of {transaction.session.cluster.alias!r} was lost ({error}) and the"
        f" open transaction cannot be moved to another node: {reason}. {transaction.told()}"
        f"{what_was_set(link, reason)}",
        again=link.state is None and not transaction.partly,
    )


def obstacle(transaction: Transaction, link: NodeConnection | None) -> str | None:
    """Why the open transaction cannot be replayed; None if it can."""
    if transaction.journal.full:
        limit = transaction.session.options.failover_history_limit
        return f"it has more than {limit} statements (failover_history_limit)"
    return transaction.journal.obstacle or (link.state if link is not None else None)

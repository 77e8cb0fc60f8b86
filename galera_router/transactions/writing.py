"""Statements of a transaction on the primary, with failover and replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import MySQLdb

from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import (
    ERRORS,
    Verdict,
    errno,
    is_conflict,
    is_lost,
    refuses_writes,
    verdict,
)
from galera_router.connections.packet import IS_OPEN, Step
from galera_router.recovery import failover, outcome, rebuilding, variables
from galera_router.recovery.failover import Patience
from galera_router.recovery.journal import Answer, Entry
from galera_router.recovery.marker import MarkerGone, Marking, is_fenced, moved

from .lane import open_lane
from .statements import Statement

if TYPE_CHECKING:
    from .cursor import Call
    from .transaction import Transaction

#: Set ahead of a statement that may end the transaction inside: gone if it has.
_BEFORE = "galera_router_before"
NO_SUCH_SAVEPOINT = 1305
#: They commit once, and begin nothing.
COMMITS = frozenset({"CREATE", "ALTER", "DROP", "TRUNCATE", "RENAME", "GRANT", "REVOKE"})
#: Outside a transaction the server refuses them if it is told to (``NodeConnection.only_inside``).
_CHANGES = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE"})
_MAY_FOLLOW = _CHANGES | {"SELECT", "WITH", "VALUES"}
#: What fails in them does not undo what they have done before: a lock that was taken, say.
_DONE_IN_PARTS = frozenset({"CALL", "EXECUTE", "BEGIN", "SELECT", "WITH", "DO"})
#: Errors of a statement that leave what was before it as it is.
_LEAVE_ALL = (MySQLdb.IntegrityError, MySQLdb.DataError, MySQLdb.ProgrammingError)
#: What may be left after the others of these is told by the server alone.
_OF_THE_STATEMENT = frozenset({Verdict.STATEMENT, Verdict.READ_ONLY})


def execute(transaction: Transaction, call: Call, failed: Exception | None = None) -> Any:
    """Run ``call`` in the transaction on the primary; move that if the primary is lost.

    Args:
        transaction: whose.
        call: the statement.
        failed: how it has failed, if it was sent already.
    """
    if transaction.uncertain:
        settle(transaction)
    statement = call.statement
    if statement.sets_next and _has_done_nothing(transaction):
        return _ahead_of_begin(transaction, call)
    if statement.savepoint is None and not (statement.repeatable and call.buffered):
        transaction.needs_primary = True
        transaction.marking.wanted |= not statement.readable
    patience: Patience | None = None
    while True:
        try:
            if failed is not None:
                raise failed
            return _once(transaction, call)
        except MarkerGone:
            rebuilding.renew_marker(transaction, lose=True)
        except ERRORS as error:
            failed = None
            patience = patience or Patience(transaction.session)
            _again(transaction, call, error, patience)


def _once(transaction: Transaction, call: Call) -> Any:
    if call.statement.may_end_transaction:
        transaction.probed = False
    before = _beginning(transaction)
    link = transaction.session.primary
    assert link is not None
    _advance_if_due(transaction, link)
    if call.statement.may_end_transaction:
        _probe(transaction, call, before)
    if call.statement.verb == "SET":
        variables.remember(link, call.sql)
    asks = call.statement.asks
    if asks or call.statement.sets_key:
        before += transaction.session.answers.ahead(call, link)
    key = transaction.session.answers.key_on(link) if asks else 0
    rows = _send(transaction, call, link, before) if before else call.send(link)
    if asks:
        _note_key(transaction, link, key)
    _note(transaction, call, link)
    if call.statement.repeatable:
        transaction.session.lane = open_lane(transaction, call, link)
    return rows


def _send(transaction: Transaction, call: Call, link: NodeConnection, before: list[Step]) -> Any:
    """Send ``call`` behind ``before``.

    Where that takes the first lock, or the transaction holds some already, Galera may abort it in
    between; the epoch's row is one that a change of the primary wants.
    """
    statement, marking = call.statement, transaction.marking
    locks = transaction.is_on_primary or (marking.is_first and marking.marker is not None)
    if link.manual or not locks:  # with LOCK TABLES nobody else is in the way
        return call.send(link, before)
    changes = statement.verb in _CHANGES
    # What was set may be a temporary table: outside the transaction, too, that can be written to.
    if link.state is not None or not _may_follow(call, asked=not changes):
        for step in before:
            link.query(step.statement)
            step.done(link.connection.affected_rows())
        return call.send(link)
    return call.send(link, before, head=link.only_inside, asks=not changes)


def _may_follow(call: Call, *, asked: bool) -> bool:
    """Returns True if ``call`` may travel behind statements that lock.

    Not if it asks for a variable of the session: for this one statement we set one.

    Args:
        call: the statement.
        asked: a question goes behind it in its packet.
    """
    statement, sql = call.statement, call.sql
    kept_inside = statement.verb in _MAY_FOLLOW and not statement.may_end_transaction
    whole = call.buffered and not (asked and b";" in sql)
    return kept_inside and whole and not statement.state and b"@@" not in sql


def _probe(transaction: Transaction, call: Call, before: list[Step]) -> None:
    if call.statement.verb not in COMMITS:

        def done(rows: int) -> None:
            transaction.probed = True

        before.append(Step(f"SAVEPOINT {_BEFORE}".encode(), done))


def _beginning(transaction: Transaction) -> list[Step]:
    """What the statement takes along: the BEGIN of a transaction that has nothing to replay."""
    if transaction.is_on_primary:
        return []
    if transaction.journal.entries:
        transaction.rebuild()
        return []
    return rebuilding.prepare(transaction)


def _has_done_nothing(transaction: Transaction) -> bool:
    """Returns True if it has set savepoints at most: with stock Django no server has begun it."""
    enabled = transaction.session.options.failover_enable
    noted = enabled and rebuilding.obstacle(transaction, None) is None
    if transaction.is_on_primary and not noted:
        return False
    return all(entry.is_savepoint for entry in transaction.journal)


def _ahead_of_begin(transaction: Transaction, call: Call) -> Any:
    """SET TRANSACTION is for the next one: whatever savepoints there are come behind it."""
    if transaction.is_on_primary:
        failover.undo(transaction.session)
        transaction.to_pending()
    elif not transaction.stays:
        transaction.marking.begun(transaction.journal.savepoints())
    link = failover.on_primary(transaction.session, call.send)
    link.note_state("SET TRANSACTION")
    transaction.stays = True
    return call.cursor.rowcount


def _advance_if_due(transaction: Transaction, link: NodeConnection) -> None:
    """Alone, for the transaction may hold locks: an abort between two statements is not told."""
    marking = transaction.marking
    marker = marking.due() if transaction.is_on_primary else None
    if marker is not None:
        link.query(marker.advance(marking.epoch))
        rebuilding.found(link.connection.affected_rows())
        marking.advanced()


# --- when it fails ------------------------------------------------------------------------


def _again(transaction: Transaction, call: Call, error: Exception, patience: Patience) -> None:
    """Raise ``error`` unless the transaction stands again and ``call`` may be sent again."""
    statement = call.statement
    error, undone = _what_is_left(transaction, call, error)
    kind = verdict(error)
    if moved(error):
        failover.undo(transaction.session)
        rebuilding.renew_marker(transaction)
    elif is_fenced(error):
        failover.undo(transaction.session)
        rebuilding.primary_changed(transaction, error)
    elif is_lost(error) and transaction.session.primary is not None:
        _spend(transaction, call, error, patience)
        if statement.may_end_transaction:
            transaction.uncertain = True
            transaction.journal.prevent(_why_not(statement))
        _recover(transaction, error)
    elif statement.savepoint is not None and kind is Verdict.ROLLED_BACK:
        _savepoint_failed(transaction, error)
    elif kind is Verdict.LOCK_WAIT and not undone and not _has_begun(transaction, call):
        _wait_once_more(transaction, call, error)
    elif _is_repeatable(transaction, call, error) and rebuilding.may_repeat(transaction, error):
        rebuilding.repeat(transaction, error)
    else:
        failover.note_refusal(transaction.session, error, wait=False)
        _leave_begun(transaction, error)
        note_error(transaction, call, error, undone=undone)
        raise error


def _leave_begun(transaction: Transaction, error: Exception) -> None:
    """End what the server may have begun if it has refused the marker: nobody else would."""
    refused = verdict(error) in _OF_THE_STATEMENT or verdict(error) is Verdict.LOCK_WAIT
    if refused and not transaction.is_on_primary and transaction.marking.marker is not None:
        failover.undo(transaction.session)


def _is_repeatable(transaction: Transaction, call: Call, error: Exception) -> bool:
    """Returns True if ``error`` is no reason against running the transaction again."""
    if _has_begun(transaction, call):
        return False
    return refuses_writes(error) or (is_conflict(error) and not call.statement.impatient)


def _has_begun(transaction: Transaction, call: Call) -> bool:
    """Returns True if a part of the statement that failed may be there, or be final.

    A procedure that meets a conflict may have committed before. A conflict that the savepoint ahead
    of it has met is none of its own.
    """
    statement = call.statement
    sent = transaction.probed or (transaction.is_on_primary and statement.verb in COMMITS)
    return statement.may_end_transaction and sent


def _spend(transaction: Transaction, call: Call, error: Exception, patience: Patience) -> None:
    session = transaction.session
    assert session.primary is not None
    try:
        patience.spend(session.primary, error)
    except Exception:
        note_error(transaction, call, error)
        raise


def _recover(transaction: Transaction, error: Exception) -> None:
    link = transaction.session.primary
    if transaction.uncertain and link is not None and transaction.session.options.failover_enable:
        outcome.lost_when_uncertain(transaction, link, error)
    rebuilding.recover(transaction, error)


def _what_is_left(transaction: Transaction, call: Call, error: Exception) -> tuple[Exception, bool]:
    """What was met last, and if the server has rolled back more than the statement that failed.

    It does after a lock wait with ``innodb_rollback_on_timeout``, for one. Where ``error`` leaves
    that open the server is asked, and a connection that is lost in asking was lost all the same.
    """
    if not _is_in_question(transaction, call, error):
        return error, False
    link = transaction.session.primary
    if link is None or not transaction.is_on_primary:
        return error, True
    try:
        # With autocommit turned off the server is in no transaction before the first change.
        return error, not link.manual and not in_transaction(link)
    except ERRORS as lost:
        return lost, False


def _is_in_question(transaction: Transaction, call: Call, error: Exception) -> bool:
    """Returns True if ``error`` does not tell what has become of the transaction."""
    if verdict(error) is Verdict.LOCK_WAIT:
        return True
    if is_conflict(error) and _has_begun(transaction, call):  # it may have begun another one
        return True
    if not transaction.is_on_primary or verdict(error) not in _OF_THE_STATEMENT or moved(error):
        return False
    # DDL that fails has committed before, or not begun: that is asked before the next statement.
    return call.statement.verb not in COMMITS and not isinstance(error, _LEAVE_ALL)


def _wait_once_more(transaction: Transaction, call: Call, error: Exception) -> None:
    """The transaction stands as it was before the statement, which can be sent again."""
    enabled = transaction.session.options.failover_enable
    if call.statement.impatient or not enabled or not transaction.conflicts.worth_while(error):
        raise error


def _savepoint_failed(transaction: Transaction, error: Exception) -> None:
    """A conflict noticed in ROLLBACK TO SAVEPOINT, where ``Atomic`` swallows the error.

    Left alone, the outermost block would roll back and end as if it had committed. So the
    transaction is replayed here and now; if that fails, its end raises.
    """
    transaction.swallowed = True
    if not rebuilding.may_repeat(transaction, error):
        transaction.broken = error
        _undone(transaction, error)
        raise error
    rebuilding.repeat(transaction, error)
    transaction.swallowed = False


def _note_key(transaction: Transaction, link: NodeConnection, key: int) -> None:
    """Have a replay know the ``key`` that ``LAST_INSERT_ID()`` has given, if it is from before.

    What an INSERT of the transaction has drawn, the replay draws.
    """
    journal, options = transaction.journal, transaction.session.options
    if not options.failover_enable or journal.obstacle:
        return
    drawn = rebuilding.draws_key(transaction, link)
    if drawn is None:
        journal.prevent("it has used LAST_INSERT_ID() behind an INSERT whose key is not known")
    elif not drawn:
        entry = Entry(b"SET LAST_INSERT_ID = %d" % key, Answer(None, 0, 0))
        journal.append_write(entry, options.failover_history_limit)


def _note(transaction: Transaction, call: Call, link: NodeConnection) -> None:
    statement, journal = call.statement, transaction.journal
    transaction.done = True
    note_state(statement, link)
    if statement.savepoint is None:
        transaction.session.answers.note(call, link)
    if statement.savepoint is not None:
        transaction.marking.savepoint(statement.savepoint.action, statement.savepoint.name)
    if statement.may_end_transaction:
        transaction.uncertain = True
        journal.prevent(_why_not(statement))
    if not transaction.session.options.failover_enable or journal.obstacle:
        return
    if call.buffered:
        journal.append_write(call.entry(), transaction.session.options.failover_history_limit)
    else:
        journal.prevent("a result was not held on the client")


def _why_not(statement: Statement) -> str:
    if statement.verb == "CALL":
        return "a stored procedure was called"
    return f"{statement.verb or 'a statement'} cannot be replayed"


def note_state(statement: Statement, link: NodeConnection) -> None:
    """Note what the statement has left on its connection."""
    verb = statement.verb
    if verb in {"LOCK", "UNLOCK"}:
        link.locked = verb == "LOCK"
        link.end_state("LOCK")
    if verb in {"COMMIT", "ROLLBACK"} and statement.savepoint is None:
        link.end_state("BEGIN", "START")
    elif verb != "UNLOCK" and (statement.state or verb in {"BEGIN", "START"}):
        # What turns autocommit off, or another role on, leaves no place for a transaction of ours.
        apart = verb == "SET" and statement.may_end_transaction
        link.note_state(verb, kind="SET AUTOCOMMIT" if apart else verb)
        if verb == "BEGIN" and statement.state:  # compound: COMMIT ends a part of it alone
            link.note_state(verb, kind="BEGIN NOT")


def note_failure(call: Call, link: NodeConnection, error: Exception) -> None:
    """Note what the statement may have left on its connection before it failed.

    Not where the server takes no writes: state would keep the thread on that node.
    """
    statement = call.statement
    if refuses_writes(error):
        return
    if statement.verb in _DONE_IN_PARTS or (statement.may_end_transaction and b";" in call.sql):
        note_state(statement, link)


def note_error(
    transaction: Transaction, call: Call, error: Exception, *, undone: bool = False
) -> None:
    """Note what the application was told in the place of an answer.

    Args:
        undone: the server has rolled back more than the statement.
    """
    journal, savepoint = transaction.journal, call.statement.savepoint
    if call.statement.may_end_transaction:  # a packet that was lost may have been carried out
        transaction.uncertain |= is_lost(error) or _has_begun(transaction, call)
    if transaction.session.primary is not None:
        note_failure(call, transaction.session.primary, error)
    if is_lost(error):
        transaction.session.lose_primary(told=True)
        _undone(transaction, error)
        transaction.broken = error
    elif is_conflict(error) and (undone or not _has_begun(transaction, call)):
        # The server has undone everything. What follows runs in a new transaction, as with
        # stock Django, and cannot be replayed as if the two had been one.
        _undone(transaction, error)
        journal.prevent("the server has rolled it back before")
    elif savepoint is not None and transaction.undone is not None:
        transaction.broken, transaction.swallowed = transaction.undone, True
    elif isinstance(error, _LEAVE_ALL):
        append = journal.append_write if transaction.stays else journal.append_read
        limit = transaction.session.options.failover_history_limit
        append(call.failed(errno(error)), limit)
    elif undone:
        _undone(transaction, error)
        journal.prevent("the server has rolled it back before")
    else:
        journal.prevent(f"a statement in it failed with {errno(error)}")


def _undone(transaction: Transaction, error: Exception) -> None:
    """The server has the transaction open no more."""
    transaction.undone, transaction.done = error, False
    transaction.to_pending()
    transaction.journal.clear()
    transaction.marking.undone()


# --- after a statement that may have ended it ---------------------------------------------


def settle(transaction: Transaction) -> None:
    """Ask the server if the last statement has ended the transaction by itself."""
    link = transaction.session.primary
    assert link is not None
    try:
        same = transaction.probed and _is_same(link)
        still_open = same or in_transaction(link)
        same = same or (still_open and not transaction.probed)
    except ERRORS as error:
        if is_lost(error):
            _recover(transaction, error)
        raise
    transaction.uncertain = False
    if not same:
        _partly_committed(transaction, link, still_open=still_open)


def _is_same(link: NodeConnection) -> bool:
    """Returns True if the savepoint from before the statement is still there."""
    try:
        link.query(f"RELEASE SAVEPOINT {_BEFORE}".encode())
    except ERRORS as error:
        if errno(error) != NO_SUCH_SAVEPOINT:
            raise
        return False
    return True


def in_transaction(link: NodeConnection) -> bool:
    """Returns True if the server has a transaction open on ``link``; it is asked."""
    link.query(IS_OPEN)
    return bool(link.rows()[0][0])


def _partly_committed(transaction: Transaction, link: NodeConnection, *, still_open: bool) -> None:
    transaction.partly = True
    transaction.marking = Marking()
    transaction.marking.wanted = still_open  # what was begun inside may have written
    transaction.journal.clear()
    transaction.session.following.note_write(link.node)
    transaction.session.following.note_commit()
    if still_open:  # begun inside the statement
        transaction.journal.prevent("a statement in it has committed a part and begun again")
    else:
        transaction.to_pending()

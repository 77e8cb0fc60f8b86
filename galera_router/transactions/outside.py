"""Statements outside a transaction: each is one of its own.

A read goes to the pinned secondary. A write is sent to the primary in an explicit transaction with
a marker, so that a lost answer can be settled. An UPDATE or DELETE, and the INSERT of one row that
Django makes, travel with BEGIN, marker and COMMIT in one packet; the marker then also keeps their
answer. Others are two round trips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galera_router import signals
from galera_router.cluster.position import Mark
from galera_router.connections.begin import BEGIN_READ_ONLY
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import (
    ERRORS,
    Verdict,
    is_conflict,
    is_lost,
    refuses_writes,
    verdict,
)
from galera_router.connections.packet import Step
from galera_router.events import OutcomeUnknown
from galera_router.exceptions import CommitOutcomeUnknown, FailoverImpossible, ReplayMismatch
from galera_router.recovery import failover, rebuilding
from galera_router.recovery.failover import Loss, Patience
from galera_router.recovery.keys import key_returned
from galera_router.recovery.marker import CHECK_FOUND, ROWS, Marker, give_back, is_fenced, moved
from galera_router.recovery.outcome import Doubt, Refused, Row, carried_out

from . import reading
from .answers import LONG
from .cursor import Call
from .transaction import Transaction
from .writing import COMMITS, note_failure, note_state

if TYPE_CHECKING:
    from .session import Session

#: A key that the server draws in another way leaves LAST_INSERT_ID() as it was.
_HEAD_OF_INSERT = b"BEGIN NOT ATOMIC SET LAST_INSERT_ID = 0; START TRANSACTION; "
_ROWS_ONLY = frozenset({"UPDATE", "DELETE"})
# The rows of a compound statement count those of triggers too, so the number is told, unless it
# is 1, as nearly always.
_HEAD = f"BEGIN NOT ATOMIC DECLARE {ROWS} BIGINT; START TRANSACTION; ".encode()
_KEEP_ROWS = f"SET {ROWS} = ROW_COUNT(); ".encode()
_TELL_ROWS = f"IF {ROWS} <> 1 THEN SELECT {ROWS}; END IF; ".encode()
#: Runs of a statement whose answer in a replay was another one: nobody has been told the first.
_RUNS = 6


def execute(session: Session, call: Call) -> Any:
    """Run ``call``, outside a transaction of the application's.

    Raises:
        CommitOutcomeUnknown: its answer was lost, and it may have changed something.
    """
    statement = call.statement
    if statement.verb == "SHOW" or (statement.asks and statement.verb == "SELECT"):
        return _directly(session, call, failover.connect_primary(session), writing=False)
    if not statement.readable:
        return _write(session, call)
    node = session.reader.pinned() if session.reads_elsewhere() else None
    if node is not None:
        try:
            return reading.outside(session, call, node)
        except reading.NeedsPrimary as needs:
            if needs.writes:
                call.writes = True
                return _write(session, call)
    return _directly(session, call, failover.connect_primary(session), writing=False)


def _write(session: Session, call: Call) -> Any:
    """Run a statement that may write on the primary."""
    plain = not (call.statement.may_end_transaction or call.statement.state)
    if not plain or call.statement.sets_next or not call.buffered:
        return _directly(session, call, failover.connect_primary(session), writing=True)
    transaction = Transaction(session)
    link = rebuilding.connect_marked(transaction)
    if transaction.marking.marker is None:
        return _directly(session, call, link, writing=True)
    if _fits_in_one(call):
        return _in_one(transaction, call, link)
    return _as_transaction(transaction, call)


# --- in one packet ------------------------------------------------------------------------


def _fits_in_one(call: Call) -> bool:
    """Returns True if the marker can keep its answer: a number of rows, or one key."""
    sql = call.sql
    if len(sql) > LONG or b";" in sql:
        return False
    if call.statement.verb in _ROWS_ONLY:
        return b"RETURNING" not in sql.upper()
    return call.statement.insert and not call.statement.asks and key_returned(sql)


def _in_one(transaction: Transaction, call: Call, link: NodeConnection) -> Any:
    session, marking = transaction.session, transaction.marking
    doubt: Doubt | None = None
    loss: Loss | None = None
    while (marker := marking.marker) is not None:
        marking.done = True
        try:
            rows = _send_enclosed(session, call, link, marker)
        except ERRORS as error:
            if doubt is None and (row := carried_out(transaction, link, error)) is not None:
                return _told_all_the_same(transaction, call, link, row, error)
            if is_lost(error):
                doubt = doubt or Doubt(transaction, link, error)
            session.following.note_read(link.node)  # a refusal tells of what is there
            loss = loss or failover.refused(session, error)
            again = doubt is not None and doubt.link is not link
            row = _settle(transaction, call, doubt, error, too_long=again and link.timed_out)
            if row is not None and doubt is not None:
                rows = _recorded(call, row, doubt)
                session.answers.note(call, None)
                return rows
            # In doubt, on the connection on which the marker was found as it was.
            kept = session.primary if doubt is not None else None
            link = kept or rebuilding.connect_marked(transaction)
        else:
            session.answers.note(call, link)
            _done(session, link, give_back(session, marking, link, committed=True))
            session.tell(loss, link.node, 0)
            return rows
    return _directly(session, call, link, writing=True)


def _told_all_the_same(
    transaction: Transaction, call: Call, link: NodeConnection, row: Row, error: Exception
) -> Any:
    """The answer of a statement that was committed, and then interrupted."""
    session = transaction.session
    rows = _recorded(call, row, Doubt(transaction, link, error))
    session.answers.note(call, None)
    _done(session, link, give_back(session, transaction.marking, link, committed=True))
    return rows


def _send_enclosed(session: Session, call: Call, link: NodeConnection, marker: Marker) -> Any:
    """Send the statement with BEGIN, marker and COMMIT as one compound statement.

    Not as several in a packet: a transaction that Galera aborts between two of them is told
    nothing, and what follows runs outside a transaction (seen: 10.11.19).
    """
    insert = call.statement.insert
    record = marker.record(link.epoch, rows=not insert) + b"; " + CHECK_FOUND + b"; "
    tail = record if insert else _KEEP_ROWS + record + _TELL_ROWS
    return call.send(
        link,
        [*session.isolation_steps(link), *session.answers.ahead(call, link)],
        head=_HEAD_OF_INSERT if insert else _HEAD,
        # On a line of its own: the application's statement may end in a comment.
        tail=b"\n; " + tail + b"COMMIT; END",
    )


def _done(session: Session, link: NodeConnection, mark: Mark | None = None) -> None:
    session.cluster.mark_up(link.node)
    session.following.note_write(link.node, mark, link.server)
    session.following.note_commit()


def _settle(
    transaction: Transaction, call: Call, doubt: Doubt | None, error: Exception, *, too_long: bool
) -> Row | None:
    """The recorded answer if the change is there; None if the statement is to be sent again.

    If it is ``too_long``, the driver's ``read_timeout`` has ended it again, and always will.
    """
    session, marking = transaction.session, transaction.marking
    marking.done = False
    if doubt is None:
        failover.undo(session)
        if moved(error):
            rebuilding.renew_marker(transaction)
        elif is_fenced(error):
            rebuilding.primary_changed(transaction, error)
        elif not _worth_repeating(transaction, call, error):
            if session.primary is not None:
                give_back(session, marking, session.primary, committed=False)
            raise error
        return None

    def resume(link: NodeConnection, marker: Marker) -> None:
        if too_long or not (is_lost(error) or _may_come_again(error)):
            raise Refused(error)
        if doubt.link.state is not None:
            raise FailoverImpossible(doubt.link.state)
        link.roll_back()

    row = doubt.settle(error, resume)
    if row is not None:
        session.following.note_commit()
    return row


def _may_come_again(error: Exception) -> bool:
    return moved(error) or is_fenced(error) or is_conflict(error) or refuses_writes(error)


def _worth_repeating(transaction: Transaction, call: Call, error: Exception) -> bool:
    if verdict(error) is Verdict.LOCK_WAIT and call.statement.impatient:
        return False
    if failover.note_refusal(transaction.session, error):
        return True
    if not is_conflict(error):
        return False
    if not transaction.session.options.failover_enable:
        transaction.conflicts.tell(error, again=False)
        return False
    return transaction.conflicts.worth_while(error)


def _recorded(call: Call, row: Row, doubt: Doubt) -> int:
    """Give the caller's cursor the answer that was lost; no server is needed for it.

    Raises:
        CommitOutcomeUnknown: a sequence or a trigger has made the key, and nobody knows it.
    """
    _, rows, key = row
    if not call.statement.insert:
        return call.put_answer(None, rows)
    if not key:
        raise doubt.unknown("it was committed, but the key that it has drawn is not known")
    return call.put_answer(((key,),), 1)


# --- in two round trips -------------------------------------------------------------------


def _as_transaction(transaction: Transaction, call: Call) -> Any:
    """The statement with BEGIN, then COMMIT: its answer is known before it is final."""
    for run in range(_RUNS):
        transaction.stays = True
        transaction.marking.wanted = True
        try:
            return _and_commit(transaction, call)
        except ERRORS as error:
            if not _differs(error) or run == _RUNS - 1:
                raise
        transaction = Transaction(transaction.session)
    raise AssertionError("the last run returns or raises")


def _differs(error: BaseException | None) -> bool:
    """Returns True if only the answer in a replay was another one."""
    while error is not None and not isinstance(error, ReplayMismatch):
        error = error.__cause__
    return error is not None


def _and_commit(transaction: Transaction, call: Call) -> Any:
    try:
        rows = transaction.execute(call)
    except ERRORS:
        if transaction.is_on_primary:
            transaction.rollback()
        raise
    transaction.commit()
    return rows


# --- as it is -----------------------------------------------------------------------------


def _directly(session: Session, call: Call, link: NodeConnection, *, writing: bool) -> Any:
    """Send the statement alone; a write whose answer is lost is in doubt for ever."""
    try:
        rows = call.send(link, session.answers.ahead(call, link))
    except ERRORS as error:
        if is_lost(error):
            return _lost(session, call, link, error, writing=writing)
        if not failover.note_refusal(session, error) or not _is_whole(call):
            _note_failure(session, call, link, error)
            raise
        return _elsewhere(session, call, error, writing=writing)
    session.cluster.mark_up(link.node)
    note_state(call.statement, link)
    session.answers.note(call, link)
    if writing:
        _done(session, link)
        if call.statement.sets_next:
            link.note_state("SET TRANSACTION")
    else:
        session.following.note_read(link.node)
    return rows


def _note_failure(session: Session, call: Call, link: NodeConnection, error: Exception) -> None:
    """A procedure, say, may have committed before it failed, and left something."""
    session.following.note_read(link.node)  # its error tells of what is there
    note_failure(call, link, error)
    if call.statement.may_end_transaction:
        _may_be_there(session)


def _may_be_there(session: Session) -> None:
    """Own reads wait for it, and nothing around it may run again."""
    session.following.note_write()
    session.following.note_commit()


def _elsewhere(session: Session, call: Call, error: Exception, *, writing: bool) -> Any:
    """Send to the next primary what this one has refused; it has done nothing of it."""
    loss = failover.refused(session, error)
    link = failover.connect_primary(session)
    rows = _directly(session, call, link, writing=writing)
    session.tell(loss, link.node, 0)
    return rows


def _is_whole(call: Call) -> bool:
    """Returns True if nothing of a statement that was refused can have been done."""
    statement = call.statement
    return b";" not in call.sql and (statement.verb in COMMITS or not statement.may_end_transaction)


def _lost(
    session: Session, call: Call, link: NodeConnection, error: Exception, *, writing: bool
) -> Any:
    session.lose_primary(told=True)  # as each of the errors below does
    if verdict(error) is Verdict.OUT:
        session.cluster.mark_down(link.node, error)
    if not session.options.failover_enable:
        if writing:
            _may_be_there(session)
        raise error
    if writing:
        raise _in_doubt(session, call, link, error) from error
    if link.state is not None:
        reason = f"Node {link.node.name} was lost ({error}); {link.state}."
        raise FailoverImpossible(reason) from error
    return _read_again(session, call, link, error)


def _read_again(session: Session, call: Call, old: NodeConnection, lost: Exception) -> Any:
    """Repeat a read whose answer was lost, where it cannot write a second time."""
    loss, patience = Loss(old.node, lost), Patience(session)
    patience.spend(old, lost)
    while True:
        link = failover.connect_primary(session)
        try:
            rows = call.send(link, [Step(BEGIN_READ_ONLY), *session.answers.ahead(call, link)])
        except ERRORS as error:
            if verdict(error) is Verdict.READ_ONLY:  # it had been about to write
                failover.undo(session)
                raise _in_doubt(session, call, old, lost) from lost
            if not is_lost(error):
                failover.undo(session)
                raise
            session.lose_primary()
            patience.spend(link, error)
        else:
            session.following.note_read(link.node)
            session.answers.note(call, link)
            session.tell(loss, link.node, 0)
            failover.undo(session)
            return rows


def _in_doubt(
    session: Session, call: Call, link: NodeConnection, error: Exception
) -> CommitOutcomeUnknown:
    _may_be_there(session)
    node, verb = link.node.name, call.statement.verb
    told = link.thread_id, (verb,), f"{verb} has no marker ({error})"
    signals.send(OutcomeUnknown, session.cluster.alias, node, *told)
    state = rebuilding.what_was_set(link)
    return CommitOutcomeUnknown(
        f"The connection to {link.node.name} was lost in {call.statement.verb} ({error}): the"
        " change is either there as a whole or not at all. Look before you repeat it. It was"
        f" connection {link.thread_id}.{state}",
        node=link.node.name,
        connection_id=link.thread_id,
        writes=(call.statement.verb,),
    )

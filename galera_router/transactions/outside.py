"""Statements outside a transaction that go to the primary: each is one of its own.

A write is sent in an explicit transaction with a marker, so that a lost answer can be settled.
An UPDATE or DELETE, and the INSERT of one row that Django makes, travel with BEGIN, marker and
COMMIT in one packet; the marker then also keeps their answer. Others are two round trips.
"""

from __future__ import annotations

from typing import Any

from django.db import DataError, IntegrityError, OperationalError, ProgrammingError

from galera_router.compat import internals
from galera_router.connections.connection import Link
from galera_router.connections.errors import Verdict, is_conflict, is_lost, verdict
from galera_router.connections.packets import Step
from galera_router.exceptions import CommitOutcomeUnknown, FailoverImpossible, ReplayMismatch
from galera_router.recovery import failover, outcome
from galera_router.recovery.candidates import Loss, Patience, tell
from galera_router.recovery.keys import key_returned
from galera_router.recovery.leases import give_back, lease, renew
from galera_router.recovery.marker import CHECK_FOUND, Marker, Marking, moved
from galera_router.recovery.outcome import Doubt, Refused, Row
from galera_router.recovery.retry import Attempts
from galera_router.transactions import links, writes
from galera_router.transactions.calls import Call
from galera_router.transactions.context import Context

_ROWS_ONLY = frozenset({"UPDATE", "DELETE"})


def outside(context: Context, call: Call, *, hidden: bool = False) -> Any:
    """Run ``call`` on the primary, outside a transaction of the application's.

    Args:
        context: the thread's context.
        call: the statement.
        hidden: it looks like a read and is known to write.

    Raises:
        CommitOutcomeUnknown: its answer was lost, and it may have changed something.
    """
    if not hidden and call.statement.readable:
        link = failover.connect_primary(context)
        call.bind(context, context.wrapper, link.connection)
        return _directly(context, call, link, writing=False)
    context.note_write()
    try:
        return _write(context, call)
    finally:
        if context.primary is not None:
            give_back(context, context.primary, committed=False)
        context.marking = Marking()
        context.conflicts = 0


def _write(context: Context, call: Call) -> Any:
    plain = not (call.statement.may_end_transaction or call.statement.state)
    link = failover.persist(context, lease) if plain else failover.connect_primary(context)
    call.bind(context, context.wrapper, link.connection)
    if context.marking.marker is None or not call.buffered:
        return _directly(context, call, link, writing=True)
    return _once(context, call, link) if _in_one(call) else _as_transaction(context, call)


# --- in one packet ------------------------------------------------------------------------


def _in_one(call: Call) -> bool:
    """Whether the marker can keep its answer: a number of rows, or one key."""
    sql = call.sql if isinstance(call.sql, str) else call.sql.decode("utf-8", "replace")
    if call.many or ";" in sql:
        return False
    if call.statement.verb in _ROWS_ONLY:
        return "RETURNING" not in sql.upper()
    return call.statement.insert and key_returned(sql)


def _once(context: Context, call: Call, link: Link) -> Any:
    doubt: Doubt | None = None
    while (marker := context.marking.marker) is not None:
        _carry_transaction(context, call, link, marker)
        try:
            result = call.send(link)
        except links.errors(context) as error:
            if is_lost(error):
                doubt = doubt or Doubt(context, link, error)
            row = _settle(context, call, doubt, error)
            if row is not None:
                return _recorded(context, call, row)
            # In doubt, on the connection on which the marker was found as it was.
            kept = context.primary if doubt is not None else None
            link = kept or failover.persist(context, lease)
            call.bind(context, context.wrapper, link.connection)
        else:
            context.cluster.mark_up(link.node)
            give_back(context, link, committed=True)
            context.note_commit()
            return result
    return _directly(context, call, link, writing=True)


def _carry_transaction(context: Context, call: Call, link: Link, marker: Marker) -> None:
    """Have the statement sent with BEGIN, marker and COMMIT as one compound statement.

    Not as several in a packet: a transaction that Galera aborts between two of them is told
    nothing, and what follows runs outside a transaction (seen: 10.11.19).
    """
    record = marker.record(rows=not call.statement.insert)
    context.marking.done = True
    call.enclose(
        links.isolation(context, link),
        b"BEGIN NOT ATOMIC START TRANSACTION; ",
        record + b"; " + CHECK_FOUND + b"; COMMIT; END",
    )


def _settle(context: Context, call: Call, doubt: Doubt | None, error: Exception) -> Row | None:
    """The recorded answer if the change is there; None if the statement is to be sent again."""
    if doubt is None:
        failover.undo(context)
        if moved(error):
            renew(context)
        elif not _worth_repeating(context, call, error):
            raise error
        return None

    def resume(context: Context, link: Link, marker: Marker) -> None:
        if not is_lost(error) and not moved(error) and not is_conflict(error):
            raise Refused(error)
        link.query(b"ROLLBACK")

    row = doubt.settle(error, resume)
    if row is not None:
        context.note_commit()
    return row


def _worth_repeating(context: Context, call: Call, error: Exception) -> bool:
    return writes.is_repeatable(call, error) and failover.worth_while(context, error)


def _recorded(context: Context, call: Call, row: Row) -> Any:
    """Give the caller's cursor the answer that was lost; no server is needed for it."""
    _, rows, key = row
    link = context.primary
    assert link is not None, "on it the row was found"
    call.bind(context, context.wrapper, link.connection)
    if call.statement.insert:
        internals.put_answer(call.cursor, ((key,),), 1)
        return 1
    internals.put_answer(call.cursor, None, rows)
    return rows


# --- in two round trips -------------------------------------------------------------------


def _as_transaction(context: Context, call: Call) -> Any:
    """The statement with BEGIN, then COMMIT: its answer is known before it is final."""
    pin, handed = context.pin, set(context.handed)
    attempts = Attempts()
    try:
        while True:
            context.autocommit = False
            context.marking.wanted = True
            try:
                return _and_commit(context, call)
            except (ReplayMismatch, OperationalError) as error:
                if not _differs(error) or not attempts.may_repeat(error):
                    raise
            context.end_transaction()
    finally:
        context.autocommit = True
        context.end_transaction()
        context.pin, context.handed = pin, handed


def _differs(error: BaseException | None) -> bool:
    """Whether only the answer was another one in a replay: nobody has been told the first."""
    while error is not None and not isinstance(error, ReplayMismatch):
        error = error.__cause__
    return error is not None


def _and_commit(context: Context, call: Call) -> Any:
    try:
        result = writes.in_transaction(context, call)
    except (IntegrityError, DataError, ProgrammingError):
        # Of several executions those before the failing one stay, as without a transaction.
        (_commit if call.many else _roll_back)(context)
        raise
    except BaseException:
        _roll_back(context)
        raise
    _commit(context)
    return result


def _commit(context: Context) -> None:
    with context.wrapper.wrap_database_errors:
        outcome.commit(context)


def _roll_back(context: Context) -> None:
    if context.begun and context.primary is not None:
        with context.wrapper.wrap_database_errors:
            outcome.rollback(context, context.primary)


# --- as it is -----------------------------------------------------------------------------


def _directly(context: Context, call: Call, link: Link, *, writing: bool) -> Any:
    """Send the statement alone; a write whose answer is lost is in doubt for ever."""
    try:
        result = call.send(link)
    except links.errors(context) as error:
        if not is_lost(error):
            raise
        return _lost(context, call, link, error, writing=writing)
    context.cluster.mark_up(link.node)
    context.seen = link.node
    call.note_state(link)
    if writing:
        context.note_commit()
    return result


def _lost(context: Context, call: Call, link: Link, error: Exception, *, writing: bool) -> Any:
    context.lose_primary()
    if verdict(error) is Verdict.OUT:
        context.cluster.mark_down(link.node, error)
    if not context.options.failover_enable:
        raise error
    if writing:
        raise _in_doubt(context, call, link, error) from error
    if link.state is not None:
        reason = f"Node {link.node.name} was lost ({error}); {link.state}."
        raise FailoverImpossible(reason) from error
    return _read_again(context, call, link, error)


def _read_again(context: Context, call: Call, old: Link, lost: Exception) -> Any:
    """Repeat a read whose answer was lost, where it cannot write a second time."""
    loss, patience = Loss(old.node, lost), Patience(context)
    patience.spend(old.node, lost)
    while True:
        link = failover.connect_primary(context)
        call.bind(context, context.wrapper, link.connection)
        call.carry([Step(links.BEGIN_READ_ONLY)])
        try:
            result = call.send(link)
        except links.errors(context) as error:
            if verdict(error) is Verdict.READ_ONLY:  # it had been about to write
                raise _in_doubt(context, call, old, lost) from lost
            if not is_lost(error):
                raise
            context.lose_primary()
            patience.spend(link.node, error)
        else:
            context.seen = link.node
            tell(context, loss, link.node)
            return result
        finally:
            if context.primary is link:
                links.end(context, link)


def _in_doubt(context: Context, call: Call, link: Link, error: Exception) -> CommitOutcomeUnknown:
    context.note_write()
    context.note_commit()  # it may be there: nothing around it may run again
    state = f" Also, {link.state}." if link.state is not None else ""
    return CommitOutcomeUnknown(
        f"The connection to {link.node.name} was lost in {call.statement.verb} ({error}): the"
        " change is either there as a whole or not at all. Look before you repeat it. It was"
        f" connection {link.thread_id}.{state}",
        node=link.node.name,
        connection_id=link.thread_id,
        writes=(call.statement.verb,),
    )

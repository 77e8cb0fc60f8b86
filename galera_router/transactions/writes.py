"""Statements of a transaction on the primary, with failover and replay."""

from __future__ import annotations

from typing import Any

from django.db import DataError, IntegrityError, ProgrammingError

from galera_router.connections.connection import Link
from galera_router.connections.errors import Verdict, errno, is_conflict, is_lost, verdict
from galera_router.connections.packets import Step
from galera_router.recovery import failover, outcome, variables
from galera_router.recovery.candidates import Patience
from galera_router.recovery.leases import renew
from galera_router.recovery.marker import MarkerGone, Marking, moved
from galera_router.transactions import links
from galera_router.transactions.calls import Call
from galera_router.transactions.context import Context, Phase


def in_transaction(context: Context, call: Call) -> Any:
    """Run ``call`` in the transaction on the primary; move it if the primary is lost."""
    if context.uncertain:
        settle(context)
    savepoint = call.statement.savepoint
    if savepoint is None and not call.statement.readable:
        context.marking.wanted = True
    patience = Patience(context)
    while True:
        _carry_what_is_due(context, call)
        link = context.primary
        assert link is not None
        try:
            _advance_if_due(context, link)
            _remember(context, call, link)
            result = call.send(link)
        except MarkerGone:
            renew(context)
            context.lose_primary()
            failover.go_live(context)
        except links.errors(context) as error:
            _again(context, call, error, patience)
        else:
            _note(context, call, link)
            return result


def _carry_what_is_due(context: Context, call: Call) -> None:
    """Bind ``call`` to a begun transaction, or have it take the BEGIN and the marker along."""
    before: list[Step] = []
    if not context.begun and context.journal.entries:
        failover.go_live(context)
    elif not context.begun:
        before = failover.prepare(context)
    link = context.primary
    assert link is not None
    call.bind(context, context.wrapper, link.connection)
    if before:
        call.carry(before)


def _advance_if_due(context: Context, link: Link) -> None:
    """Alone, for the transaction may hold locks: an abort between two statements is not told."""
    marker = context.marking.due() if context.begun else None
    if marker is not None:
        with context.wrapper.wrap_database_errors:
            link.query(marker.advance())
        failover.found(link.connection.affected_rows())
        context.marking.advanced()


def _remember(context: Context, call: Call, link: Link) -> None:
    if call.statement.verb == "SET":
        with context.wrapper.wrap_database_errors:
            variables.remember(link, call.text)


def _again(context: Context, call: Call, error: Exception, patience: Patience) -> None:
    """Raise ``error`` unless the transaction stands again and ``call`` may be sent again."""
    if moved(error):
        renew(context)
        failover.undo(context)
        failover.go_live(context)
    elif is_lost(error) and context.primary is not None:
        _spend(context, call, error, patience)
        if call.statement.may_end_transaction:
            context.uncertain = True
            context.journal.prevent(f"{call.statement.verb} cannot be replayed")
        _recover(context, error)
    elif call.statement.savepoint is not None and verdict(error) is Verdict.ROLLED_BACK:
        _savepoint_failed(context, error)
    elif is_repeatable(call, error) and failover.may_repeat(context, error):
        failover.repeat(context, error)
    else:
        note_error(context, call, error)
        raise error


def _spend(context: Context, call: Call, error: Exception, patience: Patience) -> None:
    assert context.primary is not None
    try:
        patience.spend(context.primary.node, error)
    except Exception:
        note_error(context, call, error)
        raise


def _recover(context: Context, error: Exception) -> None:
    link = context.primary
    if context.uncertain and link is not None and context.options.failover_enable:
        outcome.lost_when_uncertain(context, link, error)
    failover.recover(context, error)


def is_repeatable(call: Call, error: Exception) -> bool:
    """Whether ``error`` is a conflict that the application has not asked to be told of."""
    impatient = verdict(error) is Verdict.LOCK_WAIT and call.statement.impatient
    return is_conflict(error) and not impatient


def _savepoint_failed(context: Context, error: Exception) -> None:
    """A conflict noticed in ROLLBACK TO SAVEPOINT, where ``Atomic`` swallows the error.

    Left alone, the outermost block would roll back and end as if it had committed. So the
    transaction is replayed here and now; if that fails, its end raises (see ``Session``).
    """
    context.silent = True
    if not failover.may_repeat(context, error):
        context.begun = False
        context.broken = error
        raise error
    failover.repeat(context, error)
    context.silent = False


def _note(context: Context, call: Call, link: Link) -> None:
    statement, journal = call.statement, context.journal
    call.note_state(link)
    if statement.savepoint is not None:
        context.marking.savepoint(statement.savepoint.action, statement.savepoint.name)
    if statement.may_end_transaction:
        context.uncertain = True
        journal.prevent(f"{statement.verb} cannot be replayed")
    if not context.options.failover_enable or journal.obstacle:
        return
    if call.buffered:
        journal.append_write(call.entry(), context.options.failover_history_limit)
    else:
        journal.prevent("a result was not held on the client")


def note_error(context: Context, call: Call, error: Exception) -> None:
    """Note what the application was told in the place of an answer."""
    journal = context.journal
    if is_lost(error):
        context.lose_primary()
        context.broken = error
    elif verdict(error) is Verdict.ROLLED_BACK:
        # The server has undone everything. What follows runs in a new transaction, as with
        # stock Django, and cannot be replayed as if the two had been one.
        context.begun = False
        journal.clear()
        journal.prevent("the server has rolled it back before")
    elif isinstance(error, (IntegrityError, DataError, ProgrammingError)):
        append = journal.append_write if context.phase is Phase.LIVE else journal.append_read
        append(call.failed(errno(error)), context.options.failover_history_limit)
    else:
        journal.prevent(f"a statement in it failed with {errno(error)}")


def settle(context: Context) -> None:
    """Ask the server whether the last statement has ended the transaction by itself."""
    link = context.primary
    assert link is not None
    cursor = link.connection.cursor()
    try:
        with context.wrapper.wrap_database_errors, link.in_flight():
            cursor.execute("SELECT @@in_transaction")
    except links.errors(context) as error:
        if is_lost(error):
            _recover(context, error)
        raise
    context.uncertain = False
    if not cursor.fetchone()[0]:
        context.begun = False
        context.marking = Marking()
        context.journal.clear()
        context.note_write()
        context.note_commit()

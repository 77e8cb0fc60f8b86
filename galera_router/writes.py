"""Statements on the primary: inside a transaction, with failover, and outside one."""

from __future__ import annotations

from typing import Any

from django.db import DataError, IntegrityError, ProgrammingError

from . import failover, links
from .calls import Call
from .context import Context, Link, Phase
from .exceptions import CommitOutcomeUnknown, FailoverImpossible
from .journal import Entry
from .verdict import Verdict, errno, verdict


def in_transaction(context: Context, call: Call) -> Any:
    """Run ``call`` in the transaction on the primary; move it if the primary is lost."""
    if context.uncertain:
        settle(context)
    if not context.begun:
        failover.go_live(context)
    for attempt in range(failover.TRIES):
        link = context.primary
        assert link is not None
        call.bind(context, context.wrapper, link.connection)
        try:
            result = call.send()
        except links.errors(context) as error:
            _again(context, call, error, last=attempt == failover.TRIES - 1)
        else:
            _note(context, call, link)
            return result
    raise AssertionError("the last try returns or raises")


def _again(context: Context, call: Call, error: Exception, *, last: bool) -> None:
    """Raise ``error`` unless the transaction stands again and ``call`` may be sent again."""
    if failover.lost(error) and not last:
        failover.recover(context, error)
    elif call.statement.savepoint is not None and verdict(error) is Verdict.ROLLED_BACK:
        _savepoint_failed(context, error, last=last)
    else:
        note_error(context, call, error)
        raise error


def _savepoint_failed(context: Context, error: Exception, *, last: bool) -> None:
    """A conflict noticed in ROLLBACK TO SAVEPOINT, where ``Atomic`` swallows the error.

    Left alone, the outermost block would roll back and end as if it had committed. So the
    transaction is replayed here and now; if that fails, its end raises (see ``Session``).
    """
    context.silent = True
    if last:
        context.begun = False
        context.broken = error
        raise error
    failover.repeat(context, error)
    context.silent = False


def _note(context: Context, call: Call, link: Link) -> None:
    statement, journal = call.statement, context.journal
    if statement.state:
        link.state = _state(call)
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
    if failover.lost(error):
        context.primary = None
        context.begun = False
        context.broken = error
    elif verdict(error) is Verdict.ROLLED_BACK:
        # The server has undone everything. What follows runs in a new transaction, as with
        # stock Django, and cannot be replayed as if the two had been one.
        context.begun = False
        journal.clear()
        journal.prevent("the server has rolled it back before")
    elif isinstance(error, (IntegrityError, DataError, ProgrammingError)):
        entry = Entry(b"", template=call.template(), error=errno(error))
        append = journal.append_write if context.phase is Phase.LIVE else journal.append_read
        append(entry, context.options.failover_history_limit)
    else:
        journal.prevent(f"a statement in it failed with {errno(error)}")


def settle(context: Context) -> None:
    """Ask the server whether the last statement has ended the transaction by itself."""
    link = context.primary
    assert link is not None
    cursor = link.connection.cursor()
    try:
        with context.wrapper.wrap_database_errors:
            cursor.execute("SELECT @@in_transaction")
    except links.errors(context) as error:
        if failover.lost(error):
            failover.recover(context, error)
        raise
    context.uncertain = False
    if not cursor.fetchone()[0]:
        context.begun = False
        context.journal.clear()
        context.note_write()
        context.note_commit()


def outside(context: Context, call: Call, *, hidden: bool = False) -> Any:
    """Run ``call`` directly on the primary, a transaction of its own.

    Args:
        context: the thread's context.
        call: the statement.
        hidden: it looks like a read and is known to write.

    Raises:
        CommitOutcomeUnknown: its answer was lost, and it may have changed something.
    """
    writes = hidden or not call.statement.readable
    link = failover.connect_primary(context)
    if writes:
        context.note_write()
    call.bind(context, context.wrapper, link.connection)
    try:
        result = call.send()
    except links.errors(context) as error:
        if not failover.lost(error):
            raise
        return _lost_outside(context, call, link, error, writes=writes)
    context.cluster.mark_up(link.node)
    if call.statement.state or call.statement.verb in {"BEGIN", "START"}:
        link.state = _state(call)
    if writes:
        context.note_commit()
    return result


def _state(call: Call) -> str:
    return f"{call.statement.verb} left state on its connection"


def _lost_outside(
    context: Context, call: Call, link: Link, error: Exception, *, writes: bool
) -> Any:
    context.primary = None
    if verdict(error) is Verdict.OUT:
        context.cluster.mark_down(link.node, error)
    if link.state is not None:
        reason = f"Node {link.node.name} was lost ({error}); {link.state}."
        raise FailoverImpossible(reason) from error
    if not context.options.failover_enable:
        raise error
    if writes:
        raise _in_doubt(context, call, link, error) from error
    return _read_again(context, call, link, error)


def _read_again(context: Context, call: Call, old: Link, lost: Exception) -> Any:
    """Repeat a read whose answer was lost, where it cannot write a second time."""
    loss = failover.Loss(old.node, lost)
    link = failover.connect_primary(context)
    call.bind(context, context.wrapper, link.connection)
    call.after(links.BEGIN_READ_ONLY, lambda: None)
    try:
        result = call.send()
    except links.errors(context) as error:
        if verdict(error) is Verdict.READ_ONLY:  # it had been about to write
            raise _in_doubt(context, call, old, lost) from lost
        raise
    finally:
        links.end(context, link)
    failover.tell(context, loss, link.node)
    return result


def _in_doubt(context: Context, call: Call, link: Link, error: Exception) -> CommitOutcomeUnknown:
    context.note_write()
    context.note_commit()  # it may be there: nothing around it may run again
    return CommitOutcomeUnknown(
        f"The connection to {link.node.name} was lost in {call.statement.verb} ({error}): the"
        " change is either there as a whole or not at all. Look before you repeat it."
    )

"""Statements on a secondary: in the transaction's snapshot, and outside a transaction."""

from __future__ import annotations

from typing import Any

from django.db import connections

from galera_router.connections.connection import Link
from galera_router.connections.errors import Verdict, is_lost, verdict
from galera_router.connections.packets import Step
from galera_router.recovery.candidates import Loss, Patience, tell
from galera_router.transactions import links, readers, waits, writes
from galera_router.transactions import outside as autocommit
from galera_router.transactions.calls import Call
from galera_router.transactions.context import Context
from galera_router.transactions.waits import Wait


def in_snapshot(context: Context, call: Call) -> Any:
    """Run a read in the snapshot of the open transaction; move that if its node is lost."""
    loss: Loss | None = None
    patience = Patience(context)
    while True:
        link, wait = readers.snapshot(context)
        call.bind(context, connections[link.node.alias], link.connection)
        if not call.buffered:  # it could not be compared on the primary
            return promote(context, call)
        if wait is not None:
            call.carry(_beginning(context, link, wait))
        try:
            result = call.send(link, wait.until if wait is not None else 0.0)
        except links.errors(context) as error:
            if verdict(error) is Verdict.READ_ONLY:
                context.marking.wanted = True
                return promote(context, call)
            if wait is not None and _waited_in_vain(context, link, wait, error, patience):
                continue
            _snapshot_error(context, call, link, error, patience)
            loss = loss or Loss(link.node, error)
        else:
            tell(context, loss, link.node)
            context.journal.append_read(call.entry(), context.options.failover_history_limit)
            return result


def _beginning(context: Context, link: Link, wait: Wait) -> list[Step]:
    """The steps of ``wait``, of which the last is the BEGIN."""
    *steps, last = wait.steps

    def done(rows: int) -> None:
        last.done(rows)
        wait.over = True
        readers.snapshot_begun(context, link)

    return [*steps, Step(last.statement, done)]


def _waited_in_vain(
    context: Context, link: Link, wait: Wait, error: Exception, patience: Patience
) -> bool:
    """Whether ``error`` ended a wait of ours; the read is then to be sent elsewhere, or again."""
    if waits.is_foreign(context, error):
        return True
    if not waits.is_late(link, wait, error):
        return False
    waits.pass_by(context, link)
    patience.wait(error)
    return True


def promote(context: Context, call: Call) -> Any:
    """Run on the primary what a secondary must not: from now on the transaction is there."""
    return writes.in_transaction(context, call)


def _snapshot_error(
    context: Context, call: Call, link: Link, error: Exception, patience: Patience
) -> None:
    """Raise ``error`` unless the read may be tried once more, elsewhere if need be."""
    begun = context.snapshot is link
    if is_lost(error):
        readers.lose_reader(context, link, error, certain=patience.again(link.node))
        patience.spend(link.node, error)
        return
    if verdict(error) is Verdict.ROLLED_BACK:  # DDL on another node broke the snapshot's locks
        readers.forget_snapshot(context)
        patience.spend(link.node, error)
        return
    if begun:
        writes.note_error(context, call, error)
    raise error


def outside(context: Context, call: Call) -> Any:
    """Run a read on the pinned node, each in a transaction of its own."""
    loss: Loss | None = None
    patience = Patience(context)
    while True:
        link, wait = readers.reader(context)
        call.bind(context, connections[link.node.alias], link.connection)
        if wait.steps:
            call.carry(wait.steps)
        try:
            result = call.send(link, wait.until)
        except links.errors(context) as error:
            if verdict(error) is Verdict.READ_ONLY:
                return autocommit.outside(context, call, hidden=True)
            if _waited_in_vain(context, link, wait, error, patience):
                continue
            _outside_error(context, link, error, patience)
            loss = loss or Loss(link.node, error)
        else:
            context.seen = link.node
            readers.in_time(context)
            context.cluster.mark_up(link.node)
            tell(context, loss, link.node)
            return result


def _outside_error(context: Context, link: Link, error: Exception, patience: Patience) -> None:
    """Raise ``error`` unless the read may be tried once more, elsewhere if need be."""
    if not is_lost(error):
        raise error
    readers.lose_reader(context, link, error, certain=patience.again(link.node))
    if not context.options.failover_enable:
        raise error
    patience.spend(link.node, error)

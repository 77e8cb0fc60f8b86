"""Statements on a secondary: in the transaction's snapshot, and outside a transaction."""

from __future__ import annotations

import functools
from typing import Any

from django.db import connections

from . import autocommit, links, readers, writes
from .calls import Call
from .candidates import Loss, Patience, tell
from .context import Context
from .verdict import Verdict, is_lost, verdict
from .wire import Link


def in_snapshot(context: Context, call: Call) -> Any:
    """Run a read in the snapshot of the open transaction; move that if its node is lost."""
    loss: Loss | None = None
    patience = Patience(context)
    while True:
        link, begin = readers.snapshot(context)
        call.bind(context, connections[link.node.alias], link.connection)
        if not call.buffered:  # it could not be compared on the primary
            return promote(context, call)
        if begin:
            call.carry([links.Step(begin, functools.partial(_begun, context, link))])
        try:
            result = call.send(link)
        except links.errors(context) as error:
            if verdict(error) is Verdict.READ_ONLY:
                context.marking.wanted = True
                return promote(context, call)
            _snapshot_error(context, call, link, error, patience)
            loss = loss or Loss(link.node, error)
        else:
            tell(context, loss, link.node)
            context.journal.append_read(call.entry(), context.options.failover_history_limit)
            return result


def _begun(context: Context, link: Link, rows: int) -> None:
    readers.snapshot_begun(context, link)


def _caught_up(context: Context, link: Link, rows: int) -> None:
    context.behind.discard(link.node)
    context.lagging.clear()


def promote(context: Context, call: Call) -> Any:
    """Run on the primary what a secondary must not: from now on the transaction is there."""
    return writes.in_transaction(context, call)


def _snapshot_error(
    context: Context, call: Call, link: Link, error: Exception, patience: Patience
) -> None:
    """Raise ``error`` unless the read may be tried once more, elsewhere if need be."""
    begun = context.snapshot is link
    # A lock wait at the BEGIN is a wait for the applier that took too long.
    late = not begun and verdict(error) is Verdict.LOCK_WAIT
    if late:
        readers.pass_by(context, link.node)
        patience.wait(error)
        return
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
        if wait:
            call.carry([links.Step(wait, functools.partial(_caught_up, context, link))])
        try:
            result = call.send(link)
        except links.errors(context) as error:
            if verdict(error) is Verdict.READ_ONLY:
                return autocommit.outside(context, call, hidden=True)
            _outside_error(context, link, error, patience, waited=bool(wait))
            loss = loss or Loss(link.node, error)
        else:
            context.cluster.mark_up(link.node)
            tell(context, loss, link.node)
            return result


def _outside_error(
    context: Context, link: Link, error: Exception, patience: Patience, *, waited: bool
) -> None:
    """Raise ``error`` unless the read may be tried once more, elsewhere if need be."""
    late = waited and link.node in context.behind and verdict(error) is Verdict.LOCK_WAIT
    if late:  # the wait for the applier failed
        readers.pass_by(context, link.node)
        patience.wait(error)
        return
    if not is_lost(error):
        raise error
    readers.lose_reader(context, link, error, certain=patience.again(link.node))
    if not context.options.failover_enable:
        raise error
    patience.spend(link.node, error)

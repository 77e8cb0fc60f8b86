"""Connections to read from: chosen, opened, given up for another."""

from __future__ import annotations

from galera_router.causality import scope
from galera_router.cluster.nodes import Node
from galera_router.connections.connection import Link
from galera_router.connections.errors import Verdict, verdict
from galera_router.exceptions import ClusterError, FailoverImpossible, ReplayMismatch
from galera_router.recovery import failover
from galera_router.recovery.candidates import candidates
from galera_router.transactions import links, waits
from galera_router.transactions.context import Context, Phase
from galera_router.transactions.waits import Wait


def reader(context: Context) -> tuple[Link, Wait]:
    """A connection to read from outside a transaction, and what must go before the read."""
    for node in candidates(context, context.pinned, electable=False):
        link = _connect_reader(context, node)
        wait = waits.before(context, link) if link is not None else None
        if link is not None and wait is not None:
            return link, wait
        if link is not None:
            waits.leave_out(context, node)
    raise AssertionError("the candidates end with an error")


def snapshot(context: Context) -> tuple[Link, Wait | None]:
    """The secondary's snapshot, and what must go before the next read, its BEGIN last, if any.

    Where reads have been made already, on a node since lost, they are replayed and compared.

    Raises:
        ReplayMismatch: the new node's snapshot differs from the lost one.
    """
    link = context.snapshot
    if link is not None and links.intact(link):
        return link, None
    if link is not None:
        forget_snapshot(context)
        failover.refuse(context, link, FailoverImpossible("its connection was closed"))
    for node in candidates(context, context.pinned, electable=False):
        opened = _open_snapshot(context, node)
        if opened is not None:
            return opened
    raise AssertionError("the candidates end with an error")


def _open_snapshot(context: Context, node: Node) -> tuple[Link, Wait | None] | None:
    link = _connect_reader(context, node)
    if link is None:
        return None
    wait = waits.before(context, link, links.BEGIN_READ_ONLY)
    if wait is None:
        waits.leave_out(context, node)
        return None
    if not any(entry.savepoint is None for entry in context.journal):
        return link, wait
    try:
        _replay_reads(context, link, wait)
    except ReplayMismatch as error:
        context.broken = error
        raise
    except links.errors(context) as error:
        _replay_failed(context, link, wait, error)
        return None
    snapshot_begun(context, link)
    return link, None


def _replay_failed(context: Context, link: Link, wait: Wait, error: Exception) -> None:
    if waits.is_foreign(context, error):
        return
    if waits.is_late(link, wait, error) or verdict(error) is Verdict.LOCK_WAIT:
        waits.pass_by(context, link)
    else:
        lose_reader(context, link, error, certain=True)


def _replay_reads(context: Context, link: Link, wait: Wait) -> None:
    try:
        _replay_or_end(context, link, wait)
    except ReplayMismatch:  # the node may only lag: once more, when it has caught up
        _replay_or_end(context, link, waits.last_resort(context, link, links.BEGIN_READ_ONLY))


def _replay_or_end(context: Context, link: Link, wait: Wait) -> None:
    """Replay; a snapshot that differs is not left open, where it would hold locks and undo logs.

    Nor would a BEGIN inside it wait for the applier.
    """
    try:
        # A snapshot has no use for savepoints.
        entries = [entry for entry in context.journal if entry.savepoint is None]
        link.until = wait.until
        failover.replay(context, link, wait.steps, entries)
    except ReplayMismatch:
        link.query(b"ROLLBACK")
        raise


def snapshot_begun(context: Context, link: Link) -> None:
    """The server has opened the snapshot."""
    context.snapshot = link
    context.begun_with = scope.needs(context.cluster.alias)
    context.phase = Phase.SNAPSHOT
    in_time(context)
    context.cluster.mark_up(link.node)


def in_time(context: Context) -> None:
    """A read has been answered: the next one may wait as long again."""
    context.sync_until = 0.0
    context.lagging.clear()


def _connect_reader(context: Context, node: Node) -> Link | None:
    try:
        return links.to_node(context, node)
    except links.errors(context) as error:
        if isinstance(error, ClusterError):
            raise
        _reader_down(context, node, error)
        return None


def _reader_down(context: Context, node: Node, error: Exception) -> None:
    context.cluster.mark_down(node, error)
    context.pin = None


def forget_snapshot(context: Context) -> None:
    """The server has ended the snapshot: the next read opens another and compares."""
    context.snapshot = None
    context.phase = Phase.IDLE


def lose_reader(context: Context, link: Link, error: Exception, *, certain: bool = False) -> None:
    """A connection to read from was lost: the next read connects anew, or elsewhere.

    Args:
        context: the thread's context.
        link: the lost connection.
        error: how it was noticed.
        certain: the node itself is at fault, not just a connection that was kept.
    """
    links.drop_node(link)
    context.snapshot = None
    if certain or verdict(error) is Verdict.OUT:
        _reader_down(context, link.node, error)
    if context.phase is Phase.SNAPSHOT:
        context.phase = Phase.IDLE
        failover.refuse(context, link, error)

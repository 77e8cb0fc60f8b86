"""Connections to read from: chosen, opened, given up for another."""

from __future__ import annotations

from . import failover, links
from .candidates import candidates
from .cluster import Node
from .context import Context, Phase
from .exceptions import ClusterError, FailoverImpossible, ReplayMismatch
from .verdict import Verdict, verdict
from .wire import Link


def reader(context: Context) -> tuple[Link, bytes]:
    """A connection to read from outside a transaction, and what must go before the read."""
    for node in candidates(context, context.pinned, electable=False):
        link = _connect_reader(context, node)
        if link is not None:
            return link, links.SYNCED + b"SELECT 1" if _must_wait(context, node) else b""
    raise AssertionError("the candidates end with an error")


def snapshot(context: Context) -> tuple[Link, bytes]:
    """The secondary's snapshot, and the BEGIN that must go before the next read, if any.

    Where reads have been made already, on a node since lost, they are replayed and compared.

    Raises:
        ReplayMismatch: the new node's snapshot differs from the lost one.
    """
    link = context.snapshot
    if link is not None and links.intact(link):
        return link, b""
    if link is not None:
        forget_snapshot(context)
        failover.refuse(context, link, FailoverImpossible("its connection was closed"))
    for node in candidates(context, context.pinned, electable=False):
        opened = _open_snapshot(context, node)
        if opened is not None:
            return opened
    raise AssertionError("the candidates end with an error")


def _open_snapshot(context: Context, node: Node) -> tuple[Link, bytes] | None:
    link = _connect_reader(context, node)
    if link is None:
        return None
    if not any(entry.savepoint is None for entry in context.journal):
        return link, begin_snapshot(context, node)
    try:
        _replay_reads(context, link)
    except ReplayMismatch as error:
        context.broken = error
        raise
    except links.errors(context) as error:
        if verdict(error) is Verdict.LOCK_WAIT:
            pass_by(context, node)
        else:
            lose_reader(context, link, error, certain=True)
        return None
    snapshot_begun(context, link)
    return link, b""


def _replay_reads(context: Context, link: Link) -> None:
    try:
        _replay_or_end(context, link, begin_snapshot(context, link.node))
    except ReplayMismatch:  # the node may only lag: once more, when it has caught up
        _replay_or_end(context, link, links.SYNCED + links.BEGIN_READ_ONLY)


def _replay_or_end(context: Context, link: Link, begin: bytes) -> None:
    """Replay; a snapshot that differs is not left open, where it would hold locks and undo logs.

    Nor would a BEGIN inside it wait for the applier.
    """
    try:
        # A snapshot has no use for savepoints.
        entries = [entry for entry in context.journal if entry.savepoint is None]
        failover.replay(context, link, [links.Step(begin)], entries)
    except ReplayMismatch:
        link.query(b"ROLLBACK")
        raise


def begin_snapshot(context: Context, node: Node) -> bytes:
    """The BEGIN of a snapshot on ``node``: one that waits if this thread has written."""
    return (
        links.SYNCED + links.BEGIN_READ_ONLY if _must_wait(context, node) else links.BEGIN_READ_ONLY
    )


def snapshot_begun(context: Context, link: Link) -> None:
    """The server has opened the snapshot."""
    context.snapshot = link
    context.phase = Phase.SNAPSHOT
    context.behind.discard(link.node)
    context.lagging.clear()
    context.cluster.mark_up(link.node)


def _must_wait(context: Context, node: Node) -> bool:
    return node in context.behind and context.options.wsrep_sync_after_write


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


def pass_by(context: Context, node: Node) -> None:
    """The applier of ``node`` was waited for in vain: it may be well, but is not to be read now.

    Nodes that are forming a new view answer so too.
    """
    context.lagging.add(node)
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

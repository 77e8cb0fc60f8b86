"""From an error to the next node: choose, connect, replay, go on, or say why not."""

from __future__ import annotations

import functools
import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django.db.utils import InterfaceError

from . import internals, links
from .cluster import Node
from .context import Context, Link, Phase
from .exceptions import ClusterError, FailoverImpossible, NoNodeAvailable, ReplayMismatch
from .replay import Replay
from .signals import Failover, report
from .verdict import Verdict, errno, verdict

logger = logging.getLogger("galera_router")

#: Seconds between two rounds over nodes that are all down.
ROUND = 0.1
#: Times that one statement is sent before its error is the application's: a statement that
#: kills its server must not be carried from node to node.
TRIES = 3


def lost(error: BaseException) -> bool:
    """Whether the connection that raised ``error`` is of no more use."""
    return verdict(error) in {Verdict.LOST, Verdict.OUT} or (
        isinstance(error, InterfaceError) and errno(error) in {0, -1}
    )


# --- the primary -------------------------------------------------------------------------


def go_live(context: Context) -> Link:
    """Begin on the primary and bring the transaction to where the journal ends.

    Used for the promotion and for every failover of a transaction with writes. Afterwards
    the context is LIVE, or the transaction is broken and the error says why.

    Raises:
        ReplayMismatch: what was read is not what the primary has.
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    try:
        link = _on_primary(context, _begin)
    except Exception as error:
        context.broken = error
        raise
    context.phase = Phase.LIVE
    context.begun = True
    context.cluster.mark_up(link.node)
    links.end_snapshot(context)
    return link


def _begin(context: Context, link: Link) -> None:
    try:
        replay(context, link, links.BEGIN)
    except ReplayMismatch:
        link.connection.query(b"ROLLBACK")
        raise


def connect_primary(context: Context) -> Link:
    """A usable connection to the elected primary, outside a transaction.

    Raises:
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    return _on_primary(context, lambda context, link: None)


def _on_primary(context: Context, action: Callable[[Context, Link], None]) -> Link:
    _keep_state(context)
    tried: set[Node] = set()
    for node in candidates(context, functools.partial(_elected, context), electable=True):
        try:
            link = links.to_primary(context, node)
            action(context, link)
        except links.errors(context) as error:
            _primary_failed(context, node, error, again=node in tried)
            tried.add(node)
        else:
            return link
    raise AssertionError("the candidates end with an error")


def _elected(context: Context) -> Node | None:
    """The primary of the next transaction; a connection with state on it is not left for it."""
    kept = context.primary
    return kept.node if kept is not None and kept.state else context.cluster.primary()


def _keep_state(context: Context) -> None:
    """Refuse to go on silently without what the application has set on its connection."""
    kept = context.primary
    if kept is None or kept.state is None or not internals.is_stale(kept.connection):
        return
    context.primary = None
    raise FailoverImpossible(
        f"The connection to {kept.node.name} was lost while idle, and with it what the"
        f" application had set on it: {kept.state}."
    )


def _primary_failed(context: Context, node: Node, error: Exception, *, again: bool) -> None:
    if isinstance(error, ClusterError):
        raise error
    connected = context.primary is not None
    if connected and not lost(error):
        context.primary = None
        with context.wrapper.wrap_database_errors:
            raise error
    context.primary = None
    # A kept connection may be dead while its node is well: the next round connects anew.
    if not connected or again or verdict(error) is Verdict.OUT:
        context.cluster.mark_down(node, error)


def recover(context: Context, error: Exception) -> None:
    """Move the open transaction of a lost primary to another node.

    Raises:
        FailoverImpossible: the transaction cannot be replayed; the message says why.
        ReplayMismatch: its replay gave other answers.
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    link, context.primary = context.primary, None
    context.begun = False
    assert link is not None, "only a transaction on the primary is recovered"
    loss = Loss(link.node, error)
    if verdict(error) is Verdict.OUT:
        context.cluster.mark_down(link.node, error)
    refuse(context, link, error)
    tell(context, loss, go_live(context).node)


def repeat(context: Context, error: Exception) -> None:
    """Replay on the same primary a transaction that the server has rolled back.

    Raises:
        Exception: ``error`` where it cannot be replayed, or what the replay met.
    """
    context.begun = False
    if obstacle(context, context.primary) or not context.options.failover_enable:
        context.broken = error
        raise error
    time.sleep(random.uniform(ROUND / 10, ROUND))
    go_live(context)


def refuse(context: Context, link: Link, error: Exception) -> None:
    """Raise where the transaction cannot be replayed, and answer all that follows with it."""
    if not context.options.failover_enable:
        context.broken = error
        raise error
    reason = obstacle(context, link)
    if reason is None:
        return
    context.broken = FailoverImpossible(
        f"Node {link.node.name} of {context.cluster.alias!r} was lost"
        f" ({error}) and the open transaction cannot be moved to another node: {reason}."
        + ("" if context.uncertain else " Nothing of it was committed.")
    )
    raise context.broken from error


def obstacle(context: Context, link: Link | None) -> str | None:
    """Why the open transaction cannot be replayed; None if it can."""
    if context.journal.full:
        limit = context.options.failover_history_limit
        return f"it has more than {limit} statements (failover_history_limit)"
    return context.journal.obstacle or (link.state if link is not None else None)


# --- both --------------------------------------------------------------------------------


def replay(context: Context, link: Link, begin: bytes) -> None:
    entries = list(context.journal)
    if begin != links.BEGIN:  # a snapshot has no use for savepoints
        entries = [entry for entry in entries if entry.savepoint is None]
    several = links.several_statements(link.connection)
    error = context.wrapper.Database.Error  # type: ignore[attr-defined]
    Replay(link.connection, several=several, error=error).run(begin, entries)


def candidates(
    context: Context, choose: Callable[[], Node | None], *, electable: bool
) -> Iterator[Node]:
    """The nodes to try, best first, until ``reconnect_wait_time`` is over."""
    deadline = time.monotonic() + context.options.reconnect_wait_time
    while (node := choose()) is not None:
        yield node
    cluster = context.cluster
    while not cluster.hopeless(electable=electable) and time.monotonic() < deadline:
        yield cluster.any_down(electable=electable)
        time.sleep(min(ROUND / len(cluster.nodes), max(0.0, deadline - time.monotonic())))
    raise no_node(context, electable=electable)


def no_node(context: Context, *, electable: bool) -> NoNodeAvailable:
    cluster = context.cluster
    return NoNodeAvailable(
        f"No node of {cluster.alias!r} can serve: {cluster.complaints(electable=electable)}"
    )


@dataclass(frozen=True)
class Loss:
    """A node that was lost, how that was noticed, and when (monotonic seconds)."""

    node: Node
    error: Exception
    at: float = field(default_factory=time.monotonic)


def tell(context: Context, loss: Loss | None, new: Node) -> None:
    """Report that ``new`` has taken over, if a node was lost and it is another one."""
    if loss is None or loss.node is new:
        return
    seconds = time.monotonic() - loss.at
    alias, replayed = context.cluster.alias, len(context.journal)
    report(Failover(alias, loss.node.name, new.name, str(loss.error), seconds, replayed))

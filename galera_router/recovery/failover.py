"""From an error to the next node: choose, connect, replay, go on, or say why not."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from galera_router.cluster.nodes import Node
from galera_router.compat import internals
from galera_router.connections.connection import Link
from galera_router.connections.errors import Verdict, is_conflict, is_lost, verdict
from galera_router.connections.packets import Step
from galera_router.exceptions import ClusterError, FailoverImpossible, ReplayMismatch
from galera_router.recovery.candidates import Loss, candidates, tell
from galera_router.recovery.journal import Entry
from galera_router.recovery.leases import lease, renew
from galera_router.recovery.marker import MarkerGone
from galera_router.recovery.replay import Replay
from galera_router.recovery.retry import pause
from galera_router.transactions import links
from galera_router.transactions.context import Context, Phase

logger = logging.getLogger("galera_router")


def go_live(context: Context) -> Link:
    """Begin on the primary and bring the transaction to where the journal ends.

    Used for the promotion and for every failover of a transaction with writes. Afterwards
    the context is LIVE, or the transaction is broken and the error says why.

    Raises:
        ReplayMismatch: what was read is not what the primary has.
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    try:
        link = persist(context, _begin)
    except Exception as error:
        context.broken = error
        raise
    return link


def persist(context: Context, action: Callable[[Context, Link], None]) -> Link:
    """:func:`on_primary`, again after a conflict for as long as that is worth while."""
    context.promoted = True
    while True:
        try:
            return on_primary(context, action)
        except links.errors(context) as error:
            if not is_conflict(error) or not worth_while(context, error):
                raise


def worth_while(context: Context, error: Exception) -> bool:
    """Wait for a moment, longer each time, unless the transaction has had conflicts enough.

    A lock is waited for once more only: each time takes as long as the server allows.
    """
    limit = context.options.conflict_retries
    if verdict(error) is Verdict.LOCK_WAIT:
        limit = min(limit, 1)
    if context.conflicts >= limit:
        return False
    context.conflicts += 1
    time.sleep(pause(context.conflicts))
    return True


def _begin(context: Context, link: Link) -> None:
    lease(context, link)
    try:
        replay(context, link, begin(context, link))
    except ReplayMismatch:
        link.query(b"ROLLBACK")
        raise
    except MarkerGone:
        link.query(b"ROLLBACK")
        renew(context)
        _begin(context, link)
    else:
        live(context, link)


def prepare(context: Context) -> list[Step]:
    """Have a connection on which the transaction can begin: with what, is returned.

    For a transaction that has nothing to replay: its BEGIN travels with its first statement.

    Raises:
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    link = persist(context, lease)
    steps = begin(context, link)
    last = steps.pop()

    def done(rows: int) -> None:
        last.done(rows)
        live(context, link)

    return [*steps, Step(last.statement, done)]


def begin(context: Context, link: Link) -> list[Step]:
    """What opens a transaction on ``link``, its marker included if it is to write."""
    steps = [*links.isolation(context, link), *links.opening(link)]
    marker = context.marking.marker
    if context.marking.wanted and marker is not None:
        steps.append(Step(marker.advance(), found))
    return steps


def found(rows: int) -> None:
    """Check that an advance has met its row."""
    if rows != 1:
        raise MarkerGone


def live(context: Context, link: Link) -> None:
    """The server has opened the transaction, and replayed what there was to replay."""
    marking = context.marking
    promoted = context.phase is not Phase.LIVE
    marking.begun(context.journal.savepoints() if promoted else None)
    context.phase = Phase.LIVE
    context.begun = True
    context.cluster.mark_up(link.node)
    links.end_snapshot(context)


def connect_primary(context: Context) -> Link:
    """A usable connection to the elected primary, outside a transaction.

    Raises:
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    return on_primary(context, lambda context, link: None)


def on_primary(context: Context, action: Callable[[Context, Link], None]) -> Link:
    """Connect to the elected primary and do ``action`` there, on another node if one is lost.

    Raises:
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
        Exception: what ``action`` raises for other reasons; nothing is open then.
    """
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
    if kept is not None and kept.state is not None and internals.is_stale(kept.connection):
        context.forgotten = kept.state
        context.lose_primary(idle=True)
    forgotten, context.forgotten = context.forgotten, None
    if forgotten is not None:
        raise FailoverImpossible(
            "The connection to the primary was lost, and with it what the application had set"
            f" on it: {forgotten}."
        )


def _primary_failed(context: Context, node: Node, error: Exception, *, again: bool) -> None:
    if isinstance(error, ClusterError):
        raise error
    connected = context.primary is not None
    if connected and not is_lost(error):
        undo(context)
        with context.wrapper.wrap_database_errors:
            raise error
    context.lose_primary()
    # A kept connection may be dead while its node is well: the next round connects anew.
    if not connected or again or verdict(error) is Verdict.OUT:
        context.cluster.mark_down(node, error)


def undo(context: Context) -> None:
    """Roll back whatever the server has open; a connection that is lost does so by itself."""
    link = context.primary
    context.begun = context.marking.done = False
    if link is None:
        return
    try:
        link.query(b"ROLLBACK")
    except links.errors(context) as error:
        logger.info("%s: lost %s in a rollback: %s", context.cluster.alias, link.node.name, error)
        context.lose_primary()


def recover(context: Context, error: Exception) -> None:
    """Move the open transaction of a lost primary to another node.

    Raises:
        FailoverImpossible: the transaction cannot be replayed; the message says why.
        ReplayMismatch: its replay gave other answers.
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    link = context.primary
    assert link is not None, "only a transaction on the primary is recovered"
    context.lose_primary()
    loss = Loss(link.node, error)
    if verdict(error) is Verdict.OUT:
        context.cluster.mark_down(link.node, error)
    refuse(context, link, error)
    tell(context, loss, go_live(context).node)


def may_repeat(context: Context, error: Exception) -> bool:
    """Whether a transaction that has met a conflict may be replayed on the spot; waits a moment."""
    if not context.options.failover_enable or obstacle(context, context.primary):
        return False
    return worth_while(context, error)


def repeat(context: Context, error: Exception) -> None:
    """Replay on the same primary a transaction that has met the conflict ``error``.

    Raises:
        Exception: ``error``, where the replay differs or meets conflicts without an end.
    """
    undo(context)
    try:
        go_live(context)
    except Exception as failure:
        if not isinstance(failure, ReplayMismatch) and not is_conflict(failure):
            raise
        context.broken = error
        raise error from failure


def refuse(context: Context, link: Link, error: Exception) -> None:
    """Raise where the transaction cannot be replayed, and answer all that follows with it."""
    if not context.options.failover_enable:
        context.broken = error
        raise error
    reason = obstacle(context, link)
    if reason is None:
        return
    context.broken = impossible(context, link, error, reason)
    raise context.broken from error


def impossible(context: Context, link: Link, error: Exception, reason: str) -> ClusterError:
    """The error for a transaction that was lost with ``link`` and cannot be replayed."""
    text = (
        f"Node {link.node.name} of {context.cluster.alias!r} was lost ({error}) and the open"
        f" transaction cannot be moved to another node: {reason}."
    )
    return FailoverImpossible(f"{text} Nothing of it was committed.", again=link.state is None)


def obstacle(context: Context, link: Link | None) -> str | None:
    """Why the open transaction cannot be replayed; None if it can."""
    if context.journal.full:
        limit = context.options.failover_history_limit
        return f"it has more than {limit} statements (failover_history_limit)"
    return context.journal.obstacle or (link.state if link is not None else None)


def replay(
    context: Context, link: Link, begin: Sequence[Step], entries: Iterable[Entry] | None = None
) -> None:
    """Send the journal, or only ``entries`` of it, to ``link`` behind ``begin`` and compare."""
    driver = context.wrapper.Database  # type: ignore[attr-defined]
    run = Replay(link, error=driver.Error, conflict=driver.OperationalError).run
    run(begin, context.journal if entries is None else entries)

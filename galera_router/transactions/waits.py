"""What must be sent ahead of a read, so that it is not older than it may be.

A read on a node must include what this thread has written (``behind``), what the running block
was given a token for (``Need``), and what the thread has read elsewhere (``seen``). Of the first
and the last no more is known than that they are committed: ``wsrep_sync_wait`` waits for all that
is. For a token the node is asked whether it has come so far, unless this process knows.

Whatever waits is ended after ``wsrep_sync_timeout`` (:func:`is_late`); the read then goes to
another node, and at last to the primary.
"""

from __future__ import annotations

import functools
import logging
import time
from dataclasses import dataclass, field, replace

from galera_router.causality import scope
from galera_router.causality.scope import Need
from galera_router.cluster import position as positions
from galera_router.cluster.nodes import Node
from galera_router.connections.connection import Link
from galera_router.connections.errors import Verdict, is_lost, verdict
from galera_router.connections.packets import Step
from galera_router.transactions import links
from galera_router.transactions.context import Context

logger = logging.getLogger("galera_router")

#: Seconds that the primary is waited for at least: there is nobody else to ask then.
PRIMARY_WAIT = 2.0
#: Seconds that a node is waited for at least before its answers count as different.
LAST_WAIT = 1.0


@dataclass(eq=False)
class Wait:
    """What goes ahead of one read.

    Attributes:
        steps: the statements; the application's follows.
        until: when the watchdog is to end the wait (monotonic seconds); 0: it ends by itself.
        over: the server has answered all that wait.
    """

    steps: list[Step] = field(default_factory=list)
    until: float = 0.0
    over: bool = False


_NOTHING = Wait(over=True)


def before(context: Context, link: Link, begin: bytes = b"") -> Wait | None:
    """What has to be sent ahead of a read on ``link``; None if its node is not to be waited for.

    Args:
        context: the thread's context.
        link: a connection to a node's own alias, outside a transaction.
        begin: what begins the transaction that the read is to be in.
    """
    node = link.node
    synced, needs = is_due(context, node)
    opening = [Step(begin)] if begin else []
    context.unsynced = False
    if (synced or needs) and context.mode == "any":
        context.unsynced = bool(begin)
    elif synced or any(_only_synced(context, node, need) for need in needs):
        return _synced(context, link, begin)
    elif needs:
        return _reached(context, link, needs, opening)
    return Wait(opening) if begin else _NOTHING


def is_due(context: Context, node: Node) -> tuple[bool, list[Need]]:
    """Whether a read on ``node`` must wait for all that is committed; else for which tokens."""
    if not context.options.wsrep_sync_after_write:
        return False, []
    context.follow()
    seen = context.seen
    synced = node in context.behind or (seen is not None and seen is not node)
    return synced, context.unmet(node)


def _only_synced(context: Context, node: Node, need: Need) -> bool:
    """Whether no position helps: none is known, or there is no node but the primary to ask."""
    return need.everything or node is context.cluster.primary()


# --- for everything -----------------------------------------------------------------------


def _synced(context: Context, link: Link, begin: bytes) -> Wait | None:
    seconds = allowance(context, link.node)
    if not seconds:
        return None
    wait = Wait()
    done = functools.partial(_caught_up, context, link, wait)
    gtid = _gtid(context)
    if gtid is not None:
        wait.steps = [Step(positions.reach_gtid(gtid, seconds), done)]
        wait.steps += [Step(begin)] if begin else []
    else:
        wait.until = time.monotonic() + seconds
        wait.steps = [Step(links.SYNCED + (begin or b"SELECT 1"), done)]
    return wait


def _caught_up(context: Context, link: Link, wait: Wait, rows: int) -> None:
    """The node has all that had been committed anywhere when it was asked."""
    link.until, wait.over = 0.0, True
    context.note_synced(link.node)


def last_resort(context: Context, link: Link, begin: bytes) -> Wait:
    """The wait for everything on a node whose answers differ: it may only lag."""
    seconds = max(allowance(context, link.node), LAST_WAIT)
    wait = Wait(until=time.monotonic() + seconds)
    wait.steps = [Step(links.SYNCED + begin, functools.partial(_caught_up, context, link, wait))]
    return wait


def _gtid(context: Context) -> positions.Position | None:
    """Where the primary is, as a GTID: what this thread has seen or written is there.

    None where that is not wanted, or where something else has to be waited for as well.
    """
    link = context.primary
    if not context.options.wsrep_sync_use_gtid or link is None or context.begun:
        return None
    if context.seen not in (None, link.node) or link.node is not context.cluster.acting:
        return None
    return None if scope.needs(context.cluster.alias) else ask_gtid(context, link)


def ask_gtid(context: Context, link: Link) -> positions.Position | None:
    """The GTID of the last transaction that the node of ``link`` has committed; None if unknown."""
    try:
        link.query(positions.ASK_GTID)
        ((gtid,),) = link.rows()
    except links.errors(context) as error:
        name = link.node.name
        logger.info("%s: %s does not say its GTID: %s", context.cluster.alias, name, error)
        if is_lost(error):
            context.lose_primary(idle=True)
        return None
    text = gtid.decode() if isinstance(gtid, bytes) else str(gtid)
    return positions.Position("", 0, link.node.name, text)


# --- for a position -----------------------------------------------------------------------


def _reached(context: Context, link: Link, needs: list[Need], opening: list[Step]) -> Wait:
    seconds = allowance(context, link.node)
    wait = Wait()
    for need in needs:
        by_gtid = context.options.wsrep_sync_use_gtid and need.position.gtid
        statement = (positions.reach_gtid if by_gtid else positions.reach)(need.position, seconds)
        done = functools.partial(_met, context, link, need, wait, need is needs[-1])
        wait.steps.append(Step(statement, done))
    wait.steps += opening
    return wait


def _met(context: Context, link: Link, need: Need, wait: Wait, last: bool, rows: int) -> None:
    need.note_met(link.node)
    context.cluster.note_position(link.node, replace(need.position, node=""))
    wait.over = last


def allowance(context: Context, node: Node) -> float:
    """Seconds for which ``node`` may be waited for now.

    All waits of one statement together take ``wsrep_sync_timeout``; as long as there is another
    secondary to try, one of them takes half of what is left.
    """
    now, cluster = time.monotonic(), context.cluster
    if not context.sync_until:
        context.sync_until = now + context.options.wsrep_sync_timeout
    left = max(0.0, context.sync_until - now)
    if node is cluster.primary():
        return max(left, PRIMARY_WAIT)
    if cluster.lags(node):
        return 0.0
    return left / 2 if cluster.others(node, context.lagging) else left


# --- what came of it ----------------------------------------------------------------------


def is_late(link: Link, wait: Wait, error: BaseException) -> bool:
    """Whether ``error`` means that the node of ``link`` has not caught up in time."""
    if wait.over:
        return False
    return link.overdue or verdict(error) is Verdict.LOCK_WAIT or positions.is_behind(error)


def pass_by(context: Context, link: Link) -> None:
    """The node of ``link`` is not to be read from now; it may be well all the same.

    Nodes that are forming a new view answer so too.
    """
    if link.overdue:
        links.drop_node(link)
    context.cluster.note_lag(link.node)
    leave_out(context, link.node)


def leave_out(context: Context, node: Node) -> None:
    """``node`` is not to be read from by the statement at hand."""
    context.lagging.add(node)
    context.pin = None


def is_foreign(context: Context, error: BaseException) -> bool:
    """Whether a token was of another cluster than this, as when it has been rebuilt; it is void."""
    cluster_id = positions.cluster_met(error)
    if not cluster_id:
        return False
    logger.warning(
        "%s: a causal token was ignored: it is of another cluster than %s",
        context.cluster.alias,
        cluster_id,
    )
    for need in scope.needs(context.cluster.alias):
        if not need.everything and need.position.cluster_id != cluster_id:
            need.void = True
    return True

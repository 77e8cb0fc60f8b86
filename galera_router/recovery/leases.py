"""Markers for transactions: taken from those that are free, made, given back."""

from __future__ import annotations

import logging

from galera_router.compat import internals
from galera_router.connections.connection import Link
from galera_router.connections.errors import errno, is_conflict, is_lost
from galera_router.recovery.marker import (
    FIND_OLD,
    NO_SUCH_TABLE,
    TABLE,
    Marker,
    Pool,
    clean,
    pool_of,
)
from galera_router.transactions import links
from galera_router.transactions.context import Context

logger = logging.getLogger("galera_router")


def lease(context: Context, link: Link) -> None:
    """Give the transaction that is about to begin on ``link`` a marker, if it is to have one.

    Raises:
        Error: the driver's, where the connection is lost.
    """
    marking = context.marking
    if marking.marker is not None or not _wanted(context, link):
        return
    pool = pool_of(context.cluster)
    if not pool.absent:
        free = pool.take(link.node, context.database)
        marking.marker = free or _make(context, link, pool)


def _wanted(context: Context, link: Link) -> bool:
    """Not on a connection with state: LOCK TABLES, for one, would keep us from the table."""
    options = context.options
    if not (options.commit_marker and options.failover_enable) or link.state is not None:
        return False
    return not internals.in_testcase(context.wrapper)


def _make(context: Context, link: Link, pool: Pool) -> Marker | None:
    if pool.time_to_clean():
        _clean(context, link)
    marker = Marker(link.node)
    error = _execute(context, link, marker.create())
    if error is None:
        return marker
    if is_conflict(error):
        raise error
    # Without the table migrate has not run yet, or is just running: a system check says so.
    level = logging.INFO if errno(error) == NO_SUCH_TABLE else logging.WARNING
    text = "%s: a COMMIT whose answer is lost will be CommitOutcomeUnknown: no marker in %s: %s"
    logger.log(level, text, context.cluster.alias, TABLE, error)
    pool.note_absent()
    return None


def _clean(context: Context, link: Link) -> None:
    """Remove the rows of dead workers; whoever is about to do the same is left to it."""
    error = _execute(context, link, FIND_OLD)
    if error is None and (old := [row[0] for row in link.rows()]):
        _execute(context, link, clean(old))


def _execute(context: Context, link: Link, statement: bytes) -> Exception | None:
    try:
        link.query(statement)
    except links.errors(context) as error:
        if is_lost(error):
            raise
        return error
    return None


def renew(context: Context) -> None:
    """Forget a marker that is not as it was left; the next lease is of another one."""
    alias, marking = context.cluster.alias, context.marking
    flushed = bool(context.database_now(context.cluster.nodes[0]))  # a project's test does that
    level = logging.DEBUG if flushed else logging.WARNING
    logger.log(level, "%s: a row of %s has gone: another takes its place", alias, TABLE)
    marking.marker = None
    marking.renewals += 1
    if marking.renewals > 1:  # nor does a new one stay: the table is not what it should be
        pool_of(context.cluster).note_absent()


def give_back(context: Context, link: Link, *, committed: bool) -> None:
    """The outcome is known: let another transaction have the marker."""
    marking = context.marking
    marker, marking.marker = marking.marker, None
    if marker is None or context.uncertain:
        return
    if committed and marking.done:
        marker.seq += 1
        marker.node = link.node
    pool_of(context.cluster).give(marker, context.database)

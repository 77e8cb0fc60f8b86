"""Driver connections: opened, kept, found dead, let go."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import Error, connections
from MySQLdb.constants import CLIENT

from . import internals
from .cluster import Node
from .context import Context, Link
from .primary import StandIn

logger = logging.getLogger("galera_router")

BEGIN = b"START TRANSACTION"
#: The first transaction of every connection to the primary. Without it MariaDB (seen: 10.11.19
#: with Galera 26.4.23) replicates what a ROLLBACK TO SAVEPOINT has undone, if the connection had
#: only read before: the row is then missing on the node that undid it and is on all others.
PRIME = b"START TRANSACTION WITH CONSISTENT SNAPSHOT"
BEGIN_READ_ONLY = b"START TRANSACTION READ ONLY"
#: Inside a transaction wsrep_sync_wait does nothing: it has to be on the BEGIN.
SYNCED = b"SET STATEMENT wsrep_sync_wait=1 FOR "


def errors(context: Context) -> tuple[type[Exception], ...]:
    """The database errors of Django and of the driver beneath."""
    return (Error, context.wrapper.Database.Error)  # type: ignore[attr-defined]


def to_primary(context: Context, node: Node) -> Link:
    """The connection to ``node`` as primary, the kept one if it is still good.

    Raises:
        Error: the driver's or Django's, where ``node`` cannot be connected to.
    """
    kept = context.primary
    if (
        kept is not None
        and kept.node is node
        and not internals.is_stale(kept.connection, ping=kept.unchecked)
    ):
        kept.unchecked = False
        return kept
    context.primary = None
    context.wrapper.ensure_connection()
    settings = {**node.config.role_settings, **context.database_now(node)}
    connection = internals.connect(context.wrapper, settings)
    context.primary = link = Link(node, connection)
    try:
        with context.passively():
            internals.initialise(context.wrapper)
        _prime(context, link)
    except BaseException:
        context.primary = None
        raise
    return link


def _prime(context: Context, link: Link) -> None:
    """Begin with :data:`PRIME`; on a new primary, wait until it has applied everything."""
    moved = link.node is not context.cluster.acting or link.node in context.behind
    cursor = link.connection.cursor()
    prefix(cursor, SYNCED + PRIME if moved else PRIME, lambda: None)
    cursor.execute("COMMIT")
    cursor.close()
    context.behind.discard(link.node)
    context.cluster.acting = link.node


def to_node(context: Context, node: Node) -> Link:
    """The read-only connection to ``node``, through its own alias.

    Raises:
        Error: the driver's or Django's, where ``node`` cannot be connected to.
    """
    wrapper = connections[node.alias]
    if wrapper.connection is None or isinstance(wrapper.connection, StandIn):
        with context.passively():
            try:
                internals.connect_node(wrapper)
            except BaseException:
                wrapper.connection = None
                raise
    return Link(node, wrapper.connection)


def drop_node(link: Link) -> None:
    """Let go of a lost read-only connection."""
    wrapper = connections[link.node.alias]
    if wrapper.connection is link.connection:
        internals.abandon(wrapper)


def intact(link: Link) -> bool:
    """Whether the node's wrapper still has the connection that the snapshot was opened on."""
    return connections[link.node.alias].connection is link.connection


def end_snapshot(context: Context) -> None:
    """End the read-only transaction on the secondary, if one is open."""
    link, context.snapshot = context.snapshot, None
    if link is None or not intact(link):
        return
    try:
        link.connection.query(b"COMMIT")
    except errors(context) as error:  # it had nothing to lose; the next use connects anew
        logger.info(
            "%s: lost %s at the end of a snapshot: %s", context.cluster.alias, link.node.name, error
        )
        drop_node(link)


def end(context: Context, link: Link) -> None:
    """End a transaction on the primary that has changed nothing."""
    try:
        link.connection.query(b"COMMIT")
    except errors(context) as error:
        logger.info(
            "%s: lost %s at the end of a read: %s", context.cluster.alias, link.node.name, error
        )
        context.primary = None


def prefix(cursor: Any, first: bytes, done: Callable[[], None]) -> None:
    """Have ``cursor`` send ``first`` in one packet with its next statement.

    Args:
        cursor: a driver cursor; only its next ``execute`` is affected.
        first: a statement without parameters.
        done: called when the server has answered ``first`` without an error.
    """

    def execute(query: Any, args: Any = None) -> Any:
        del cursor.execute  # also breaks the reference cycle
        if not several_statements(cursor.connection):
            cursor.execute(first)
            done()
            return cursor.execute(query, args)
        head = first + b"; "
        cursor.execute(head.decode() + query if isinstance(query, str) else head + query, args)
        done()
        cursor.nextset()
        return cursor.rowcount

    cursor.execute = execute


def without_begin(sent: bytes) -> bytes:
    """The statement of a packet that :func:`prefix` has put a BEGIN before."""
    for begin in (SYNCED + BEGIN_READ_ONLY, BEGIN_READ_ONLY):
        if sent.startswith(begin + b"; "):
            return sent[len(begin) + 2 :]
    return sent


def several_statements(connection: Any) -> bool:
    """Whether one packet may carry several statements (the driver's default)."""
    return bool(connection.client_flag & CLIENT.MULTI_STATEMENTS)

"""Driver connections: opened, kept, found dead, let go."""

from __future__ import annotations

import functools
import logging
import time

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from MySQLdb.cursors import Cursor

from galera_router.cluster import membership as identity
from galera_router.cluster.nodes import Node
from galera_router.compat import internals
from galera_router.connections.connection import Link
from galera_router.connections.errors import Verdict, is_lost, verdict
from galera_router.connections.packets import Step, carry
from galera_router.exceptions import NoNodeAvailable
from galera_router.transactions.context import Context
from galera_router.transactions.standin import StandIn

logger = logging.getLogger("galera_router")

BEGIN = b"START TRANSACTION"
#: The first transaction of every connection to the primary. Without it MariaDB (seen: 10.11.19
#: with Galera 26.4.23) replicates what a ROLLBACK TO SAVEPOINT has undone, if the connection had
#: only read before: the row is then missing on the node that undid it and is on all others.
PRIME = b"START TRANSACTION WITH CONSISTENT SNAPSHOT"
BEGIN_READ_ONLY = b"START TRANSACTION READ ONLY"
#: Inside a transaction wsrep_sync_wait does nothing: it has to be on the BEGIN.
SYNCED = b"SET STATEMENT wsrep_sync_wait=1 FOR "

_LINK = "galera_link"


def errors(context: Context) -> tuple[type[Exception], ...]:
    """The database errors of Django and of the driver beneath."""
    return (Error, context.wrapper.Database.Error)  # type: ignore[attr-defined]


def to_primary(context: Context, node: Node) -> Link:
    """The connection to ``node`` as primary, the kept one if it is still good.

    Raises:
        Error: the driver's or Django's, where ``node`` cannot be connected to.
    """
    kept = context.primary
    if kept is not None and kept.node is node:
        if not _is_stale(kept):
            _catch_up(context, kept)
            return kept
        context.lose_primary(idle=True)
    elif kept is not None:  # it is closed with the last cursor that the application has of it
        kept.release()
        context.primary = None
    context.wrapper.ensure_connection()
    settings = {**node.config.role_settings, **context.database_now(node)}
    connection = internals.connect(context.wrapper, settings)
    context.primary = link = Link(node, connection, context.wrapper)
    try:
        with context.passively(), link.in_flight():
            internals.initialise(context.wrapper)
        _end_left(context, link)
        _prime(context, link)
    except BaseException:
        context.primary = None
        raise
    return link


def _begin_with_prime(context: Context, link: Link, prime: bytes) -> bool:
    """Begin and end; False if the wait for the applier failed, as it does in a change of view."""
    cursor = link.connection.cursor(Cursor)
    carry(cursor, [Step(prime), Step(b"COMMIT")])
    try:
        with link.in_flight():
            cursor.execute(identity.QUESTION)
            told = cursor.fetchall()
    except errors(context) as error:
        if verdict(error) is not Verdict.LOCK_WAIT:
            raise
        return False
    finally:
        cursor.close()
    identity.judge(link, told)
    return True


def _is_stale(kept: Link) -> bool:
    if not kept.unchecked:
        return internals.is_stale(kept.connection)
    kept.unchecked = False
    with kept.in_flight():
        return internals.is_stale(kept.connection, ping=True)


def _end_left(context: Context, link: Link) -> None:
    """End what a lost connection has left on the same server, where it would hold its locks.

    A server that was started anew counts its connections from the beginning. On another node
    nothing is to be done: a commit there aborts the local transaction that is in its way.
    """
    left, context.left = context.left, None
    if left is None or left.node is not link.node or left.thread_id >= link.thread_id:
        return
    try:
        link.query(b"KILL HARD CONNECTION %d" % left.thread_id)
    except errors(context) as error:
        if is_lost(error):
            raise
        logger.debug("%s: %s", context.cluster.alias, error)  # it has ended already


def opening(link: Link) -> list[Step]:
    """What begins a transaction. START TRANSACTION would release what LOCK TABLES has locked."""
    if not link.locked:
        return [Step(BEGIN)]

    def done(rows: int) -> None:
        link.manual = True

    return [Step(b"SET autocommit = 0", done)]


def closed(context: Context, link: Link) -> None:
    """The transaction on ``link`` has ended: undo what :func:`opening` may have set."""
    link.before.clear()
    if not link.manual:
        return
    try:
        link.query(b"SET autocommit = 1")
        link.manual = False
    except errors(context) as error:  # what was to be final is: no failure of the transaction
        logger.info("%s: lost %s after its end: %s", context.cluster.alias, link.node.name, error)
        context.forgotten = link.state
        context.lose_primary(idle=True)


def isolation(context: Context, link: Link) -> list[Step]:
    """What ``lost_update_guard`` sends ahead of a transaction, once per connection.

    At REPEATABLE READ a change to a row that is newer than the snapshot is then refused with
    error 1020, where MariaDB would else change what the transaction has never seen.
    """
    guarded = context.options.lost_update_guard
    if guarded == link.guarded:
        return []
    own = context.wrapper.isolation_level or "repeatable read"  # type: ignore[attr-defined]
    level = "repeatable read" if guarded else own
    statements = (
        f"SET SESSION innodb_snapshot_isolation = {guarded:d}",
        f"SET SESSION TRANSACTION ISOLATION LEVEL {level}",
    )

    def done(rows: int) -> None:
        link.guarded = guarded

    return [Step(statements[0].encode()), Step(statements[1].encode(), done)]


def _lags(context: Context, node: Node) -> bool:
    """Whether ``node``, the primary now, may lack what was committed through another one."""
    if node is not context.cluster.acting or node in context.behind:
        return True
    return bool(context.unmet(node))


def _catch_up(context: Context, link: Link) -> None:
    """Wait for a primary that others have written past since it was last used here.

    LOCK TABLES would be ended by it, and has kept them from writing.
    """
    if not link.locked and _lags(context, link.node):
        _prime(context, link)


def _prime(context: Context, link: Link) -> None:
    """Begin with :data:`PRIME`; on a new primary, wait until it has applied everything."""
    moved = _lags(context, link.node)
    deadline = time.monotonic() + context.options.reconnect_wait_time
    while not _begin_with_prime(context, link, SYNCED + PRIME if moved else PRIME):
        if time.monotonic() >= deadline:
            raise NoNodeAvailable(f"Node {link.node.name} does not catch up with its cluster.")
        time.sleep(0.1)
    if moved:
        context.note_synced(link.node)
    context.cluster.acting = link.node


def to_node(context: Context, node: Node) -> Link:
    """The read-only connection to ``node``, through its own alias.

    Raises:
        Error: the driver's or Django's, where ``node`` cannot be connected to.
    """
    wrapper = connections[node.alias]
    known = vars(wrapper).get(_LINK)
    if known is not None and known.connection is wrapper.connection:
        if not internals.is_stale(known.connection):
            return known  # type: ignore[no-any-return]
        drop_node(known)
    if wrapper.connection is None or isinstance(wrapper.connection, StandIn):
        with context.passively():
            try:
                internals.connect_node(wrapper, functools.partial(_initialise, context, node))
            except BaseException:
                wrapper.connection = None
                raise
    link = vars(wrapper).get(_LINK)
    return link if isinstance(link, Link) else _keep(context, node, wrapper)


def _initialise(context: Context, node: Node, wrapper: BaseDatabaseWrapper) -> None:
    """Have the statements of a connection's set-up watched as well."""
    link = _keep(context, node, wrapper)
    with link.in_flight():
        wrapper.init_connection_state()
    identity.confirm(link)


def _keep(context: Context, node: Node, wrapper: BaseDatabaseWrapper) -> Link:
    link = Link(node, wrapper.connection, context.wrapper)
    setattr(wrapper, _LINK, link)
    return link


def drop_node(link: Link) -> None:
    """Let go of a lost read-only connection."""
    wrapper = connections[link.node.alias]
    if wrapper.connection is link.connection:
        wrapper.connection = None
        delattr(wrapper, _LINK)
    link.drop()


def intact(link: Link) -> bool:
    """Whether the node's wrapper still has the connection that the snapshot was opened on."""
    return connections[link.node.alias].connection is link.connection


def end_snapshot(context: Context) -> None:
    """End the read-only transaction on the secondary, if one is open."""
    link, context.snapshot = context.snapshot, None
    if link is None:
        return
    context.seen = link.node
    if not intact(link):
        return
    try:
        link.query(b"COMMIT")
    except errors(context) as error:  # it had nothing to lose; the next use connects anew
        logger.info(
            "%s: lost %s at the end of a snapshot: %s", context.cluster.alias, link.node.name, error
        )
        drop_node(link)


def end(context: Context, link: Link) -> None:
    """End a transaction on the primary that has changed nothing."""
    try:
        link.query(b"COMMIT")
    except errors(context) as error:
        logger.info(
            "%s: lost %s at the end of a read: %s", context.cluster.alias, link.node.name, error
        )
        context.primary = None

"""The connection to the primary: opened, kept, found dead, prepared for transactions."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from MySQLdb.cursors import Cursor

from galera_router.cluster import membership
from galera_router.cluster.nodes import Node
from galera_router.compat import internals
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import ERRORS, Verdict, is_lost, verdict
from galera_router.connections.packet import Packet, Step
from galera_router.exceptions import NoNodeAvailable

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger("galera_router")

BEGIN = b"START TRANSACTION"
#: The first transaction of every connection to the primary. Without it MariaDB (seen: 10.11.19
#: with Galera 26.4.23) replicates what a ROLLBACK TO SAVEPOINT has undone, if the connection had
#: only read before: the row is then missing on the node that undid it and is on all others.
PRIME = b"START TRANSACTION WITH CONSISTENT SNAPSHOT"
BEGIN_READ_ONLY = b"START TRANSACTION READ ONLY"
#: Inside a transaction wsrep_sync_wait does nothing: it has to be on the BEGIN. The time that the
#: application allows its statements is not for our waits. A session that takes dirty reads, as the
#: server's own settings may have it, would not wait.
SYNCED = b"SET STATEMENT wsrep_dirty_reads=0, wsrep_sync_wait=1, max_statement_time=0 FOR "


def to_primary(session: Session, node: Node) -> NodeConnection:
    """The connection to ``node`` as primary, the kept one if it is still good.

    Raises:
        Error: the driver's or Django's, where ``node`` cannot be connected to.
    """
    kept = session.primary
    if kept is not None and kept.node is node:
        if not _is_stale(kept):
            _catch_up(session, kept)
            return kept
        session.lose_primary(idle=True)
    elif kept is not None:
        kept.leave()
        session.primary = None
    return _connect(session, node)


def _connect(session: Session, node: Node) -> NodeConnection:
    session.wrapper.ensure_connection()
    settings = {**node.config.role_settings, **session.database_now()}
    connection = internals.connect(session.wrapper, settings)
    session.primary = link = NodeConnection(node, connection, session.wrapper)
    try:
        with session.directly(link), link.in_flight():
            internals.initialise(session.wrapper)
        _end_left(session, link)
        _prime(session, link)
    except BaseException:
        session.primary = None
        link.drop()
        raise
    return link


def _is_stale(kept: NodeConnection) -> bool:
    if not kept.unchecked:
        return kept.is_stale()
    kept.unchecked = False
    with kept.in_flight():
        return kept.is_stale(ping=True)


def _end_left(session: Session, link: NodeConnection) -> None:
    """End what a lost connection has left on the same server, where it would hold its locks.

    A server that was started anew counts its connections from the beginning. On another node
    nothing is to be done: a commit there aborts the local transaction that is in its way.
    """
    left, session.left = session.left, None
    if left is None or left.node is not link.node or left.thread_id >= link.thread_id:
        return
    try:
        link.query(b"KILL HARD CONNECTION %d" % left.thread_id)
    except ERRORS as error:
        if is_lost(error):
            raise
        logger.debug("%s: %s", session.cluster.alias, error)  # it has ended already


# --- transactions -------------------------------------------------------------------------


def begin(link: NodeConnection) -> list[Step]:
    """What begins a transaction.

    START TRANSACTION would release what LOCK TABLES has locked, and commit what the application has
    begun by a statement of its own.
    """
    if not link.locked and not link.begun_by_hand:
        return [Step(BEGIN)]

    def done(rows: int) -> None:
        link.manual = True

    return [Step(b"SET autocommit = 0", done)]


def ended(session: Session, link: NodeConnection) -> None:
    """The transaction on ``link`` has ended: undo what :func:`begin` may have set."""
    link.end_state("SET TRANSACTION")
    link.before.clear()
    if not link.manual:
        return
    try:
        link.query(b"SET autocommit = 1")
        link.manual = False
    except ERRORS as error:  # what was to be final is: no failure of the transaction
        logger.info("%s: lost %s after its end: %s", session.cluster.alias, link.node.name, error)
        session.forgotten = link.state
        session.lose_primary(idle=True)


def isolation(session: Session, link: NodeConnection) -> list[Step]:
    """What ``lost_update_guard`` sends ahead of a transaction, once per connection.

    At REPEATABLE READ a change to a row that is newer than the snapshot is then refused with
    error 1020, where MariaDB would else change what the transaction has never seen.
    """
    guarded = session.options.lost_update_guard
    if guarded == link.guarded:
        return []
    own = session.wrapper.isolation_level or "repeatable read"  # type: ignore[attr-defined]
    level = "repeatable read" if guarded else own
    statements = (
        f"SET SESSION innodb_snapshot_isolation = {guarded:d}",
        f"SET SESSION TRANSACTION ISOLATION LEVEL {level}",
    )

    def done(rows: int) -> None:
        link.guarded = guarded

    return [Step(statements[0].encode()), Step(statements[1].encode(), done)]


# --- a new primary has to catch up --------------------------------------------------------


def _lags(session: Session, node: Node) -> bool:
    """Returns True if ``node``, the primary now, may lack what was committed through another."""
    if node is not session.cluster.acting or node in session.following.behind:
        return True
    return bool(session.unmet(node))


def _catch_up(session: Session, link: NodeConnection) -> None:
    """Wait for a primary that others have written past since it was last used here.

    LOCK TABLES would be ended by it, and has kept them from writing.
    """
    if not link.locked and _lags(session, link.node):
        _prime(session, link)


def _prime(session: Session, link: NodeConnection) -> None:
    """Begin with :data:`PRIME`; on a new primary, wait until it has applied everything."""
    moved = _lags(session, link.node)
    deadline = time.monotonic() + session.options.reconnect_wait_time
    while not _begin_with_prime(link, SYNCED + PRIME if moved else PRIME):
        if time.monotonic() >= deadline:
            raise NoNodeAvailable(
                f"Node {link.node.name} has not caught up with its cluster within"
                f" {session.options.reconnect_wait_time:g} s (reconnect_wait_time)."
            )
        time.sleep(0.1)
    if moved:
        session.following.note_synced(link.node)
    session.cluster.acting = link.node


def _begin_with_prime(link: NodeConnection, prime: bytes) -> bool:
    """Begin and end; False if the wait for the applier failed, as it does in a change of view."""
    link.drain()
    cursor = link.connection.cursor(Cursor)
    cursor.connection = Packet(link.connection, [Step(prime), Step(b"COMMIT")])
    try:
        with link.in_flight():
            cursor.execute(membership.QUESTION)
            told = cursor.fetchall()
    except ERRORS as error:
        if verdict(error) is not Verdict.LOCK_WAIT:
            raise
        return False
    finally:
        cursor.connection = None
    membership.judge(link, told)
    return True

"""The connection to the primary: opened, kept, found dead, prepared for transactions."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from MySQLdb.cursors import Cursor

from galera_router import signals
from galera_router.cluster import change, membership
from galera_router.cluster.epoch import ASK, WHO, Epoch, is_absent, read
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.position import Mark
from galera_router.compat import internals
from galera_router.connections.begin import BEGIN, PRIME, SYNCED
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import ERRORS, Verdict, is_lost, verdict
from galera_router.connections.packet import Packet, Step, several_statements, text_of
from galera_router.events import PrimaryChanged
from galera_router.recovery.failover import CatchingUp, LagsBehind, tell_wait
from galera_router.recovery.marker import look_for

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger("galera_router")

#: Seconds from which on it is told that a new primary had to be waited for.
WORTH_TELLING = 0.1
_UNCOMMITTED = "read uncommitted"


def to_primary(session: Session, node: Node, waits: CatchingUp) -> NodeConnection:
    """The connection to ``node`` as primary, the kept one if it is still good.

    Args:
        session: the thread's session.
        node: the node.
        waits: how long it may take to catch up with the others.

    Raises:
        LagsBehind: it has taken longer.
        Error: the driver's or Django's, where ``node`` cannot be connected to.
    """
    kept = session.primary
    if kept is not None and kept.node is node:
        if not _is_stale(kept):
            _catch_up(session, kept, waits)
            _fix_epoch(session, kept, waits)
            return kept
        session.lose_primary(idle=True)
    elif kept is not None:
        kept.leave()
        session.primary = None
    link = _connect(session, node, waits)
    _fix_epoch(session, link, waits)
    return link


def at_once(session: Session) -> NodeConnection | None:
    """The kept connection to the primary, if :func:`to_primary` would have nothing to do.

    None where anything is unusual: then :func:`failover.on_primary` does what is to be done.
    """
    link = session.primary
    if link is None or link.state is not None or link.unchecked or session.forgotten is not None:
        return None
    cluster, node = session.cluster, link.node
    known = node.epoch
    if known is None or known.server != link.server:
        return None
    if cluster.usual() is not node or _lags(session, node):
        return None
    if link.is_stale():
        session.lose_primary(idle=True)
        return None
    link.epoch = known.number
    cluster.note_use()
    return link


def _fix_epoch(session: Session, link: NodeConnection, waits: CatchingUp) -> None:
    """Fix the epoch of what begins on ``link`` now. What has been set on it keeps its own.

    Raises:
        NotPrimary: another node is the primary.
        LagsBehind: the node has not caught up in time.
    """
    if link.state is not None:
        return
    known = link.node.epoch
    if known is None or known.server != link.server:
        known = _find_epoch(session, link, waits)
    link.epoch = known.number if known is not None else None


def _find_epoch(session: Session, link: NodeConnection, waits: CatchingUp) -> Epoch | None:
    if session.cluster.epochs.absent:
        return None
    link.until = time.monotonic() + waits.seconds(link)
    try:
        found = change.follow(link, link.node, membership.identity(session.cluster))
    except ERRORS as error:
        if link.overdue or verdict(error) is Verdict.LOCK_WAIT:
            raise LagsBehind(f"{link.node.name} has not caught up in time") from error
        raise
    finally:
        link.until = link.spare = 0.0
    if found is not None:
        link.server = found.server
    return found


def _connect(session: Session, node: Node, waits: CatchingUp) -> NodeConnection:
    session.wrapper.ensure_connection()
    settings = {**node.config.role_settings, **session.database_now()}
    connection = internals.connect(session.wrapper, settings)
    session.primary = link = NodeConnection(node, connection, session.wrapper)
    try:
        with session.directly(link), link.in_flight():
            internals.initialise(session.wrapper, tell=session.receivers_ask)
        cluster = session.cluster
        cluster.server_data = cluster.server_data or internals.server_data(session.wrapper)
        link.note_way()
        _end_left(session, link)
        _prime(session, link, waits)
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

    On another node nothing is to be done: a commit there aborts the local transaction that is in
    its way.
    """
    left, session.left = session.left, None
    if left is None or left.node is not link.node or left.thread_id >= link.thread_id:
        return
    try:
        if not _is_of(link, left):
            return
        link.query(b"KILL HARD CONNECTION %d" % left.thread_id)
    except ERRORS as error:
        if is_lost(error):
            raise
        logger.debug("%s: %s", session.cluster.alias, error)  # it has ended already


def _is_of(link: NodeConnection, left: NodeConnection) -> bool:
    """Returns True if both are of one server, which was not started anew in between.

    Else the number of ``left`` may be somebody else's by now: a server counts its connections from
    the beginning, and there may be several behind one address.
    """
    link.query(f"SELECT {WHO}, VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS"
               " WHERE VARIABLE_NAME = 'UPTIME'".encode())  # fmt: skip
    ((name, uptime),) = link.rows()
    same = not left.server or left.server == text_of(name)
    return same and float(uptime) >= time.monotonic() - left.born


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
    if link.state is not None:
        link.end_state("SET TRANSACTION", "BEGIN", "START")
    if link.before:
        link.before.clear()
    if not link.manual:
        return
    try:
        link.query(b"SET autocommit = 1")
        link.manual = False
    except ERRORS as error:  # what was to be final is: no failure of the transaction
        logger.info("%s: lost %s after its end: %s", session.cluster.alias, link.node.name, error)
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


def _catch_up(session: Session, link: NodeConnection, waits: CatchingUp) -> None:
    """Wait for a primary that others have written past since it was last used here.

    LOCK TABLES would be ended by it, and has kept them from writing.
    """
    if not link.locked and _lags(session, link.node) and not _has_marks(session, link):
        _prime(session, link, waits)


def _has_marks(session: Session, link: NodeConnection) -> bool:
    """Returns True if only tokens are to be waited for, and the primary has all that they name.

    Nearly always it has committed that itself. Its own rows say so: a wait for the cluster takes
    longer, the more so the farther the nodes are apart, and stands still while they form a view.
    """
    cluster, node = session.cluster, link.node
    if node is not cluster.acting or node in session.following.behind or link.state is not None:
        return False
    if session.wrapper.isolation_level == _UNCOMMITTED:  # type: ignore[attr-defined]
        return False  # the row may be that of a write set which is still being applied
    turn = cluster.note_server(node, link.server)  # there may be another one behind the address
    needs = session.unmet(node)
    marks = [need.position for need in needs if isinstance(need.position, Mark)]
    if len(marks) < len(needs):
        return False
    try:
        for mark in marks:
            link.query(look_for(mark))
            link.rows()
    except ERRORS as error:
        if is_lost(error):
            raise
        return False  # it is not there, or there is no table to look into
    for mark in marks:
        cluster.note_mark(node, mark, turn)
    for need in needs:
        need.note_met(node, turn)
    return True


def _prime(session: Session, link: NodeConnection, waits: CatchingUp) -> None:
    """Begin with ``PRIME``; on a new primary, wait until it has applied everything.

    The watchdog ends the wait; not where that would lose what was set on the connection.
    """
    began = time.monotonic()
    moved = _lags(session, link.node)
    deadline = began + waits.seconds(link)
    link.until = deadline if moved and link.state is None else 0.0
    while not _begin_with_prime(session, link, synced=moved):
        if (now := time.monotonic()) >= deadline or link.is_spared(now):
            raise LagsBehind(f"{link.node.name} has not caught up in time")
        time.sleep(0.1)
    link.until = link.spare = 0.0
    if moved:
        if time.monotonic() - began > WORTH_TELLING:
            tell_wait(session, link.node, "for a new primary", began)
        session.following.note_synced(link.node)
    _note_acting(session.cluster, link.node)


def _note_acting(cluster: Cluster, node: Node) -> None:
    """Without the tables of epochs nothing else tells that another node is the primary."""
    before, cluster.acting = cluster.acting, node
    if cluster.epochs.absent and before not in (None, node):
        told = "there are no tables to agree upon it", "", False, 0
        signals.send(PrimaryChanged, cluster.alias, node.name, before.name, *told)


def _begin_with_prime(session: Session, link: NodeConnection, *, synced: bool) -> bool:
    """Begin and end; False if the wait for the applier failed, as it does in a change of view.

    The server is also asked where it belongs, and who is primary.
    """
    epochs = session.cluster.epochs
    asks, changes = not epochs.absent and several_statements(link.connection), epochs.changes
    link.drain()
    cursor = Cursor(link.connection)  # past a tracer: it is no statement of the application
    prime = SYNCED + PRIME if synced else PRIME
    cursor.connection = Packet(link.connection, [Step(prime), Step(b"COMMIT")])
    try:
        with link.in_flight():
            cursor.execute(membership.QUESTION + (b"; " + ASK if asks else b""))
            told = cursor.fetchall()
            shown = _epochs_shown(session, cursor) if asks else ()
    except ERRORS as error:
        if link.overdue:
            raise LagsBehind(f"{link.node.name} has not caught up in time") from error
        if verdict(error) is not Verdict.LOCK_WAIT:
            raise
        return False
    finally:
        cursor.connection = None
    membership.judge(link, told)
    _note_epoch(session, link, shown, changes if synced else None)
    return True


def _epochs_shown(session: Session, cursor: Cursor) -> Sequence[Sequence[Any]]:
    try:
        cursor.nextset()
    except ERRORS as error:
        if not is_absent(error):
            raise
        session.cluster.epochs.note_absent()
        return ()
    rows: Sequence[Sequence[Any]] = cursor.fetchall()
    return rows


def _note_epoch(
    session: Session, link: NodeConnection, rows: Sequence[Sequence[Any]], synced: int | None
) -> None:
    cluster = session.cluster
    identity = membership.identity(cluster)
    cluster.epochs.at(session.database, identity)
    if rows:
        link.server, found = read(rows, identity)
        cluster.epochs.show(link.node, link.server, found, synced=synced)

"""The marker: one row that a transaction advances, and that tells later if it has committed.

A marker belongs to one transaction at a time, and to one process. With each transaction that
commits, its ``seq`` goes from *n* to *n* + 1, in that very transaction. When the answer to a
COMMIT is lost the row is looked at: *n* + 1 says committed, *n* says not, or not yet. A replay
advances the same row from the same *n*, so that Galera's certification lets only one of the
two commit.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from galera_router.cluster.epoch import is_over
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.position import Mark
from galera_router.compat import internals
from galera_router.connections.begin import SYNCED, UNHURRIED
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import (
    ERRORS,
    errno,
    is_conflict,
    is_interrupted,
    is_lost,
    refuses_writes,
)

if TYPE_CHECKING:
    from galera_router.transactions.session import Session

logger = logging.getLogger("galera_router")

TABLE = "galera_router_marker"
#: Seconds after which a table that was missing is looked for again.
LOOK_AGAIN = 60.0
#: Seconds between two removals of the rows of dead workers, per process.
CLEAN_EVERY = 3600.0
#: A living worker whose row has gone makes a new one.
_OLD = "touched < UTC_TIMESTAMP() - INTERVAL 1 DAY"
FIND_OLD = f"SELECT worker FROM {TABLE} WHERE {_OLD} LIMIT 1000".encode()
#: Ends a compound statement whose advance has met no row.
CHECK_FOUND = (
    "IF ROW_COUNT() <> 1 THEN"
    f" SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{TABLE}: the row has gone'; END IF"
).encode()
#: Where a compound statement keeps the number of rows that the application's statement has changed.
ROWS = "galera_router_rows"
NO_SUCH_TABLE = 1146
_CONSTRAINT_FAILED, _SIGNALLED, _NO_SUCH_COLUMN = 4025, 1644, 1054
_LOST = "%s: transactions that were committed are not there any more: %d, by a row of %s"


class MarkerGone(Exception):
    """The marker's row is not as it was left: someone has removed or changed it."""


@dataclass(eq=False)
class Marker:
    """One row of the table.

    Attributes:
        node: where it was last committed; another node may not have applied that yet.
        seq: what it was last known to be.
    """

    node: Node
    worker: str = field(default_factory=lambda: uuid.uuid4().hex)
    seq: int = 0

    def create(self, epoch: int | None) -> bytes:
        """The statement that makes the row, in ``epoch`` if there are epochs."""
        name, value = ("", "") if epoch is None else (", epoch_slot", f", {2 * epoch}")
        return (
            f"{_checked(epoch)}INSERT INTO {TABLE}"
            f" (worker, seq, found_rows, inserted_key, touched{name})"
            f" VALUES ('{self.worker}', {self.seq}, 0, 0, UTC_TIMESTAMP(){value})"
        ).encode()

    def advance(self, epoch: int | None) -> bytes:
        """Take the row one on. From any other number than ``seq`` the server refuses.

        It does too where ``epoch`` is over: the row refers to one of the epoch's two parents, and
        goes to the other one with each step, so that the write set has the reference.
        """
        return self._move(1, epoch)

    def record(self, epoch: int | None, *, rows: bool) -> bytes:
        """The same, noting what the statement before it in the transaction has done.

        With ``rows`` their number is in :data:`ROWS`, and the server refuses also where it has not
        kept it: it is -1 where the client had gone before the statement was answered (seen: 10.11).
        """
        count, condition = (ROWS, f" AND {ROWS} >= 0") if rows else ("ROW_COUNT()", "")
        more = f", found_rows = {count}, inserted_key = LAST_INSERT_ID()"
        return self._move(1, epoch, more, condition)

    def fence(self) -> bytes:
        """Take the row to where the transaction that it marks can commit no more."""
        return self._move(2, None)

    def look(self) -> bytes:
        """Read the row as it is now, and keep others from changing it."""
        return (
            f"SELECT seq, found_rows, inserted_key FROM {TABLE}"
            f" WHERE worker = '{self.worker}' FOR UPDATE"
        ).encode()

    def show(self) -> bytes:
        """Read the row as this connection last left it."""
        return (
            f"SELECT seq, found_rows, inserted_key FROM {TABLE} WHERE worker = '{self.worker}'"
        ).encode()

    def _move(self, steps: int, epoch: int | None, more: str = "", condition: str = "") -> bytes:
        if epoch is not None:
            first, second = 2 * epoch, 2 * epoch + 1
            more += f", epoch_slot = IF(epoch_slot = {first}, {second}, {first})"
        return (
            f"{_checked(epoch)}UPDATE {TABLE}"
            f" SET seq = IF(seq = {self.seq}{condition}, {self.seq + steps}, -1),"
            f" touched = UTC_TIMESTAMP(){more} WHERE worker = '{self.worker}'"
        ).encode()


def _checked(epoch: int | None) -> str:
    """Whatever the application has turned off, as loading a fixture does."""
    keys = "" if epoch is None else "foreign_key_checks=1, "
    return f"SET STATEMENT {keys}check_constraint_checks=1 FOR "


def clean(workers: Sequence[str]) -> bytes:
    """Remove old rows by their keys: a search would wait for every row that is in use."""
    names = ", ".join(f"'{worker}'" for worker in workers)
    return (
        "SET STATEMENT innodb_lock_wait_timeout = 0 FOR"
        f" DELETE FROM {TABLE} WHERE worker IN ({names}) AND {_OLD}"
    ).encode()


def moved(error: BaseException) -> bool:
    """Returns True if ``error`` is the server's refusal to advance a marker."""
    if errno(error) == _NO_SUCH_COLUMN:  # migrate has taken it away
        return "epoch_slot" in str(error)
    return errno(error) in {_CONSTRAINT_FAILED, _SIGNALLED, NO_SUCH_TABLE} and TABLE in str(error)


def is_fenced(error: BaseException) -> bool:
    """Returns True if ``error`` says that the epoch is over in which a marker was to advance."""
    return is_over(error, TABLE)


class Pool:
    """The markers of one process on one cluster that no transaction is using."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: defaultdict[tuple[Node | None, str], list[Marker]] = defaultdict(list)
        self._absent_until = float("-inf")
        self._clean_at = float("-inf")

    def take(self, node: Node | None, database: str) -> Marker | None:
        """A marker last committed on ``node``, or None if a new one has to be made.

        Args:
            node: None for any, in an epoch: a node that has shown it has the row of each marker.
            database: where its row is.
        """
        with self._lock:
            free = self._free[node, database]
            return free.pop() if free else None

    def give(self, marker: Marker, node: Node | None, database: str) -> None:
        """Let another transaction have ``marker``, whose number is known."""
        with self._lock:
            self._free[node, database].append(marker)

    @property
    def absent(self) -> bool:
        """Returns True if the table was missing a short while ago."""
        return time.monotonic() < self._absent_until

    def note_absent(self) -> None:
        self._absent_until = time.monotonic() + LOOK_AGAIN

    def note_present(self) -> None:
        """The table may have been made just now."""
        self._absent_until = float("-inf")

    def time_to_clean(self) -> bool:
        """Returns True if it is time to remove dead workers' rows; once per :data:`CLEAN_EVERY`."""
        with self._lock:
            now = time.monotonic()
            due = now >= self._clean_at
            if due:
                self._clean_at = now + CLEAN_EVERY
            return due


class Marking:
    """How a transaction on the primary stands to its marker.

    A marker that was advanced after a savepoint is undone with it, so the open savepoints
    are followed.

    Attributes:
        marker: None if the transaction has none; its outcome cannot be found out then.
        epoch: the one that it belongs to, fixed before its BEGIN; None if there are none.
        ahead: it begins with the marker, for it will most likely come to such a statement.
        wanted: the transaction has come to a statement that may write or lock.
        done: the marker has been advanced in the transaction that the server has open.
        renewals: markers that were found missing.
        direct: the driver's connection was used as well: nobody knows what that has done.
    """

    def __init__(self) -> None:
        self.marker: Marker | None = None
        self.epoch: int | None = None
        self.ahead = False
        self.wanted = False
        self.done = False
        self.renewals = 0
        self.direct = False
        self._savepoints: list[str] = []
        self._depth = 0

    @property
    def is_first(self) -> bool:
        """Returns True if the marker is to be advanced ahead of everything."""
        return self.wanted or self.ahead

    def begun(self, savepoints: list[str] | None) -> None:
        """The server has begun the transaction, its marker ahead of everything if ``is_first``.

        Args:
            savepoints: those it now has; None if it has begun again and they are the same.
        """
        self.done = self.is_first and self.marker is not None
        self._depth = 0
        if savepoints is not None:
            self._savepoints = savepoints

    @property
    def savepoints(self) -> list[str]:
        """The names of the open savepoints, outermost first."""
        return self._savepoints

    def undone(self) -> None:
        """The server has rolled the transaction back, its savepoints with it."""
        self.done, self._depth, self._savepoints = False, 0, []

    def due(self) -> Marker | None:
        """The marker, if it has to be advanced before the next statement."""
        return self.marker if self.wanted and not self.done else None

    def advanced(self) -> None:
        """The server has advanced the marker, after the savepoints that are open."""
        self.done, self._depth = True, len(self._savepoints)

    def savepoint(self, action: str, name: str) -> None:
        """A savepoint has been set, released or rolled back to."""
        position = self._savepoints.index(name) if name in self._savepoints else None
        if action == "SAVEPOINT":
            if position is not None:  # the server forgets the older one of that name
                del self._savepoints[position]
                self._depth -= position < self._depth
            self._savepoints.append(name)
        elif position is not None:
            undone = action == "ROLLBACK TO" and position < self._depth
            self.done = self.done and not undone
            self._savepoints = self._savepoints[: position + (action == "ROLLBACK TO")]
            self._depth = min(self._depth, len(self._savepoints))


_pools: dict[Cluster, Pool] = {}
_lock = threading.Lock()


def pool_of(cluster: Cluster) -> Pool:
    """This process's markers on ``cluster``."""
    try:
        return _pools[cluster]
    except KeyError:
        with _lock:
            return _pools.setdefault(cluster, Pool())


def _after_fork() -> None:
    """No two processes share a marker."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


os.register_at_fork(after_in_child=_after_fork)


# --- taken, made, given back ----------------------------------------------------------------


def acquire(session: Session, marking: Marking, link: NodeConnection) -> None:
    """Give the transaction that is about to begin on ``link`` a marker, if it is to have one.

    Raises:
        Error: the driver's, where the connection is lost.
    """
    if not take(session, marking, link):
        marking.marker = _make(session, link, pool_of(session.cluster))


def take(session: Session, marking: Marking, link: NodeConnection) -> bool:
    """Take a marker from the pool if one is wanted; returns False if one has to be made."""
    marking.epoch = link.epoch
    if marking.marker is None and _is_wanted(session, link):
        pool = pool_of(session.cluster)
        if marking.renewals:  # others in the pool may have gone as well
            return pool.absent
        if not pool.absent:
            marking.marker = pool.take(_last_node(link), session.database)
            return marking.marker is not None
    return True


def _last_node(link: NodeConnection) -> Node | None:
    return link.node if link.epoch is None else None


def _is_wanted(session: Session, link: NodeConnection) -> bool:
    """Not on every connection with state: LOCK TABLES would keep us from the table."""
    options = session.options
    if not (options.commit_marker and options.failover_enable) or not link.allows_marker:
        return False
    return not internals.in_testcase(session.wrapper)


def _make(session: Session, link: NodeConnection, pool: Pool) -> Marker | None:
    if pool.time_to_clean():
        _clean(link)
    marker = Marker(link.node)
    error = _execute(link, marker.create(link.epoch))
    if error is None:
        return marker
    if is_conflict(error) or is_fenced(error) or refuses_writes(error) or is_interrupted(error):
        raise error
    if link.state is not None:  # which may be in the way
        return None
    # Without the table migrate has not run yet, or is just running: a system check says so.
    level = logging.INFO if errno(error) == NO_SUCH_TABLE else logging.WARNING
    text = "%s: a COMMIT whose answer is lost will be CommitOutcomeUnknown: no marker in %s: %s"
    logger.log(level, text, session.cluster.alias, TABLE, error)
    pool.note_absent()
    return None


def _clean(link: NodeConnection) -> None:
    """Remove the rows of dead workers; whoever is about to do the same is left to it."""
    error = _execute(link, FIND_OLD)
    if error is None and (old := [row[0] for row in link.rows()]):
        _execute(link, clean(old))


def _execute(link: NodeConnection, statement: bytes) -> Exception | None:
    try:
        link.query(statement)
    except ERRORS as error:
        if is_lost(error):
            raise
        return error
    return None


def renew(session: Session, marking: Marking, link: NodeConnection | None = None) -> None:
    """Forget a marker that is not as it was left; another one is acquired in its place.

    Args:
        session: whose transaction it is.
        marking: how that stands to the marker.
        link: a connection without a transaction, which can be asked for the row; None if there is
            none, or no row.
    """
    marker = marking.marker
    lost = 0 if marker is None or link is None else marker.seq - _seq_on(link, marker)
    if lost > 0:
        logger.error(_LOST, session.cluster.alias, lost, TABLE)
    else:
        flushed = bool(session.database_now())  # a project's test does that
        level = logging.DEBUG if flushed else logging.WARNING
        text = "%s: a row of %s has gone: another takes its place"
        logger.log(level, text, session.cluster.alias, TABLE)
    marking.marker = None
    marking.renewals += 1
    if marking.renewals > 1:  # nor does a new one stay: the table is not what it should be
        pool_of(session.cluster).note_absent()


def _seq_on(link: NodeConnection, marker: Marker) -> int:
    """Returns the number that the cluster has for ``marker``, or its own if no server can tell."""
    sql = f"SELECT seq FROM {TABLE} WHERE worker = '{marker.worker}'"
    try:
        link.query(SYNCED + sql.encode())
        rows = link.rows()
    except ERRORS:  # whoever uses the connection next meets it
        return marker.seq
    return int(rows[0][0]) if rows else marker.seq


def give_back(
    session: Session, marking: Marking, link: NodeConnection, *, committed: bool
) -> Mark | None:
    """The outcome is proven: let another transaction have the marker.

    Without a proof the marker is thrown away with its transaction.

    Returns:
        What stands for the transaction; None if it has committed nothing that a marker tells.
    """
    marker, marking.marker = marking.marker, None
    if marker is None or marking.direct:
        return None
    mark = None
    if committed and marking.done:
        marker.seq += 1
        marker.node = link.node
        mark = Mark(marker.worker, marker.seq)
    pool_of(session.cluster).give(marker, _last_node(link), session.database)
    return mark


# --- has a node a transaction? --------------------------------------------------------------

_BEHIND = "galera_router: the node lacks a transaction of the marker"
_GONE = "galera_router: the node does not know the marker"
_OUT_OF_RANGE = 1690
#: Seconds between two looks of :func:`wait_for`: at first, and at most.
_PAUSE, _LONGEST = 0.001, 0.01
#: Seconds for which a row that is not there is waited for.
_MOMENT = 0.5


def look_for(mark: Mark) -> bytes:
    """A statement that fails (:func:`was_looked_for`) on a node without ``mark``.

    What follows in its packet is not carried out then. Not a compound statement, which costs twice
    as much, nor a subquery of several rows, which needs a temporary table: one more than the
    largest number.
    """
    return (
        f"SELECT {2**64 - 1} + (COALESCE((SELECT seq FROM {TABLE}"
        f" WHERE worker = '{mark.worker}'), 0) < {mark.seqno})"
    ).encode()


def was_looked_for(error: BaseException) -> bool:
    """Returns True if ``error`` may be that of :func:`look_for`."""
    return errno(error) == _OUT_OF_RANGE


def wait_for(mark: Mark, seconds: float, *, exists: bool) -> bytes:
    """A statement that ends when the node has ``mark``.

    It looks, and looks again until ``seconds`` are over; then it fails (:func:`is_behind`). Where
    there is no row for the marker it fails at once (:func:`is_gone`): it was removed, or is not
    there yet. If this process knows that it ``exists``, it is waited for a moment; whatever
    somebody else has removed since would never come. Not ``wsrep_sync_wait``, which stands still
    while the cluster forms a new view. ``SET reached = (SELECT …)`` would lock the row, and wait
    for the applier that is to write it.
    """
    moment = f" AND waited >= {_MOMENT}" if exists else ""
    gone = f" IF reached IS NULL{moment} THEN {_failure(_GONE, mark)}; END IF;"
    return (
        f"{UNHURRIED.decode()}BEGIN NOT ATOMIC DECLARE reached BIGINT;"
        f" DECLARE pause DOUBLE DEFAULT {_PAUSE}; DECLARE waited DOUBLE DEFAULT 0;"
        f" look: LOOP SELECT MAX(seq) INTO reached FROM {TABLE} WHERE worker = '{mark.worker}';"
        f" IF reached >= {mark.seqno} THEN LEAVE look; END IF;{gone}"
        f" IF waited >= {seconds:.3f} THEN {_failure(_BEHIND, mark)}; END IF;"
        f" DO SLEEP(pause); SET waited = waited + pause, pause = LEAST(pause * 2, {_LONGEST});"
        " END LOOP; END"
    ).encode()


def _failure(text: str, mark: Mark) -> str:
    return f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{text} {mark.worker}'"


def is_behind(error: BaseException, mark: Mark | None = None) -> bool:
    """Returns True if ``error`` says that a node has not got ``mark``, or any, in time."""
    return _says(error, _BEHIND, mark)


def is_gone(error: BaseException, mark: Mark | None = None) -> bool:
    """Returns True if ``error`` says that a node does not know the marker of ``mark``, or any."""
    return _says(error, _GONE, mark)


def _says(error: BaseException, text: str, mark: Mark | None) -> bool:
    return errno(error) == _SIGNALLED and f"{text} {mark.worker if mark else ''}" in str(error)

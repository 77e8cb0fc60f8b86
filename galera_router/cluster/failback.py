"""Move the primary on purpose: back to the first of NODES by itself, elsewhere by hand."""

from __future__ import annotations

import itertools
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from galera_router.cluster import change, membership
from galera_router.cluster.epoch import Epoch, NotPrimary, is_absent
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.probe import Ping
from galera_router.connections.errors import ERRORS, Verdict, verdict

logger = logging.getLogger("galera_router")

#: Seconds between two tries of one process.
AGAIN = 1.0
#: Seconds that a failback leaves to transactions that are older than :data:`OLD` (seconds), which
#: it would abort.
PATIENCE, OLD = 30.0, 1
_OLD_TRANSACTIONS = (
    "SELECT COUNT(*) FROM information_schema.INNODB_TRX"
    f" WHERE trx_started < NOW() - INTERVAL {OLD} SECOND"
).encode()
#: Tries of a change that meets other transactions, at least. 2 to 14 were seen at 2,000 commits a
#: second, and more than 50 where the servers had little time, so it goes on for some seconds, too.
TRIES, INSIST = 50, 10.0
#: Seconds between two of the further tries, at most.
PAUSE = 0.02
#: Seconds for connecting and for each answer.
TIMEOUT = 5.0

_trying: dict[Cluster, float] = {}
_lock = threading.Lock()


class Plain:
    """A connection of the driver's as a :class:`change.Server`."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def query(self, statement: bytes) -> None:
        """Send a statement."""
        self._driver.query(statement)

    def rows(self) -> Sequence[Sequence[Any]]:
        """The rows of its answer."""
        result = self._driver.store_result()
        found: Sequence[Sequence[Any]] = result.fetch_row(0) if result is not None else ()
        return found


# --- by itself ----------------------------------------------------------------------------


def consider(cluster: Cluster) -> None:
    """Start a failback in a thread of its own if one is due. The watchdog calls this often."""
    node = _due(cluster)
    if node is None or not _first_to_try(cluster):
        return
    name = f"galera_router: failback to {node.alias}"
    try:
        threading.Thread(target=_fail_back, args=(cluster, node), name=name, daemon=True).start()
    except RuntimeError as error:  # the interpreter is ending, say
        logger.warning("%s: no failback to %s: %s", cluster.alias, node.name, error)


def _due(cluster: Cluster) -> Node | None:
    """The node to which the primary is to go back now; None if it stays."""
    epochs, delay = cluster.epochs, cluster.failback_delay
    current, leader = epochs.current, epochs.leader
    if delay is None or current is None or current.held or leader is None or not leader.well:
        return None
    if time.monotonic() - current.began < change.pause_after(current, delay):
        return None
    node = cluster.candidate()
    return None if node is leader else node


def _renew_lock() -> None:
    """After a fork another thread's lock would never be released."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def _first_to_try(cluster: Cluster) -> bool:
    """Returns True for one thread of this process at a time."""
    with _lock:
        now = time.monotonic()
        due = _trying.get(cluster, 0.0) <= now
        if due:
            _trying[cluster] = now + AGAIN + random.uniform(0.0, AGAIN)
        return due


def _fail_back(cluster: Cluster, node: Node) -> None:
    current, leader = cluster.epochs.current, cluster.epochs.leader
    if current is None or leader is None:
        return
    try:
        delay = cluster.failback_delay or 0.0
        late = time.monotonic() - current.began >= change.pause_after(current, delay) + PATIENCE
        if late or not _is_at_work(leader):
            move(node, "it is back", unless_held=True)
    except ERRORS as error:
        logger.info("%s: no failback to %s: %s", cluster.alias, node.name, error)


def _is_at_work(node: Node) -> bool:
    """Returns True if ``node`` has a transaction open for long, as far as we may know."""
    with closing(Ping(node, (), TIMEOUT).connect()) as driver:
        server = Plain(driver)
        try:
            server.query(_OLD_TRANSACTIONS)
        except ERRORS as error:  # it takes the privilege PROCESS
            logger.debug("%s: %s", node.name, error)
            return False
        return bool(int(server.rows()[0][0]))


# --- on purpose ---------------------------------------------------------------------------


class Moved(NamedTuple):
    """The primary's epoch, and the seconds for which writers had to wait; 0 if it was primary."""

    epoch: Epoch
    seconds: float


def move(node: Node, reason: str, *, held: bool = False, unless_held: bool = False) -> Moved:
    """Make ``node`` the primary, whichever is now.

    Args:
        node: a node that is in step.
        reason: why, for whoever looks at the table.
        held: it stays there even if a node that comes before it in NODES is well.
        unless_held: do nothing if an operator has put the primary where it is.

    Raises:
        NotPrimary: there are no tables for it, it is drained, or somebody has just moved it.
        Error: the driver's: the node cannot be reached, or something there is in the way.
    """
    cluster = node.cluster
    with closing(Ping(node, (), TIMEOUT).connect()) as driver:
        server = Plain(driver)
        identity = membership.identity_of(server)
        synced = cluster.epochs.changes
        name, old = _ask(server, identity)
        if old is not None and _may_stay(old, name, held=held, unless_held=unless_held):
            cluster.epochs.show(node, name, old, synced=synced)
            return Moved(old, 0.0)
        if old is not None and name in old.drained.servers.values():
            raise NotPrimary("it is drained: undo that first")
        seconds = _insist(lambda: change.make_primary(server, identity, old, reason, held=held))
        synced = cluster.epochs.changes
        name, made = change.ask(server, identity, synced=False)
    cluster.epochs.show(node, name, made, synced=synced)
    if made is None or made.server != name:
        raise NotPrimary(f"{node.name} was the primary, and is not any more")
    return Moved(made, seconds)


def _may_stay(old: Epoch, name: str, *, held: bool, unless_held: bool) -> bool:
    """Returns True if nothing is to be done; one that is to be held there gets a new epoch."""
    if old.server == name:
        return old.held or not held
    return unless_held and old.held


def _insist(attempt: Callable[[], None]) -> float:
    """Try again where a transaction was in the way; returns the seconds that the last try took.

    The others come before it as long as they commit faster than it is certified.
    """
    until = time.monotonic() + INSIST
    for run in itertools.count(1):
        began = time.monotonic()
        try:
            attempt()
        except ERRORS as error:
            is_last = run >= TRIES and began >= until
            if is_last or verdict(error) not in {Verdict.ROLLED_BACK, Verdict.LOCK_WAIT}:
                raise
        else:
            return time.monotonic() - began
        if run >= TRIES:
            time.sleep(random.uniform(0.0, PAUSE))
    raise AssertionError("the last try returns or raises")


def _ask(server: Plain, identity: str) -> tuple[str, Epoch | None]:
    try:
        return change.ask(server, identity)
    except ERRORS as error:
        if not is_absent(error):
            raise
        raise NotPrimary(f"there is no table to say so: run migrate ({error})") from error

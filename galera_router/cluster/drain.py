"""Take a node out of service on purpose: no new work goes to it, in any process.

Which nodes are drained stands in the row that names the primary, which every process that is at
work asks for every few seconds. What is open on the node goes on to its end.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from galera_router.cluster import change, membership
from galera_router.cluster.epoch import TABLE, Drained, Epoch, NotPrimary, is_absent
from galera_router.cluster.failback import TIMEOUT, TRIES, Moved, Plain, move
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.probe import Ping
from galera_router.connections.errors import ERRORS, Verdict, verdict

logger = logging.getLogger("galera_router")

#: Seconds after which every process that is at work has asked for the row again.
HEARD = 4.0
#: Seconds that each further try to change the row waits longer, at most.
PAUSE = 0.02
#: Seconds between two looks, and for which a connection must have been idle.
LOOK, IDLE = 0.25, 1.0
#: The connections to our database but this one, and what they do.
_AT_WORK = (
    "SELECT COUNT(*) FROM information_schema.PROCESSLIST"
    " WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"
    f" AND (COMMAND <> 'Sleep' OR TIME_MS < {IDLE * 1000:.0f})"
).encode()
#: Those that have a transaction open; it takes the privilege PROCESS.
_OPEN = (
    b"SELECT COUNT(*) FROM information_schema.INNODB_TRX t"
    b" JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id"
    b" WHERE p.DB = DATABASE() AND p.ID <> CONNECTION_ID() AND p.COMMAND = 'Sleep'"
    b" AND p.TIME_MS >= %d" % round(IDLE * 1000)
)


class CannotDrain(Exception):
    """The node cannot be drained; the message says why and what to do."""


# --- what the row says --------------------------------------------------------------------


def drain(node: Node) -> Moved | None:
    """Drain ``node``: it gets no new work. If it is the primary, another node becomes it first.

    Returns what the switchover was; None if there was none.

    Raises:
        CannotDrain: no other node can take its work, or the table has no place for it.
        Error: the driver's: no node can be reached, or something there is in the way.
    """
    name, epoch = _told(node)
    heirs = [other for other in _others(node) if not epoch.drained.holds(other)]
    if not heirs:
        raise CannotDrain(
            f"{node.name} has the only server that could do the work: no other node that may be"
            " the primary can be reached and is not drained itself."
        )
    _write(node.cluster, add={node.name: name})
    if epoch.server != name:
        return None
    try:
        return _hand_over(node, heirs)
    except ERRORS:
        undrain(node)
        raise


def undrain(node: Node) -> bool:
    """Give ``node`` work again, even if it is down. Returns False if it was not drained."""
    return _write(node.cluster, remove=node)


def _hand_over(node: Node, heirs: list[Node]) -> Moved:
    *others, last = heirs
    for heir in others:
        try:
            return move(heir, f"{node.name} is drained")
        except ERRORS as error:
            logger.warning("%s: not to %s: %s", node.cluster.alias, heir.name, error)
    return move(last, f"{node.name} is drained")


def _told(node: Node) -> tuple[str, Epoch]:
    """The server's name for itself, and the epoch."""
    with _server(node) as server:
        name, epoch = _ask(server, membership.identity_of(server))
    node.cluster.note_server(node, name)
    return name, epoch


def _others(node: Node) -> Iterator[Node]:
    """The nodes that could be the primary in its place, as far as they can be reached."""
    for other in node.cluster.nodes:
        if other is node or not other.config.electable:
            continue
        try:
            name, _ = _told(other)
        except ERRORS as error:
            logger.info("%s: node %s: %s", node.cluster.alias, other.name, error)
        else:
            if name != node.server:
                yield other


def _ask(server: Plain, identity: str) -> tuple[str, Epoch]:
    try:
        name, epoch = change.ask(server, identity)
    except ERRORS as error:
        if not is_absent(error):
            raise
        raise CannotDrain(f"There is no table to say so: run migrate ({error}).") from error
    if epoch is None:
        raise CannotDrain("No node is the primary yet: let something be written first.")
    return name, epoch


def _write(
    cluster: Cluster, *, add: Mapping[str, str] | None = None, remove: Node | None = None
) -> bool:
    """Change the row, on the first node that can be reached; False if nothing was to be done."""
    *others, last = sorted(cluster.nodes, key=lambda node: (node is remove, node.drained))
    for node in others:
        try:
            return _write_on(node, add or {}, remove)
        except ERRORS as error:
            logger.info("%s: node %s: %s", cluster.alias, node.name, error)
    return _write_on(last, add or {}, remove)


def _write_on(node: Node, add: Mapping[str, str], remove: Node | None) -> bool:
    with _server(node) as server:
        identity = membership.identity_of(server)
        for run in range(TRIES):
            time.sleep(random.uniform(0.0, PAUSE * run))  # others are at it, too
            _, epoch = _ask(server, identity)
            servers = {**_without(epoch.drained.servers, remove), **add}
            if servers == epoch.drained.servers:
                return False
            if _replace(server, identity, epoch.drained, servers):
                _show(node, server, identity)
                return True
    raise NotPrimary(f"{node.name}: the row of {TABLE} is changed by others all the time")


def _without(servers: Mapping[str, str], gone: Node | None) -> dict[str, str]:
    if gone is None:
        return dict(servers)
    return {
        name: server
        for name, server in servers.items()
        if name != gone.name and (not gone.server or server != gone.server)
    }


def _replace(server: Plain, identity: str, old: Drained, servers: Mapping[str, str]) -> bool:
    """Write the column if it still is as it was; False if it is not, or a commit was first."""
    try:
        server.query(
            f"UPDATE {TABLE} SET drained = {change.quoted(old.written(servers))}"
            f" WHERE cluster = {change.quoted(identity)}"
            f" AND drained = {change.quoted(old.text)}".encode()
        )
        server.query(b"SELECT ROW_COUNT()")
    except ERRORS as error:
        if is_absent(error):
            raise CannotDrain(f"The table has no column for it: run migrate ({error}).") from error
        if verdict(error) not in {Verdict.ROLLED_BACK, Verdict.LOCK_WAIT}:
            raise
        return False
    return bool(int(server.rows()[0][0]))


def _show(node: Node, server: Plain, identity: str) -> None:
    epochs = node.cluster.epochs
    synced = epochs.changes
    name, epoch = change.ask(server, identity)
    epochs.show(node, name, epoch, synced=synced)


@contextmanager
def _server(node: Node) -> Iterator[Plain]:
    with closing(Ping(node, (), TIMEOUT).connect()) as driver:
        driver.autocommit(True)
        yield Plain(driver)


# --- waiting ------------------------------------------------------------------------------


def wait_idle(node: Node, seconds: float) -> int:
    """Wait until nobody works on ``node``, and until every process has heard that it is drained.

    Args:
        node: a node that has just been drained.
        seconds: how long to wait at most.

    Returns how many connections are at work when the time is over; 0 if the node is idle.

    Raises:
        Error: the driver's: the node cannot be reached.
    """
    began = time.monotonic()
    time.sleep(min(HEARD, seconds))
    while (count := at_work(node)) and time.monotonic() - began < seconds:
        time.sleep(LOOK)
    return count


def at_work(node: Node) -> int:
    """Returns how many connections to our database on ``node`` work or have a transaction open.

    Without the privilege PROCESS, only those of our own user, and no transaction that rests.
    """
    with _server(node) as server:
        server.query(_AT_WORK)
        count = int(server.rows()[0][0])
        try:
            server.query(_OPEN)
        except ERRORS as error:
            if verdict(error) is not Verdict.STATEMENT:
                raise
            logger.debug("%s: %s", node.name, error)
            return count
        return count + int(server.rows()[0][0])

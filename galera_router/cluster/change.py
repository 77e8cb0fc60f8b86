"""Make another node the primary: one compound statement on the node that is to be it.

It replaces the two parent rows of the epoch, and the row that names the primary, if that still is
as it was last seen. Of several who try, one wins. What is open on the old primary can then not be
committed any more, and a node that has not applied everything cannot make itself the primary
(error 1213, seen: 10.11.19).
"""

from __future__ import annotations

import logging
import time

from galera_router.cluster.epoch import (
    ASK,
    SLOTS,
    TABLE,
    WHO,
    Epoch,
    NotPrimary,
    is_absent,
    read,
    signed,
)
from galera_router.cluster.membership import Server
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import DISK_FULL, READ_ONLY
from galera_router.connections.begin import SYNCED
from galera_router.connections.errors import (
    ERRORS,
    Verdict,
    is_full_disk,
    is_lost,
    refuses_writes,
    verdict,
)
from galera_router.connections.packet import text_of

logger = logging.getLogger("galera_router")

#: Seconds within which further changes count as flapping, and the longest pause because of that.
FLIPS_KEPT, LONGEST_PAUSE = 300.0, 120.0
#: Seconds for which the primary must be out of reach before it is taken away though the others
#: still have it in their view. An epoch lasts twice as long at least, and each time that again.
CUT_OFF = 2.0
#: Seconds that a change may wait for a lock; the server counts whole ones for ``innodb``.
WAIT = 2
_LIMITS = (
    f"SET STATEMENT foreign_key_checks=0, max_statement_time={WAIT},"
    " innodb_lock_wait_timeout=1 FOR "
)
_MEMBERS = "SELECT COUNT(*), SUM(node_uuid = '{}') FROM mysql.wsrep_cluster_members"
_VIEW = b"SHOW GLOBAL STATUS LIKE 'wsrep_incoming_addresses'"
_SELF = (
    b"SHOW GLOBAL STATUS WHERE Variable_name IN"
    b" ('wsrep_gcomm_uuid', 'wsrep_incoming_addresses', 'wsrep_local_index')"
)
_UNKNOWN_ADDRESSES = frozenset({"", "AUTO"})


# --- what a server shows ------------------------------------------------------------------


def ask(server: Server, cluster_id: str, *, synced: bool = True) -> tuple[str, Epoch | None]:
    """The server's name for itself, and the epoch that it has.

    Args:
        synced: it first applies all that is committed anywhere.
    """
    server.query(SYNCED + ASK if synced else ASK)
    return read(server.rows(), cluster_id)


def has_gone(server: Server, epoch: Epoch) -> bool | None:
    """Returns True if the primary of ``epoch`` is not in the server's view of the cluster.

    None if that cannot be told: ``mysql.wsrep_cluster_members`` may not be read, and the nodes do
    not say at which addresses clients reach them.
    """
    try:
        server.query(_MEMBERS.format(_plain(epoch.member)).encode())
        ((count, found),) = server.rows()
        if int(count) and epoch.member:
            return not int(found)
    except ERRORS as error:
        if verdict(error) is not Verdict.STATEMENT:
            raise
        logger.debug("mysql.wsrep_cluster_members: %s", error)
    return _address_has_gone(server, epoch.address)


def _address_has_gone(server: Server, address: str) -> bool | None:
    server.query(_VIEW)
    addresses = text_of(server.rows()[0][1]).split(",") if address else []
    if not addresses or not _UNKNOWN_ADDRESSES.isdisjoint([address, *addresses]):
        return None
    return address not in addresses


def _itself(server: Server) -> tuple[str, str]:
    """The server's address for clients, and its number as a member of its view."""
    server.query(_SELF)
    status = {text_of(name): text_of(value) for name, value in server.rows()}
    addresses = status.get("wsrep_incoming_addresses", "").split(",")
    index = int(status.get("wsrep_local_index", "-1"))
    address = addresses[index] if 0 <= index < len(addresses) else ""
    return address, status.get("wsrep_gcomm_uuid", "")


# --- the change ---------------------------------------------------------------------------


def make_primary(
    server: Server, cluster_id: str, old: Epoch | None, reason: str, *, held: bool = False
) -> None:
    """Make the server the primary.

    Args:
        server: a server that has applied all that there is.
        cluster_id: of its cluster.
        old: the epoch that it has just shown.
        reason: why, for whoever looks at the table.
        held: it is to stay there even if a node that comes before it in NODES is well.

    Raises:
        Error: the driver's: somebody else was first, something holds a lock, or it may not write.
    """
    address, member = _itself(server)
    number = time.time_ns() // 1000 if old is None else old.number + 1
    values = (
        f"epoch = {number}, server = {WHO}, address = {quoted(address)},"
        f" member = {quoted(member)}, changed_at = UTC_TIMESTAMP(6),"
        f" flips = {_flips(old)}, held = {held:d}, reason = {quoted(signed(reason))}"
    )
    server.query(_statement(quoted(cluster_id), old, values, number).encode())


def _statement(cluster: str, old: Epoch | None, values: str, number: int) -> str:
    """Whatever fails in it rolls all of it back; an abort of the cluster's does, too."""
    if old is None:
        steps = [f"INSERT INTO {TABLE} SET cluster = {cluster}, {values}"]
    else:
        first, second = old.slots
        steps = [
            f"UPDATE {TABLE} SET {values} WHERE cluster = {cluster} AND epoch = {old.number}",
            "IF ROW_COUNT() <> 1 THEN SIGNAL SQLSTATE '45000'"
            " SET MESSAGE_TEXT = 'galera_router: somebody else was first'; END IF",
            f"DELETE FROM {SLOTS} WHERE slot IN ({first}, {second})",
        ]
    steps.append(f"INSERT INTO {SLOTS} (slot) VALUES ({2 * number}), ({2 * number + 1})")
    return (
        f"{_LIMITS}BEGIN NOT ATOMIC DECLARE EXIT HANDLER FOR SQLEXCEPTION"
        f" BEGIN ROLLBACK; RESIGNAL; END; START TRANSACTION; {'; '.join(steps)}; COMMIT; END"
    )


def _flips(old: Epoch | None) -> int:
    if old is None or time.monotonic() - old.began > FLIPS_KEPT:
        return 0
    return old.flips + 1


def pause_after(epoch: Epoch, first: float) -> float:
    """Seconds from the begin of ``epoch`` to the next change that need not be."""
    return min(first * 2.0 ** min(epoch.flips, 10), max(first, LONGEST_PAUSE))


def quoted(text: str) -> str:
    """``text`` as a literal, whatever the connection's character set and SQL mode."""
    return f"CONVERT(X'{text.encode().hex()}' USING utf8mb4)" if text else "''"


def _plain(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum() or letter == "-")


# --- on the way to the primary ------------------------------------------------------------


def follow(server: Server, node: Node, cluster_id: str) -> Epoch | None:
    """Find out who is primary from ``node``; make it the primary if that is due.

    Returns the epoch in which it is the primary; None if there are no epochs.

    Raises:
        NotPrimary: another node is the primary.
        Error: the connection is lost.
    """
    epochs = node.cluster.epochs
    synced = epochs.changes
    try:
        name, epoch = ask(server, cluster_id)
    except ERRORS as error:
        if not is_absent(error):
            raise
        epochs.note_absent()
        return None
    epoch = epochs.show(node, name, epoch, synced=synced)
    if epoch is None:
        reason = "it is the first"
    elif epoch.server != name:
        reason = _why(server, node, epoch)
    elif epoch.number == epochs.refused:  # somebody has removed them
        reason = f"the rows of {SLOTS} were missing"
    else:
        return epoch
    return _change(server, node, cluster_id, epoch, reason)


def _why(server: Server, node: Node, epoch: Epoch) -> str:
    """Why ``node`` may take over now; raises NotPrimary if it may not.

    A primary that cannot be reached from here alone is taken away late, and later each time: two
    processes of which each reaches another node would else take it from each other for ever.
    """
    leader = node.cluster.epochs.leader
    if leader is not None and leader.well:
        raise NotPrimary(_elsewhere(node, epoch))
    if has_gone(server, epoch):
        return f"{epoch.server} has left the cluster"
    age = time.monotonic() - epoch.began
    if leader is not None and leader.is_unfit:
        if not epoch.flips or age >= pause_after(epoch, 1.0):
            return f"{epoch.server} {leader.trouble or leader.reason or 'is out of step'}"
    elif node.cluster.lost_for(leader) >= CUT_OFF and age >= pause_after(epoch, 2 * CUT_OFF):
        return f"{epoch.server} cannot be reached"
    raise NotPrimary(_elsewhere(node, epoch))


def _elsewhere(node: Node, epoch: Epoch) -> str:
    return f"{node.name} is not the primary, {epoch.server} is"


def _change(
    server: Server, node: Node, cluster_id: str, epoch: Epoch | None, reason: str
) -> Epoch | None:
    epochs = node.cluster.epochs
    try:
        make_primary(server, cluster_id, epoch, reason)
    except ERRORS as error:
        if is_lost(error):
            raise
        if epoch is None and is_absent(error):  # the user may not write there
            epochs.note_absent()
            return None
        if refuses_writes(error):
            node.cluster.mark_refusing(node, DISK_FULL if is_full_disk(error) else READ_ONLY, error)
        raise NotPrimary(f"{node.name} cannot become the primary: {error}") from error
    synced = epochs.changes
    name, made = ask(server, cluster_id, synced=False)
    epochs.show(node, name, made, synced=synced)
    if made is None or made.server != name:
        raise NotPrimary(f"{node.name} was the primary, and is not any more")
    return made

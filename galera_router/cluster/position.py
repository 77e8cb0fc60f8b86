"""How far a node has come in the history of its cluster.

Galera gives each transaction of a cluster one number, the same on every node, and each node
commits them in that order. ``wsrep_last_committed`` is the number of the last one that a node
has committed; ``wsrep_sync_wait`` waits for the same number (Galera,
``ReplicatorSMM::last_committed``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from galera_router.connections.begin import UNHURRIED
from galera_router.connections.errors import errno
from galera_router.connections.packet import text_of


@dataclass(frozen=True, slots=True)
class Position:
    """A point in the history of one cluster.

    ``cluster_id``: ``wsrep_cluster_state_uuid``, another one when the cluster has been rebuilt.
    ``seqno``: ``wsrep_last_committed``. ``node``: which node was there when this was noted: the
    beginning of its ``wsrep_gcomm_uuid``, another one at each start of its server; empty if that
    is not known. ``gtid``: the same point as a GTID of the server's; empty if it was not asked for.
    ``signed``: when a token was made of it, as its signature says; empty if it is of none.
    """

    cluster_id: str
    seqno: int
    node: str = ""
    gtid: str = ""
    signed: str = field(default="", compare=False)

    def includes(self, other: Position) -> bool:
        """Returns True if a node at this position has committed all that there is at ``other``."""
        if self.cluster_id != other.cluster_id:
            return False
        return self.seqno >= other.seqno or (bool(self.node) and self.node == other.node)


#: Wherever the cluster is when it is asked: for a write of which no more is known.
EVERYTHING = Position("", -1)


@dataclass(frozen=True, slots=True)
class Mark:
    """One transaction: that which has brought the marker of ``worker`` to ``seqno``.

    A node has it as soon as the marker's row says so. Nobody but that row needs to be asked.

    ``signed``: as in :class:`Position`.
    """

    worker: str
    seqno: int
    signed: str = field(default="", compare=False)


STATUS = ("wsrep_cluster_state_uuid", "wsrep_last_committed", "wsrep_gcomm_uuid")
#: Asks a node where it is; for :func:`position`.
ASK = f"SHOW GLOBAL STATUS WHERE Variable_name IN {STATUS}".encode()
#: Asks a node for the GTID of the last transaction that it has committed.
ASK_GTID = b"SELECT WSREP_LAST_SEEN_GTID()"

_WORKER = re.compile(r"[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_GTID = re.compile(r"[0-9]+-[0-9]+-[0-9]+")
_SIGNALLED, _LOCK_WAIT = 1644, 1205
_NODE_LENGTH = 13  # the time in a UUID of version 1
_BEHIND = "galera_router: the node is behind"
_CLUSTER = "galera_router: the cluster is another one"
_HERE = re.compile(r" ([0-9a-f-]{36}):([0-9]+)$")
#: Seconds between two looks of :func:`reach`: at first, and at most.
_PAUSE, _LONGEST = 0.001, 0.01


def is_position(cluster_id: object, seqno: object, gtid: object) -> bool:
    """Returns True if these have the form of a position."""
    return (
        isinstance(cluster_id, str)
        and _UUID.fullmatch(cluster_id) is not None
        and type(seqno) is int
        and 0 <= seqno < 2**63
        and isinstance(gtid, str)
        and (not gtid or _GTID.fullmatch(gtid) is not None)
    )


def is_mark(worker: object, seqno: object) -> bool:
    """Returns True if these have the form of a mark."""
    return (
        isinstance(worker, str)
        and _WORKER.fullmatch(worker) is not None
        and type(seqno) is int
        and 0 < seqno < 2**63
    )


def position(rows: Iterable[tuple[Any, ...]], gtid: str = "") -> Position | None:
    """The answer to :data:`ASK`; None from a server that belongs to no cluster."""
    status = {text_of(name): text_of(value) for name, value in rows}
    cluster_id = status.get("wsrep_cluster_state_uuid", "")
    seqno = status.get("wsrep_last_committed", "")
    if not seqno.isdecimal() or not is_position(cluster_id, int(seqno), gtid):
        return None
    node = status.get("wsrep_gcomm_uuid", "")[:_NODE_LENGTH]
    return Position(cluster_id, int(seqno), node, gtid)


def reach(target: Position, seconds: float) -> bytes:
    """A statement that ends when the node has come to ``target``.

    It looks, and looks again until ``seconds`` are over; then it fails (:func:`is_behind`), and
    what follows in its packet is not carried out. On a node of another cluster it fails at once
    (:func:`is_elsewhere`). Both errors say where the node is (:func:`place_met`). Not
    ``wsrep_sync_wait``: that waits for whatever anybody has committed, for as long as the server
    likes (``repl.causal_read_timeout``), and stands still while the cluster forms a new view.
    """
    return (
        f"{UNHURRIED.decode()}BEGIN NOT ATOMIC"
        " DECLARE cluster, said VARCHAR(128); DECLARE reached BIGINT;"
        f" DECLARE pause DOUBLE DEFAULT {_PAUSE}; DECLARE waited DOUBLE DEFAULT 0;"
        " look: LOOP"
        " SELECT MIN(IF(VARIABLE_NAME = 'WSREP_LAST_COMMITTED', VARIABLE_VALUE + 0, NULL)),"
        " MIN(IF(VARIABLE_NAME = 'WSREP_LAST_COMMITTED', NULL, VARIABLE_VALUE))"
        " INTO reached, cluster FROM information_schema.GLOBAL_STATUS"
        " WHERE VARIABLE_NAME IN ('WSREP_LAST_COMMITTED', 'WSREP_CLUSTER_STATE_UUID');"
        f" IF cluster <> '{target.cluster_id}' THEN SET said = '{_CLUSTER}';"
        f" ELSEIF reached >= {target.seqno} THEN LEAVE look;"
        f" ELSEIF waited >= {seconds:.3f} THEN SET said = '{_BEHIND}'; END IF;"
        " IF said IS NOT NULL THEN SET said = CONCAT_WS(' ', said, CONCAT(cluster, ':', reached));"
        " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = said; END IF;"
        f" DO SLEEP(pause); SET waited = waited + pause, pause = LEAST(pause * 2, {_LONGEST});"
        " END LOOP; END"
    ).encode()


def reach_gtid(target: Position, seconds: float) -> bytes:
    """The same by the server's own means, in whole seconds, of which 0 waits for nothing.

    Its failure is error 1205 (seen: 10.11).
    """
    return f"SELECT WSREP_SYNC_WAIT_UPTO_GTID('{target.gtid}', {int(seconds)})".encode()


def is_behind(error: BaseException) -> bool:
    """Returns True if ``error`` says that a node has not caught up in time."""
    number = errno(error)
    return number == _LOCK_WAIT or (number == _SIGNALLED and _BEHIND in str(error))


def is_elsewhere(error: BaseException) -> bool:
    """Returns True if ``error`` says that a node belongs to another cluster."""
    return errno(error) == _SIGNALLED and _CLUSTER in str(error)


def place_met(error: BaseException) -> Position | None:
    """Where the node was that has failed to reach a position; None if ``error`` does not say."""
    found = _HERE.search(str(error.args[-1])) if errno(error) == _SIGNALLED else None
    return None if found is None else Position(found[1], int(found[2]))

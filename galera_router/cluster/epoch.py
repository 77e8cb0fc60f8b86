"""Who is primary: what the cluster itself has agreed upon, as far as this process has heard.

A table of ours has one row per cluster. It names the epoch and the server that is primary in it.
Each transaction that may lock or write refers to the epoch in its write set: its marker's row has a
foreign key to one of the epoch's two parent rows (``slots``), and each advance moves it to the
other one. To make another node the primary, :mod:`galera_router.cluster.change` replaces the two
parents. Galera's certification then refuses whatever was open on the old primary.

An epoch may be used on a node only if that node has shown it itself: it has then applied all that
was committed in the epochs before.

The same row says which servers an operator has drained: no new work is to go to them.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django.db.utils import OperationalError

from galera_router import signals
from galera_router.connections.errors import errno
from galera_router.connections.packet import text_of
from galera_router.events import PrimaryChanged

if TYPE_CHECKING:
    from .node import Node

logger = logging.getLogger("galera_router")

TABLE, SLOTS = "galera_router_epoch", "galera_router_slot"
#: What a server calls itself: another one at the same address has another name.
WHO = "CONCAT_WS(' ', @@hostname, @@port, @@wsrep_node_name)"
#: Asks a server for its own name and for the rows of all clusters that its table knows. Before
#: migration 0003 the table has no column of that name, and the text of ``one`` is found instead.
ASK = (
    f"SELECT {WHO}, e.cluster, e.epoch, e.server, e.address, e.member, e.flips, e.held, e.reason,"
    " TIMESTAMPDIFF(MICROSECOND, e.changed_at, UTC_TIMESTAMP(6)),"
    f" (SELECT drained FROM {TABLE} own WHERE own.cluster = e.cluster)"
    f" FROM (SELECT '' AS drained) one LEFT JOIN {TABLE} e ON TRUE"
).encode()
#: Seconds after which tables that were missing are looked for again.
LOOK_AGAIN = 60.0
#: Epochs of which the reason is remembered.
KEPT = 50
#: No such table; it may not be read; no such column.
_NOT_THERE = frozenset({1146, 1142, 1143, 1054})
_NO_PARENT = 1452
#: Characters of a reason that the table has room for, beside who gives it.
_LONGEST_REASON = 150
_SIGNED = re.compile(r"(.*) \(by (\S+:\d+)\)", re.DOTALL)


class NotPrimary(OperationalError):
    """The node is not the primary, or its epoch is over; another one is to be asked."""


@dataclass(frozen=True, slots=True)
class Drained:
    """The servers to which no new work is to go, as the table's row has them.

    Attributes:
        serial: how often this was changed.
        servers: what each calls itself, by the name in NODES that the operator has given.
        text: the column as it is.
    """

    serial: int = 0
    servers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""

    @classmethod
    def read(cls, text: str) -> Drained:
        """Returns what ``text``, the value of the column, stands for."""
        if not text:
            return cls()
        told = json.loads(text)
        return cls(int(told["serial"]), dict(told["servers"]), text)

    def written(self, servers: Mapping[str, str]) -> str:
        """The column's next text, with ``servers`` in the place of these."""
        return json.dumps({"serial": self.serial + 1, "servers": dict(servers)})

    def holds(self, node: Node) -> bool:
        """Returns True if ``node`` is among them, by its server's name if that is known."""
        if node.server:
            return node.server in self.servers.values()
        return node.name in self.servers


@dataclass(frozen=True, slots=True)
class Epoch:
    """One row of the table, as one server has shown it.

    Attributes:
        number: greater than that of any epoch before.
        server: what the primary calls itself.
        address: where its clients reach it, by ``wsrep_incoming_addresses``; may be empty.
        member: its ``wsrep_gcomm_uuid``, another one at each start of the server.
        flips: changes that came soon one after the other.
        held: an operator has put it there: no failback.
        reason: why it is the primary.
        by: host and process that have made it the primary; empty if unknown.
        began: when the epoch began, by this process's clock (monotonic seconds).
        drained: the servers that are to be left alone; it may change within an epoch.
    """

    number: int
    server: str
    address: str = ""
    member: str = ""
    flips: int = 0
    held: bool = False
    reason: str = ""
    by: str = ""
    began: float = field(default=0.0, compare=False)
    drained: Drained = field(default_factory=Drained, compare=False)

    @property
    def slots(self) -> tuple[int, int]:
        """The keys of its two parent rows."""
        return 2 * self.number, 2 * self.number + 1


class Epochs:
    """The epochs of one cluster, as this process knows them.

    Attributes:
        current: the newest epoch that any node has shown; None if none has.
        leader: the node of ``current``; None if it is not known which one that is.
        drained: the nodes to which no new work is to go.
        past: the last ones that this process has heard of.
        refused: the number of an epoch in which a server has refused a marker.
        changes: how often ``current`` has become another one.
    """

    def __init__(self, alias: str, nodes: Sequence[Node]) -> None:
        self._alias = alias
        self._nodes = nodes
        self._place = ("", "")  # the database, and the cluster's identity
        self._absent_until = float("-inf")
        self._lock = threading.Lock()
        self.current: Epoch | None = None
        self.leader: Node | None = None
        self.drained: frozenset[Node] = frozenset()
        self._told = Drained()
        self.past: deque[Epoch] = deque(maxlen=KEPT)
        self.unknown_since = float("inf")  # by the clock; the primary is none of the nodes met
        self.refused = 0
        self.changes = 0

    def renew_lock(self) -> None:
        """After a fork another thread's lock would never be released."""
        self._lock = threading.Lock()

    @property
    def absent(self) -> bool:
        """Returns True if the table was missing a short while ago."""
        return time.monotonic() < self._absent_until

    def note_absent(self) -> None:
        """The table is not there, or not for us."""
        with self._lock:
            self._forget()
            self._absent_until = time.monotonic() + LOOK_AGAIN

    def note_present(self) -> None:
        """The table may have been made just now."""
        self._absent_until = float("-inf")

    def at(self, database: str, cluster_id: str) -> None:
        """Begin anew if this is about another database, or a cluster that was built anew."""
        if self._place != (database, cluster_id):
            with self._lock:
                self._place = database, cluster_id
                self._forget()
                self._absent_until = float("-inf")

    def are_of(self, database: str, cluster_id: str) -> bool:
        """Returns True if this is what is known of that database and that cluster.

        A process that has never written knows of none: it is, from now on.
        """
        if self._place == ("", ""):
            self.at(database, cluster_id)
        return self._place == (database, cluster_id)

    def _forget(self) -> None:
        self.current = self.leader = None
        self._told, self.drained = Drained(), frozenset()
        for node in self._nodes:
            node.epoch = None

    def show(
        self, node: Node, server: str, epoch: Epoch | None, *, synced: int | None = None
    ) -> Epoch | None:
        """Note what ``node`` has shown; returns that, as old as this process has known it at least.

        Args:
            node: a node of this cluster.
            server: what the server calls itself.
            epoch: the row that it has; None if it has none.
            synced: ``changes`` as it was when a node was asked that first applied all that there
                was; None for any other question. Only such an answer may put an older epoch in
                the place of the one that is known, as after the tables were emptied, and only
                if nobody has heard of another one in the meantime.
        """
        node.cluster.note_server(node, server)
        with self._lock:
            known = self.current
            if known is not None and epoch is not None and known.number == epoch.number:
                epoch = replace(epoch, began=min(known.began, epoch.began))
            newest = known is None or (epoch is not None and epoch.number >= known.number)
            if newest or synced == self.changes:
                self.changes += known != epoch
                self._hear_drained(known, epoch)
                self.current = node.epoch = epoch
            current = self.current
        self.find_leader()
        if current is not None and current != known:
            self.past.append(current)
            self._tell(current, known)
        return epoch

    def _hear_drained(self, known: Epoch | None, epoch: Epoch | None) -> None:
        told = epoch.drained if epoch is not None else Drained()
        # A node that is behind shows what it was before.
        if known != epoch or told.serial > self._told.serial:
            self._told = told

    def _tell(self, epoch: Epoch, before: Epoch | None) -> None:
        signals.send(
            PrimaryChanged,
            self._alias,
            node=self._name_of(epoch),
            before=self._name_of(before),
            reason=epoch.reason,
            by=epoch.by,
            held=epoch.held,
            epoch=epoch.number,
        )

    def _name_of(self, epoch: Epoch | None) -> str:
        if epoch is None:
            return ""
        names = (node.name for node in self._nodes if node.server == epoch.server)
        return next(names, epoch.server)

    @property
    def name(self) -> str:
        """The name of the primary: the node's, or that of its server; empty if it is not known."""
        return self.leader.name if self.leader is not None else self._name_of(self.current)

    def follows(self, node: Node) -> bool:
        """Returns True if ``node`` is known not to be the primary."""
        current = self.current
        return current is not None and node.server not in ("", current.server)

    def over(self, node: Node) -> None:
        """The epoch that ``node`` had shown is over."""
        if node.epoch is not None:
            self.refused = node.epoch.number
        node.epoch = None

    def find_leader(self) -> None:
        """Look which node is the primary and which are drained: another server may be met."""
        server = self.current.server if self.current is not None else None
        self.leader = next((node for node in self._nodes if node.server == server), None)
        known = self.leader is not None or server is None
        now = float("inf") if known else time.monotonic()
        self.unknown_since = now if known else min(self.unknown_since, now)
        if self.drained or self._told.servers:
            self._find_drained()

    def _find_drained(self) -> None:
        with self._lock:  # of two threads the later one has heard of more
            before = self.drained
            self.drained = now = frozenset(n for n in self._nodes if self._told.holds(n))
        for node in now - before:
            node.failures += 1  # whoever reads from it chooses anew
            logger.warning("%s: node %s is drained: it gets no new work", self._alias, node.name)
        for node in before - now:
            logger.warning("%s: node %s is not drained any more", self._alias, node.name)


def read(rows: Iterable[Sequence[Any]], cluster_id: str) -> tuple[str, Epoch | None]:
    """The answer to :data:`ASK`: the server's name, and the epoch of this cluster."""
    server, found = "", None
    for name, cluster, *rest in rows:
        server = text_of(name)
        if text_of(cluster) == cluster_id:
            found = _epoch(*rest)
    return server, found


def _epoch(number: Any, server: Any, address: Any, member: Any, *rest: Any) -> Epoch:
    flips, held, told, age, drained = rest
    reason, by = _unsigned(text_of(told))
    return Epoch(
        number=int(number),
        server=text_of(server),
        address=text_of(address),
        member=text_of(member),
        flips=int(flips),
        held=bool(int(held)),
        reason=reason,
        by=by,
        began=time.monotonic() - max(0, int(age)) / 1e6,  # by clocks of two servers
        drained=Drained.read(text_of(drained or "")),
    )


def signed(reason: str) -> str:
    """``reason`` with the name of this process, as the table has it."""
    return f"{reason[:_LONGEST_REASON]} (by {socket.gethostname()[:64]}:{os.getpid()})"


def _unsigned(text: str) -> tuple[str, str]:
    found = _SIGNED.fullmatch(text)
    return (found[1], found[2]) if found is not None else (text, "")


def is_absent(error: BaseException) -> bool:
    """Returns True if the server says that our tables are not there, or not for us."""
    return errno(error) in _NOT_THERE


def is_over(error: BaseException, table: str) -> bool:
    """Returns True if the server refuses a row of ``table`` since its epoch is over."""
    return errno(error) == _NO_PARENT and table in str(error)

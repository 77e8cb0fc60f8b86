"""Which cluster a node is in: a server that NODES lists by mistake must not be used.

Nothing else would tell. A server of another cluster answers as well as any, from other data, and
takes writes that are then missing here.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from django.db.utils import OperationalError

from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.probe import WHO, Answer, started
from galera_router.cluster.registry import clusters_met
from galera_router.connections.connection import NodeConnection, links
from galera_router.connections.errors import Verdict
from galera_router.connections.packet import Rows, next_answer, several_statements, text_of

logger = logging.getLogger("galera_router")

#: Asked on a connection: SHOW STATUS takes the server 0.2 ms, so not on each. A session with
#: wsrep_on=OFF has nothing to do with the cluster, and has it from the server's own setting.
QUESTION = b"SHOW GLOBAL STATUS WHERE Variable_name = 'wsrep_cluster_state_uuid' AND @@wsrep_on"
#: Seconds for which what a node has said is good for further connections to read from.
FRESH = 5.0
#: Seconds that the other nodes are given for their answers at least.
SHORTEST = 0.1
#: Ask the other nodes before the first one of a process is used.
ASK = True

_BY_ITSELF = WHO + b", @@wsrep_provider = 'none', @@wsrep_on"
#: What is wrong with a member that does not replicate.
_APART = "its wsrep_on is OFF: what is written there is on no other node. Turn it on."
_NOT_JOINED = "00000000-0000-0000-0000-000000000000"


class ForeignNode(OperationalError):
    """A node belongs to another cluster than those beside it in NODES.

    ``news``: nobody in this process knew that before.
    """

    news = True


class Server(Protocol):
    """A connection to one server."""

    def query(self, statement: bytes) -> None:
        """Send a statement."""

    def rows(self) -> Sequence[Sequence[Any]]:
        """The rows of its answer."""


class _Heard(NamedTuple):
    """When a node has said where it is, its failures until then, and the thread's number.

    A server that was started anew counts its threads from the beginning.
    """

    at: float
    failures: int
    thread: int


class Membership:
    """What the nodes of one cluster have said of the cluster that they are in.

    Attributes:
        agreed: the identity of the cluster; None before the first connection.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.agreed: str | None = None
        self._nodes = cluster.nodes
        self._voters = [node for node in cluster.nodes if node.config.member]
        self._first = cluster.node(cluster.config.first.alias)
        self._timeout = max(SHORTEST, cluster.config.options.watchdog_timeout)
        self._said: dict[Node, str] = {}
        self._member_of: dict[Node, str] = {}  # the cluster in which it was last accepted
        self._foreign: set[Node] = set()
        self._strangers: set[Node] = set()  # spoke of another cluster while ours was there
        self._heard: dict[Node, _Heard] = {}
        self.renew_locks()

    def renew_locks(self) -> None:
        self._lock, self._asking = threading.RLock(), threading.Lock()

    def is_fresh(self, link: NodeConnection) -> bool:
        """Returns True if the node behind ``link`` was known as ours a moment ago."""
        heard = self._heard.get(link.node)
        if heard is None or self.agreed is None or self._said.get(link.node) != self.agreed:
            return False
        same = heard.failures == link.node.failures and heard.thread <= link.thread_id
        return same and time.monotonic() - heard.at < FRESH

    def hear(
        self, node: Node, identity: str, thread: int = 0, *, sure: bool = True
    ) -> ForeignNode | None:
        """Note what ``node`` has said; returns an error if it is in another cluster.

        Args:
            node: who has spoken.
            identity: of the cluster that it is in.
            thread: of the connection that it was asked on.
            sure: ours is there at the same time.
        """
        with self._lock:
            self._said[node] = identity
            if (found := self._decide(node)) != self.agreed:
                self._change(node, found)
            if self.agreed in (None, identity):
                self._accept(node, thread)
                return None
            error = self._error(node)
            error.news = node not in self._foreign
            self._foreign.add(node)
            if sure:
                self._strangers.add(node)
            return error

    def is_news(self, node: Node, identity: str) -> bool:
        """Returns True if nobody knows yet whether ``node`` is a stranger or the first of a new
        cluster."""
        known = node in self._strangers or self._member_of.get(node) == self.agreed
        return identity != self.agreed and not known

    def ask_members(self) -> bool:
        """Ask those who are thought to be members; returns True if one of them is.

        Those that cannot be connected to are down.
        """
        with self._asking:
            members = [n for n in self._voters if n.up and self._said.get(n) == self.agreed]
            pings = [ping for node in members if (ping := started(node, self._timeout))]
            deadline = time.monotonic() + self._timeout
            while time.monotonic() < deadline and any(ping.answer is None for ping in pings):
                time.sleep(0.001)
        found = [self._is_member(ping.node, ping.answer) for ping in pings]
        return any(found)

    def _is_member(self, node: Node, answer: Answer | None) -> bool:
        if answer is not None and answer.error is not None and answer.verdict is Verdict.LOST:
            node.cluster.mark_down(node, answer.error)
        identity = of(answer)
        return bool(identity) and self.hear(node, identity) is None

    def first(self, node: Node, identity: str, links: Collection[NodeConnection] = ()) -> None:
        """Agree on a cluster before the first use of a node, with the others if they answer.

        ``links``: connections to ``node``; the others are taken to be as far away.
        """
        with self._asking:
            if self.agreed is not None:
                return
            self._said[node] = identity
            # The primary last, and only if need be: it is to be left alone by those who read.
            others = [voter for voter in self._voters if voter is not self._first]
            timeout = self._timeout + (node.distance.allowance(links) if links else 0.0)
            for some in (others, [self._first]) if ASK else ():
                self._ask((other for other in some if other is not node), timeout)
            with self._lock:
                ours = self._majority(self._said) or self._commonest()
                self._agree(ours)
                self._strangers = {n for n, said in self._said.items() if said != ours}

    def _change(self, speaker: Node, identity: str | None) -> None:
        """The cluster is another one from now on, as ``speaker`` was the last to say."""
        if self.agreed is not None:
            text = "%s: this cluster is %s now, as node %s says; it was %s"
            alias = speaker.cluster.alias
            logger.warning(text, alias, identity, speaker.name, self.agreed)
        self._agree(identity)
        self._strangers.clear()
        self._review(speaker)

    def _agree(self, identity: str | None) -> None:
        self.agreed = identity
        members = {node: said for node, said in self._said.items() if said == identity}
        self._member_of.update(members)

    def _accept(self, node: Node, thread: int) -> None:
        last = self._heard.get(node)
        self._heard[node] = _Heard(
            time.monotonic(), node.failures, thread or (last.thread if last else 0)
        )
        self._foreign.discard(node)
        self._strangers |= self._foreign
        if self.agreed is not None:
            self._member_of[node] = self.agreed

    def _decide(self, node: Node) -> str | None:
        """The cluster's identity, now that ``node`` has spoken: the one that most nodes say.

        A cluster that was built anew is met node by node. Once no node says the old identity any
        more, what a former member says is the new one; or a node that was not heard of as long as
        there was somebody to say the old one, such as one that was down when the process began.
        """
        alive = [n for n in self._voters if n is node or n.up or n in self._foreign]
        if found := self._majority(alive):
            return found
        left = any(self._said.get(n) == self.agreed for n in alive)
        was_member = self.agreed is not None and self._member_of.get(node) == self.agreed
        may_be = was_member or (node in self._voters and node not in self._strangers)
        return self._said[node] if may_be and not left else self.agreed

    def _majority(self, alive: Iterable[Node]) -> str | None:
        """What more than half of NODES say, counting only those in ``alive``; None if nothing."""
        heard = set(alive)
        votes = Counter(self._said[n] for n in self._voters if n in heard and n in self._said)
        best = votes.most_common(1)
        return best[0][0] if best and 2 * best[0][1] > len(self._voters) else None

    def _commonest(self) -> str:
        """What most of the nodes heard say; in a tie, what the first of them in NODES says."""
        said = [self._said[node] for node in self._nodes if node in self._said]
        return Counter(said).most_common(1)[0][0]

    def _ask(self, nodes: Iterable[Node], timeout: float) -> None:
        if self._majority(self._said):
            return
        pings = [ping for node in nodes if (ping := started(node, timeout))]
        deadline = time.monotonic() + timeout
        while pings and time.monotonic() < deadline and not self._majority(self._said):
            time.sleep(0.001)
            for ping in [ping for ping in pings if ping.answer is not None]:
                pings.remove(ping)
                if identity := of(ping.answer):
                    self._said[ping.node] = identity

    def _review(self, speaker: Node) -> None:
        """The cluster has another identity: judge the other nodes anew."""
        for node in self._nodes:
            said = self._said.get(node)
            if node is not speaker and node.up and said not in (None, self.agreed):
                self._foreign.add(node)
                expel(node, self._error(node))

    def _error(self, node: Node) -> ForeignNode:
        ours = [n.name for n in self._nodes if self._said.get(n) == self.agreed]
        return ForeignNode(
            f"it belongs to another cluster: it is in {self._said[node]!r},"
            f" {', '.join(ours) or 'the others'} in {self.agreed!r}. Take it out of NODES."
        )


_lock = threading.Lock()


def membership(cluster: Cluster) -> Membership:
    """The record of ``cluster`` in this process."""
    with _lock:
        if cluster.membership is None:
            cluster.membership = Membership(cluster)
        found: Membership = cluster.membership
        return found


def identity(cluster: Cluster) -> str:
    """The identity of ``cluster``; empty before the first connection."""
    return membership(cluster).agreed or ""


def identity_of(server: Server) -> str:
    """The identity of the cluster that ``server`` is in; without Galera, its own name.

    Raises:
        ForeignNode: its wsrep_on is OFF.
    """
    server.query(QUESTION)
    found = "".join(text_of(value) for _, value in server.rows())
    if not found:
        name, alone, replicates = _by_itself(server)
        if not (alone or replicates):
            raise ForeignNode(_APART)
        found = name
    return found


def _by_itself(server: Server) -> tuple[str, bool, bool]:
    """Its name, if it has no Galera, and if what is written there goes to other nodes."""
    server.query(_BY_ITSELF)
    ((name, alone, replicates),) = server.rows()
    return text_of(name), bool(int(alone)), bool(int(replicates))


def of(answer: Answer | None) -> str:
    """The identity of the cluster that an answer names; empty if it names none.

    A server without Galera is a cluster by itself, known by its own name.
    """
    if answer is None or answer.error is not None or answer.cluster_id == _NOT_JOINED:
        return ""
    return answer.server if not answer.replicates else answer.cluster_id or answer.server


def heard(node: Node, answer: Answer) -> ForeignNode | None:
    """Note the answer to a ping; returns an error if ``node`` is in another cluster."""
    if not answer.replicates and (error := apart(node)) is not None:
        return error
    identity = of(answer)
    return membership(node.cluster).hear(node, identity, sure=False) if identity else None


def confirm(link: NodeConnection) -> None:
    """Ask a new connection which cluster its node is in, unless that is known.

    Raises:
        ForeignNode: its node is in another cluster.
    """
    if not membership(link.node.cluster).is_fresh(link):
        judge(link, _ask(link))


def _ask(link: NodeConnection) -> Rows:
    """The answer to :data:`QUESTION`, and in the same packet the server's name for itself."""
    several = several_statements(link.connection)
    link.query(QUESTION + b"; " + WHO if several else QUESTION)
    told = link.rows()
    if several:
        next_answer(link.connection)
        link.server = "".join(text_of(name) for (name,) in link.rows())
        link.node.cluster.note_server(link.node, link.server)
    return told


def judge(link: NodeConnection, rows: Iterable[Iterable[object]]) -> None:
    """Note ``rows``, the answer to :data:`QUESTION` on a new connection.

    Raises:
        ForeignNode: its node is in another cluster.
    """
    identity = "".join(text_of(value) for _, value in rows) or _of_one(link)
    if identity in ("", _NOT_JOINED):  # it is joining, and takes no statements yet
        return
    known, sure = membership(link.node.cluster), True
    if known.agreed is None:
        known.first(link.node, identity, [link])
    elif known.is_news(link.node, identity):
        sure = known.ask_members()
    error = known.hear(link.node, identity, link.thread_id, sure=sure)
    if error is not None:
        expel(link.node, error)
        raise error


def _of_one(link: NodeConnection) -> str:
    """The name of a server that is in no cluster; empty of one that is about to join.

    Raises:
        ForeignNode: it has been taken out of its cluster by wsrep_on=OFF.
    """
    name, alone, replicates = _by_itself(link)
    if not alone and replicates:
        return ""
    error = None if alone else apart(link.node)
    if error is not None:
        expel(link.node, error)
        raise error
    return name


def apart(node: Node) -> ForeignNode | None:
    """The error for a member with wsrep_on=OFF; None for one that is the only node."""
    if sum(other.config.member for other in node.cluster.nodes) < 2:
        return None
    return ForeignNode(_APART)


def expel(node: Node, error: ForeignNode) -> None:
    """Stop using ``node``, and end the connections to it."""
    node.cluster.mark_down(node, error)
    for link in links() if error.news else ():
        if link.node is node:
            link.cut()


def _renew_locks() -> None:
    """A lock that another thread held at the fork would never be released in the child."""
    global _lock
    _lock = threading.Lock()
    for cluster in clusters_met():
        if cluster.membership is not None:
            cluster.membership.renew_locks()


os.register_at_fork(after_in_child=_renew_locks)

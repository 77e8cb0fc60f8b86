"""What a thread has written and seen: its reads must not go back behind that."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from galera_router.causality import scope
from galera_router.causality.scope import Need, Scope
from galera_router.cluster.node import Node
from galera_router.cluster.position import Mark, Position
from galera_router.recovery import runs

if TYPE_CHECKING:
    from galera_router.cluster.nodes import Cluster

    from .session import Session

#: More nodes than one, none of which needs to have what was seen on another.
SEVERAL: Final = object()


class _OfThread(threading.local):
    """The running thread's own :class:`Following` for each cluster, by the cluster's alias."""

    def __init__(self) -> None:
        self.known: dict[str, Following] = {}


_of_thread = _OfThread()


def following_of(session: Session) -> Following:
    """Returns the running thread's :class:`Following`, which now belongs to its new ``session``.

    It outlives the connection object, in whose place code puts another one where an exception has
    left it in an open block.
    """
    known, alias = _of_thread.known, session.cluster.alias
    found = known.get(alias)
    if found is None or found.cluster is not session.cluster:
        found = known[alias] = Following(session)
    found.belong_to(session)
    return found


def note_loss(node: Node) -> None:
    """A connection of the running thread to ``node`` was lost; see :meth:`Following.note_loss`."""
    found = _of_thread.known.get(node.cluster.alias)
    if found is not None:
        found.note_loss(node)


class Following:
    """The writes and reads of one thread, as far as later reads depend on them.

    Args:
        session: the thread's, nearly always the only one that it ever has.

    Attributes:
        wrote_in: where the writes of the request are counted in which it has last written: reads
            of that one that are outside a transaction follow. None: in none.
        behind: nodes not waited for since the last write.
        seen: the node that it has last read from, so that it never goes back in time; or
            :data:`SEVERAL`.
        shared: where the threads of the request tell each other of it, in which it last read.
        writes: those that may have changed something. ``writes_before``: before this request.
        told: where the last of these was, once it was asked for; of which writes that is, and
            where those of the request are counted.
        turns: of the nodes that this request has waited for, as they were then.
        found: the last one was found on a node that had not made it. That node may show what it
            has applied before it counts it as its last transaction: its position says too little.
        own: the last write, if its marker tells where it is; None if it had none.
        made_in: the cluster, by its id, in which that was made; None if it is not known.
        given: what reads had to include when that was made: it is included in it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.wrote_in: dict[str, int] | None = None
        self.behind: set[Node] = set()
        self.seen: object | None = None
        self.shared: dict[str, Node] | None = None
        self.writes = self.writes_before = 0
        self.told: tuple[object, dict[str, int] | None, Position] | None = None
        self.found = False
        self.own: Need | None = None
        self.made_in: str | None = None
        self.given: tuple[Need, ...] = ()
        self._shared = False  # other threads of the request at hand have written as well
        self.turns: dict[Node, int] = {}
        self._record: tuple[dict[str, int] | None, int] = (None, 0)  # writes of all its threads

    def belong_to(self, session: Session) -> None:
        """``session`` is the thread's now, in place of the one before."""
        self._session = session

    @property
    def cluster(self) -> Cluster:
        """The cluster that it is about."""
        return self._session.cluster

    def note_write(
        self, node: Node | None = None, mark: Mark | None = None, server: str = ""
    ) -> None:
        """Something may be changed: what this thread reads next must include it.

        Args:
            node: which node has changed it; None as long as that is not known.
            mark: the transaction that has; None if it had no marker. All that this thread has
                written and seen before it is in the cluster's history ahead of it.
            server: which server that was, by its own name; empty if it was not asked.
        """
        rules = scope.current()
        self.wrote_in = rules.writes
        self.found = False
        self.own = None
        if mark is None and node is not None:
            self.note_read(node)
        else:
            self._forget_seen(rules)
        self.given = rules.needs.get(self._session.cluster.alias, ())
        if mark is not None and node is not None:
            self.own, self.made_in = Need(mark), self._session.cluster.identity
            if server in ("", node.server) and not node.several:
                self._session.cluster.note_mark(node, mark)
        self.behind = {other for other in self._session.cluster.nodes if other is not node}
        self.turns.clear()

    def _forget_seen(self, rules: Scope) -> None:
        """Who waits for the write at hand, as all threads do, has what was seen before as well."""
        alias, shared = self._session.cluster.alias, rules.seen
        found = shared.pop(alias, None) if shared else None
        if shared is not None and found is not None and found is not self.seen:
            shared.setdefault(alias, found)  # other threads read and write meanwhile
        self.seen = None

    def join(self, shared: dict[str, Node] | None) -> None:
        """This thread, which has seen something, is about to read in another request."""
        if shared is not None and isinstance(self.seen, Node):
            shared.setdefault(self._session.cluster.alias, self.seen)

    def note_read(self, node: Node, *, unsynced: bool = False, routed: bool = False) -> None:
        """``node`` was read from; need not be told again for the same one in the same request.

        Args:
            node: the node.
            unsynced: it was not waited for, as the mode "any" wants it.
            routed: the router was asked for it, so :attr:`shared` is that of the request.
        """
        if unsynced and self.seen is not None:
            self.seen = node if self.seen is node else SEVERAL
            return
        self.seen, shared = node, self.shared if routed else scope.current().seen
        if shared is not None and not unsynced:
            shared[self._session.cluster.alias] = node

    def is_elsewhere(self, node: Node) -> bool:
        """Returns True if a thread of the request has seen something that ``node`` may lack."""
        alias, shared = self._session.cluster.alias, scope.current().seen
        others = shared.get(alias) if shared else None
        return self.seen not in (None, node) or others not in (None, node)

    def note_synced(self, node: Node, turn: int | None = None) -> None:
        """``node`` has all that had been committed anywhere when it was asked.

        Args:
            node: the node.
            turn: the node's turn when it was asked; None if its server cannot be another by now.
        """
        self.behind.discard(node)
        self.turns[node] = node.turn if turn is None else turn
        for need in self._session.unmet(node):
            need.note_met(node, turn)
            if isinstance(need.position, Mark):  # the next request with this token need not ask
                self._session.cluster.note_mark(node, need.position, turn)

    @property
    def own_exists(self) -> bool:
        """Returns True if the cluster has the marker of the last write: it was not built anew."""
        return self.made_in is not None and self.made_in == self._session.cluster.identity

    def doubt_primary(self) -> None:
        """Another node may be the primary since that was last heard: the first use waits, and asks.

        A write would be refused by the one that was; a read would be old.
        """
        leader = self._session.cluster.epochs.leader
        if leader is not None:
            self.behind.add(leader)

    def note_loss(self, node: Node) -> None:
        """A connection to ``node`` was lost: its server may have started anew.

        Then it may lack what it has shown, the last it had not brought to its disk, and be back
        before all of it has come from the others.
        """
        if self.writes:
            self.behind.add(node)
        if self.seen is node:
            self.seen = SEVERAL

    def note_own(self, node: Node, turn: int) -> None:
        """``node`` has the last write, as its marker there says."""
        self.behind.discard(node)
        self.turns[node] = turn

    def mark(self) -> Mark | None:
        """Returns the mark of the last write; None if it does not include the request's others."""
        self.follow()
        position = self.own.position if self.own is not None and not self._shared else None
        return position if isinstance(position, Mark) else None

    def is_behind(self, node: Node) -> bool:
        """Returns True if ``node`` was not waited for since the last write, or is another now."""
        return node in self.behind or self.turns.get(node, node.turn) != node.turn

    @property
    def has_written(self) -> bool:
        """Returns True if the request at hand has written, in whatever thread."""
        return self.writes != self.writes_before or bool(scope.writes(self._session.cluster.alias))

    @property
    def followed(self) -> int:
        """How many writes of the request at hand, of all its threads, this thread waits for."""
        return self._record[1]

    def follow(self) -> dict[str, int] | None:
        """Treat a write of another thread of this request like our own: reads wait for it.

        Returns:
            Where the writes of the request are counted; None outside of requests.
        """
        record = scope.current().writes
        if record is None:
            self._shared = False
            return None
        known, followed = self._record
        if known is not record:
            followed, self._shared = 0, False
        written = record.get(self._session.cluster.alias, 0)
        if written != followed:
            self.behind = set(self._session.cluster.nodes)
            self.own, self._shared = None, True
        self._record = record, written
        return record

    def follow_none(self, record: dict[str, int] | None) -> None:
        """No thread of this request has written, as ``record`` says."""
        self._record, self._shared = (record, 0), False

    def note_commit(self, *, wrote: bool = True) -> None:
        """Something has become final, or may have: what led to it cannot be run again.

        Args:
            wrote: it has come to a statement that may write.
        """
        alias = self._session.cluster.alias
        runs.note_commit(alias)
        if not wrote:
            return
        scope.count_write(self.follow(), alias)
        self.writes += 1
        record, followed = self._record
        self._record = record, followed + 1

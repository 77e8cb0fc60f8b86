"""The nodes of each cluster: how they are, which one is the primary, where to read.

There is one record per node and process, shared by all threads. Nobody waits for a node that is
known to be down: the watchdog asks it on a connection of its own. If no node is up, one caller at a
time tries one.

Which node is the primary stands in a table of the cluster (:mod:`galera_router.cluster.epoch`).
Where that table is not there, processes agree by rules and by the time of day alone.
"""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from galera_router import signals
from galera_router.cluster import lag
from galera_router.cluster.choice import Choice
from galera_router.cluster.epoch import Epochs
from galera_router.cluster.lag import Track
from galera_router.cluster.node import SUSPICIOUS, Node
from galera_router.cluster.position import Mark, Position
from galera_router.conf import ClusterConfig
from galera_router.connections.errors import errno, is_by_option, is_of_set_up, is_permanent
from galera_router.events import (
    NodeAccepting,
    NodeCaughtUp,
    NodeDown,
    NodeInStep,
    NodeLagging,
    NodeOutOfStep,
    NodeRefusing,
    NodeUp,
)

logger = logging.getLogger("galera_router")

#: Each loss within :data:`LOSSES_KEPT` seconds of another one doubles the seconds for which a node
#: must have been well before it is primary again (``failback_delay``), up to the longest.
LONGEST_DELAY, LOSSES_KEPT = 120.0, 300.0
#: All processes take a node back at the same multiple of so many seconds of the time of day.
FAILBACK_SLOT = 5.0
#: Seconds after the start of its server at which a process that has not seen the node come takes
#: the others to have it back; 0: at once.
STARTED = 15.0
#: Seconds since the last question within which a change of the answer has been seen in time.
WITNESSED = 5.0
#: Seconds until a node that is down is tried by a caller again where no node is up: the first
#: pause and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 4.0
#: Seconds for which a node that has not caught up in time is not waited for again.
LAG_REMEMBERED = 2.0
#: Options of the driver that it sends to the server on connecting.
_SETS_UP = ("init_command", "sql_mode", "charset", "collation")
#: Seconds for which a node that has refused a write counts as one that takes none, at least. It
#: is asked for ``read_only``, so its answer counts for that at once.
REFUSAL_KEPT = 10.0
#: What a node that takes no writes is said to be.
READ_ONLY, FULL, DISK_FULL = "is read-only", "has no connection left", "has a full disk"
#: Workers of whose transactions a node is remembered to have them.
MARKS_KEPT = 1000
#: Seconds without use after which the watchdog leaves the nodes alone.
RESTED = 10.0
#: Seconds within which a server that another one had replaced is back only behind a balancer.
SOON_BACK = 60.0
#: Seconds for which a choice among nodes to read from is made again, as long as it is well.
CHOICE_KEPT = 0.25
#: The environment's name for the zone of a process; the option ``zone`` comes first.
ZONE_VARIABLE = "GALERA_ZONE"


class Cluster:
    """The nodes of one cluster.

    Attributes:
        zone: the zone that this process is in; None if nobody says so.

    Args:
        config: what :func:`galera_router.expand` left in the settings.
        clock: seconds, never going back.
        rng: chooses among the readers and jitters the pauses.
        wall: seconds of the time of day, the same on all hosts within a second.
    """

    def __init__(
        self,
        config: ClusterConfig,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.alias = config.alias
        #: the database's name in the settings
        self.database: str = config.first.role_settings["NAME"]
        self.nodes = tuple(Node(node, self) for node in config.nodes)
        self.zone = config.options.zone or os.environ.get(ZONE_VARIABLE) or None
        self._electable = tuple(node for node in self.nodes if node.config.electable)
        self._clock = clock
        self._wall = wall
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self._by_alias = {node.alias: node for node in self.nodes}
        self.epochs = Epochs(self.alias, self.nodes)
        #: when a node was last chosen, by the clock
        self.used = float("-inf")
        #: the primary that this process last connected to; another one may still be applying
        #: what has been committed through that one
        self.acting: Node | None = None
        #: what the backend once asked of a server (version, sql_mode …), for new connections
        self.server_data: dict[str, Any] | None = None
        #: which cluster the nodes are in, as :mod:`galera_router.cluster.membership` knows it
        self.membership: Any = None
        self._choice: Choice | None = None  # among what :meth:`reader` last chose

    @property
    def identity(self) -> str | None:
        """Galera's id of the cluster, another one when it was built anew; None if not known yet."""
        return None if self.membership is None else self.membership.agreed

    def node(self, alias: str) -> Node:
        """The node whose own alias is ``alias``."""
        return self._by_alias[alias]

    @property
    def failback_delay(self) -> float | None:
        """Seconds after which a node that was lost is primary again; None: never by itself."""
        return self.config.options.failback_delay

    # Choose

    def primary(self) -> Node | None:
        """The node to write to: the cluster's primary, if it is well.

        Else the first electable one that is well: it is the next primary, or knows who is. A node
        that came back is passed over until it counts as settled, unless there is no other; None if
        no node is up and it is not for this caller to try one.
        """
        self.note_use()
        usual = self.usual()
        if usual is not None:
            return usual
        with self._lock:
            return self._elected() or self._due(self._electable)

    def note_use(self) -> None:
        """A node is about to be used."""
        self.used = self._clock()

    @property
    def rested(self) -> bool:
        """Returns True if it has not been used for so long that its nodes were not asked."""
        return self._clock() - self.used > RESTED

    def usual(self) -> Node | None:
        """The primary, if nothing speaks against it."""
        node = self.epochs.leader
        if node is None and self.epochs.current is None and not self._electable[0].settled_at:
            node = self._electable[0]
        return node if node is not None and node.well and not node.several else None

    def candidate(self) -> Node | None:
        """The node that is to be primary when all is well: the first electable one.

        None if it is not well, or has not been for long enough.
        """
        with self._lock:
            self._unsettle()
            electable = self._in_service(self._electable)
            first = next((node for node in electable if node.well), None)
            return None if first is None or first.settled_at else first

    def reader(self, exclude: Iterable[Node] = (), wanted: Node | None = None) -> Node | None:
        """The node to read from: HOST, else one of this zone, else any; None if all are down.

        Among those that are as good: ``wanted`` if it is one of them, else by chance and weight.
        The primary comes after all others that have a weight, and the nodes without a weight come
        last.
        """
        self.used = now = self._clock()
        known = self._choice
        if known is not None and not exclude and known.holds(now):
            node = known.draw(self._rng, wanted)
            if node.is_usual and node.lags_until <= now:
                return node
        with self._lock:
            choice = self._readers(exclude)
            if not choice:
                return None
            made = Choice(choice, self.epochs, now + CHOICE_KEPT)
            self._choice = None if exclude else made
            return made.draw(self._rng, wanted)

    def _readers(self, exclude: Iterable[Node]) -> list[Node]:
        """The nodes that are as good as any to read from."""
        primary = self._elected()
        others = self._best([node for node in self.nodes if node not in exclude])
        others = self._in_time(self._wanted(others), primary)
        preferred = [node for node in others if node.alias == self.config.preferred]
        secondaries = [node for node in others if node is not primary]
        return preferred or self._near(secondaries) or secondaries or others

    def others(self, node: Node, exclude: Iterable[Node]) -> bool:
        """Returns True if a secondary other than ``node`` and ``exclude`` can be read from."""
        with self._lock:
            primary = self._elected()
            well = self._wanted(self._best(self.nodes))
            return any(n not in (node, primary) and n not in exclude for n in well)

    def another_primary(self, node: Node) -> bool:
        """Returns True if a node other than ``node``, the primary now, could be in its place."""
        others = [other for other in self._electable if other is not node]
        return any(other.up and other.writable for other in self._in_service(others))

    def has_better_primary(self, node: Node) -> bool:
        """Returns True if another node than ``node`` is elected."""
        with self._lock:
            return self._elected() not in (None, node)

    def any_down(self, *, electable: bool) -> Node:
        """The node to try when none is up and there is nothing to do but to try one."""
        with self._lock:
            nodes = self._electable if electable else self.nodes
            down = [node for node in nodes if not node.up]
            if not down:
                return nodes[0]
            node = min(down, key=lambda node: node.retry_at)
            self._send_to(node)
            return node

    # What was found out

    def mark_down(self, node: Node, error: BaseException) -> None:
        """Note that ``node`` cannot serve."""
        with self._lock:
            self._choice = None
            was_up, was_well = node.up, node.well
            node.up = node.tried = False
            node.heard = self._clock()
            node.failures += 1
            node.attempts += 1
            node.forget_place()
            node.track.clear()
            node.reason = f"{error}{_source(node, error)}"
            node.permanent = is_permanent(error)
            node.lost_with = errno(error)
            if was_up:
                node.lost_at = self._clock()
            node.retry_at = self._clock() + self._pause(node)
            if was_well:
                self._lost(node)
        if was_up:
            signals.send(NodeDown, self.alias, node.name, node.reason, errno(error))

    def mark_behind(self, node: Node, seconds: float) -> None:
        """Note that ``node`` was to be the primary and has not caught up in ``seconds``."""
        with self._lock:
            self._choice = None
            was_well, was_behind = node.well, node.behind
            node.behind_since = self._clock()  # what it had come to before proves nothing
            node.failures += 1
            if was_well:
                self._lost(node)
        if not was_behind:
            signals.send(NodeLagging, self.alias, node.name, seconds, as_primary=True)

    def mark_refusing(self, node: Node, refusal: str, error: BaseException) -> None:
        """Note that ``node`` has refused a write, as others would be; it is well for reads."""
        with self._lock:
            self._choice = None
            was_well, before = node.well, node.refusal
            node.refusal, node.refused_until = refusal, self._refused_until(refusal, error)
            if was_well:
                self._lost(node)
        if not before:
            signals.send(NodeRefusing, self.alias, node.name, refusal, str(error))

    def mark_full(self, node: Node, error: BaseException) -> None:
        """Note that ``node`` has no connection left for the watchdog; the second time it counts."""
        if node.doubted and node.up:
            self.mark_refusing(node, FULL, error)
        node.doubted, node.heard = True, self._clock()

    def mark_up(self, node: Node) -> None:
        """Note that ``node``, which was down, has served a caller who was sent to try it.

        A connection that was made before and still works says nothing about a node that is down.
        """
        if node.up or not node.tried:
            return
        with self._lock:
            self._choice = None
            self._returned(node)
            if node.well:
                self._settle(node, math.floor(self._wall()))
        self._tell_up(node)

    def mark_answered(
        self,
        node: Node,
        *,
        synced: bool,
        started: float | None,
        at: float,
        asked: float | None = None,
        read_only: bool = False,
        position: Position | None = None,
    ) -> None:
        """Note that ``node`` takes statements, as the watchdog has found out.

        Args:
            node: a node of this cluster.
            synced: it is in step with the others.
            started: when its server started, by the time of day; None if that is not known.
            at: the second at which it was asked, by the time of day.
            asked: the same by the clock; None for just now.
            read_only: its server refuses writes.
            position: how far it has come; None if unknown.
        """
        with self._lock:
            self._choice = None
            was_up, was_well = node.up, node.well
            if not was_up:
                self._returned(node)
                node.fit = synced
            rank = node.rank
            asked = self._clock() if asked is None else asked
            self._note_answer(node, synced, read_only, asked)
            self._note_track(node, position)
            if was_well and not node.well:
                self._lost(node)
            elif synced and node.well:
                self._note_well(node, was_well, started, at)
            node.started, node.heard = started, self._clock()
        if not was_up:
            self._tell_up(node)
        self._tell(node, rank)

    def note_server(self, node: Node, server: str) -> int:
        """Note which server has answered as ``node``; returns the node's turn.

        A server that was replaced stays away, or comes back when it is repaired. One that is back
        at once after another stands behind the same address: a balancer's, or that of a name with
        several records.
        """
        if not server or server == node.server:
            return node.turn
        with self._lock:
            now = self._clock()
            soon = now - node.servers.get(server, -math.inf) < SOON_BACK
            news, node.several = soon and not node.several, soon or node.several
            node.servers |= {node.server: now, server: now}
            node.server, node.turn = server, node.turn + 1
            node.forget_place()  # last: see note_mark
            turn = node.turn
        self.epochs.find_leader()
        if news:
            text = "%s: several servers answer as node %s: %s. Give each a place in NODES."
            names = "; ".join(sorted(filter(None, node.servers)))
            logger.warning(text, self.alias, node.name, names)
        return turn

    def note_position(self, node: Node, position: Position | None, turn: int | None = None) -> None:
        """Note that ``node`` has come to ``position``, unless more is known already.

        Args:
            node: a node of this cluster.
            position: of a server that ``node`` was found to be, or without its name.
            turn: the node's turn when that server answered; None if it cannot be another by now.
        """
        with self._lock:
            known = node.position
            if position is None or known == position or turn not in (None, node.turn):
                return
            if known is None or known.cluster_id != position.cluster_id:
                node.position = position
            elif position.node not in ("", known.node) or position.seqno > known.seqno:
                node.position = replace(position, node=position.node or known.node)

    def note_mark(self, node: Node, mark: Mark, turn: int | None = None) -> None:
        """Note that ``node`` has the transaction ``mark``.

        Args:
            node: a node of this cluster.
            mark: which.
            turn: as in :meth:`note_position`.
        """
        marks = node.marks  # looked at ahead of the turn: those of another server are others
        if turn is not None and turn != node.turn:
            return
        if len(marks) >= MARKS_KEPT:
            marks.clear()
        if marks.get(mark.worker, 0) < mark.seqno:
            marks[mark.worker] = mark.seqno

    def note_lag(self, node: Node) -> None:
        """Note that ``node`` has not caught up in time."""
        node.lags_until = self._clock() + LAG_REMEMBERED

    def forget_lags(self) -> None:
        """What the nodes were waited for does not exist: none of them was late."""
        for node in self.nodes:
            node.lags_until = 0.0

    def lags(self, node: Node) -> bool:
        """Returns True if ``node`` has just failed to catch up in time."""
        return node.lags_until > self._clock()

    def lost_for(self, node: Node | None) -> float:
        """Returns the seconds for which ``node`` has been down; 0 if it is up.

        Args:
            node: None for a primary that is none of the nodes that this process has met.
        """
        if node is None:
            return max(0.0, time.monotonic() - self.epochs.unknown_since)
        return 0.0 if node.up else self._clock() - node.lost_at

    @property
    def watchful(self) -> bool:
        """Returns True if some node lags: where the others are is to be known then."""
        return any(node.up and (node.behind or node.lag >= SUSPICIOUS) for node in self.nodes)

    def hopeless(self, *, electable: bool) -> bool:
        """Returns True if no wait can help: every node refuses our name, password or database."""
        nodes = self._electable if electable else self.nodes
        return all(not node.up and node.permanent for node in nodes)

    def may_come_back(self, *, electable: bool) -> bool:
        """Returns True if a node is down that may be up in a moment."""
        nodes = self._electable if electable else self.nodes
        return any(not node.up and not node.permanent for node in nodes)

    def complaints(self, *, electable: bool) -> str:
        """Each node and why it cannot serve, for an error message."""
        reasons = {node: node.reason or node.trouble or "not tried" for node in self.nodes}
        if electable:
            barred = set(self.nodes) - set(self._electable)
            followers = [node for node in self.nodes if node.well and self.epochs.follows(node)]
            reasons |= dict.fromkeys(followers, f"is not the primary, {self.epochs.name} is")
            reasons |= dict.fromkeys(barred, "is not electable")
        return "; ".join(f"{node.name}: {reason}" for node, reason in reasons.items())

    # How; the lock is held

    def _note_answer(self, node: Node, synced: bool, read_only: bool, asked: float) -> None:
        # A lock of a moment, such as a backup's, takes a node out of step as well.
        node.doubted, again = not synced, node.doubted
        node.fit = synced or (node.fit and not again)
        if read_only:
            node.refusal = READ_ONLY
        elif asked >= node.refused_until:
            node.refusal = ""

    def _refused_until(self, refusal: str, error: BaseException) -> float:
        """When a node has to be asked, at the earliest, for its answer to prove the contrary.

        An answer proves that there is a connection again, and shows an option; not that there is
        room.
        """
        if refusal == FULL:
            return 0.0
        return self._clock() + (0.0 if is_by_option(error) else REFUSAL_KEPT)

    def _note_track(self, node: Node, position: Position | None) -> None:
        """Judge by what the others have told if ``node``, now at ``position``, is behind."""
        now, limit = self._clock(), self.config.options.max_lag or 0.0
        others = [other.track for other in self.nodes if other is not node and other.up]
        node.lag = 0.0 if position is None else lag.seconds(position, others, now)
        if position is not None:
            node.track.note(position, now, lag.KEPT + 2 * limit)
        if node.behind_since is not None:
            if self._has_caught_up(node, position, others):
                node.behind_since = None
        elif 0 < limit < node.lag:
            node.behind_since = now
            node.failures += 1

    def _has_caught_up(
        self, node: Node, position: Position | None, others: Sequence[Track]
    ) -> bool:
        """Returns True if ``node`` has what another node had since it was found to be behind."""
        since = node.behind_since
        if position is None or since is None or not others:
            return True
        limit = self.config.options.max_lag or 0.0
        if node.lag > max(SUSPICIOUS, limit / 2):
            return False
        return any(track.was_within(position, since) for track in others)

    def _tell_up(self, node: Node) -> None:
        seconds = max(0.0, self._clock() - node.lost_at)
        signals.send(NodeUp, self.alias, node.name, seconds)

    def _tell(self, node: Node, before: tuple[bool, bool, bool]) -> None:
        alias, name = self.alias, node.name
        writable, current, fit = (
            (now, was != now) for was, now in zip(before, node.rank, strict=True)
        )
        if writable == (True, True):
            signals.send(NodeAccepting, alias, name)
        elif writable == (False, True):
            signals.send(NodeRefusing, alias, name, node.refusal)
        if current == (True, True):
            signals.send(NodeCaughtUp, alias, name)
        elif current == (False, True):
            signals.send(NodeLagging, alias, name, node.lag)
        if fit == (True, True):
            signals.send(NodeInStep, alias, name)
        elif fit == (False, True):
            signals.send(NodeOutOfStep, alias, name)

    def _in_service(self, nodes: Sequence[Node]) -> Sequence[Node]:
        """Those of ``nodes`` that are not drained; all of them if there are no others."""
        drained = self.epochs.drained
        return [node for node in nodes if node not in drained] or nodes if drained else nodes

    def _best(self, nodes: Iterable[Node]) -> list[Node]:
        """Those of ``nodes`` to read from."""
        up = [node for node in nodes if node.up]
        drained = self.epochs.drained
        if drained:
            up = [node for node in up if node not in drained] or up
        current = [node for node in up if node.behind_since is None] or up
        return [node for node in current if node.fit] or current

    def _fittest(self, nodes: Iterable[Node]) -> list[Node]:
        """Those of ``nodes`` that would do best as primary."""
        up = self._in_service([node for node in nodes if node.up])
        best = max((node.rank for node in up), default=None)
        return [node for node in up if node.rank == best]

    def _wanted(self, nodes: list[Node]) -> list[Node]:
        """HOST and the nodes that have a weight; all of ``nodes`` if there are none."""
        host = self.config.preferred
        return [node for node in nodes if node.config.weight or node.alias == host] or nodes

    def _near(self, nodes: list[Node]) -> list[Node]:
        return [node for node in nodes if self.zone and node.config.zone == self.zone]

    def _in_time(self, nodes: list[Node], primary: Node | None) -> list[Node]:
        """The nodes that do not lag, if there is a secondary among them; else all of ``nodes``."""
        found = [node for node in nodes if not self.lags(node)]
        return found if any(node is not primary for node in found) else nodes

    def _elected(self) -> Node | None:
        """The primary if it is as good as any; else the first node that is settled.

        If none is settled, the first of those that will be soonest. One with several servers
        behind its address comes last, but no other may take over from the primary for that.
        """
        usual = self.usual()
        if usual is not None:
            return usual
        leader = self.epochs.leader
        nodes = self._fittest([leader, *self._electable] if leader else self._electable)
        nodes = [node for node in nodes if node is leader or not node.several] or nodes
        if not nodes:
            return None
        if leader in nodes:
            return leader
        self._unsettle()
        nodes = self._nameless(nodes)
        soonest = min(node.settled_at for node in nodes)
        return next(node for node in nodes if node.settled_at <= soonest)

    def _nameless(self, nodes: list[Node]) -> list[Node]:
        """The nodes that may be the primary, which is none of those whose servers are known."""
        if self.epochs.current is None or self.epochs.leader is not None:
            return nodes
        return [node for node in nodes if not node.server] or nodes

    def _unsettle(self) -> None:
        """Once settled, always: the time of day may be set back."""
        now = self._wall()
        for node in self._electable:
            if node.settled_at <= now or node.settled_at > now + LONGEST_DELAY + FAILBACK_SLOT:
                node.settled_at = 0.0

    def _returned(self, node: Node) -> None:
        node.up, node.tried, node.attempts, node.reason = True, False, 0, ""

    def _note_well(self, node: Node, was_well: bool, started: float | None, at: float) -> None:
        if not was_well and self._clock() - node.heard <= WITNESSED:
            self._settle(node, at)
        elif started is not None and (node.started is None or started - node.started > 1.5):
            # It came while nobody here looked, or before this process began. The others have
            # seen when; all that can be known of it now is when its server started.
            settled_at = _slot(started + STARTED) if STARTED else 0.0
            node.settled_at = settled_at if settled_at > self._wall() else 0.0

    def _settle(self, node: Node, at: float) -> None:
        """Make ``node``, well since ``at``, wait until all processes take it back at once."""
        first = self.failback_delay or 0.0
        delay = first * 2.0 ** min(len(self._losses(node)) - 1, 10)
        node.settled_at = _slot(at + min(max(delay, first), LONGEST_DELAY))

    def _lost(self, node: Node) -> None:
        node.losses = [*self._losses(node), self._clock()]

    def _losses(self, node: Node) -> list[float]:
        now = self._clock()
        return [loss for loss in node.losses if now - loss < LOSSES_KEPT]

    def _due(self, nodes: Iterable[Node]) -> Node | None:
        now = self._clock()
        for node in nodes:
            if not node.up and node.retry_at <= now:
                self._send_to(node)  # others pass by while one tries
                return node
        return None

    def _send_to(self, node: Node) -> None:
        node.tried = True
        node.retry_at = self._clock() + self._pause(node)

    def _pause(self, node: Node) -> float:
        pause = min(FIRST_PAUSE * 2.0 ** min(node.attempts, 10), LONGEST_PAUSE)
        return pause * self._rng.uniform(0.5, 1.0)


def _source(node: Node, error: BaseException) -> str:
    """Returns a hint where a failure to connect is not the server's fault."""
    if not is_of_set_up(error):
        return ""
    options = node.config.role_settings["OPTIONS"]
    given = [repr(name) for name in _SETS_UP if options.get(name)]
    return f" (in what is sent on connecting: OPTIONS {', '.join(given)})" if given else ""


def _slot(moment: float) -> float:
    """The first multiple of :data:`FAILBACK_SLOT` that is not before ``moment``."""
    return math.ceil(moment / FAILBACK_SLOT) * FAILBACK_SLOT

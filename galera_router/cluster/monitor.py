"""One thread per process that frees statements from dead nodes, and knows how the nodes are.

The first connection to a node starts it. It looks every moment at what is in flight. If something
has been in flight on a node for long, another thread asks that node. While the process works, every
node is also asked from time to time.

:class:`NodeMonitor` decides when to ask one node, and what follows from its answer.
:class:`Watchdog` is the thread.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

from galera_router.cluster import failback, membership
from galera_router.cluster.epoch import read
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import RESTED
from galera_router.cluster.probe import Answer, Ping
from galera_router.cluster.registry import clusters_met
from galera_router.connections import connection as wire
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import Verdict, errno, verdict

logger = logging.getLogger("galera_router")

#: Seconds since it was last used for which a cluster's nodes are asked how they are.
ACTIVE = RESTED
#: Seconds between two looks, at most, and while nothing is in use.
LOOK, IDLE_LOOK = 0.125, 0.5
#: Seconds between two questions to a node: that is well; that is not; that has not been so for
#: :data:`ILL_LONG` seconds; that refuses name, password or database.
ASK_WELL, ASK_ILL, ASK_LONG_ILL, ASK_REFUSED = 3.0, 1.0, 3.0, 30.0
ILL_LONG = 60.0
#: Seconds between two questions because of the same statement: at first, and at most.
ASK_AGAIN, ASK_STILL = 0.5, 3.0
#: Seconds for which a statement is left alone on a node out of the cluster: Galera ends it.
OUT_PATIENCE = 5.0
#: Seconds between two looks at a thread that does nothing, before its connection is given up.
IDLE_TWICE = 0.3
#: Seconds that a node is given for its answer at least, beside those of the way to it.
SHORTEST = 0.1

#: Commands of a thread that does nothing; one that is to end waits for its client as well.
_IDLE = frozenset({"Sleep", "Killed"})
#: What a statement waits for while a backup locks its whole server (seen: 10.11).
_HELD = frozenset({"Waiting for backup lock", "Waiting for certification"})
#: No connection is left for this user.
_FULL = frozenset({1040, 1203})
#: Nobody is there: no connection, no name.
_REFUSED = frozenset({2002, 2003, 2005})
#: This process has no socket left: that says nothing of the node.
_OURS = frozenset({2001, 2004})
#: No connection, but the server lives: it refuses this host.
_BLOCKED = 1129
_SHUTDOWN = frozenset({1053, 1077, 1079})


# --- one node ----------------------------------------------------------------------------


class Moment(NamedTuple):
    """``now`` never goes back, ``awake`` counts only while this process runs, ``wall`` is the
    time of day; all in seconds."""

    now: float
    awake: float
    wall: float


@dataclass
class _Asked:
    """A question on its way: when it was put, and what was in flight then.

    ``limit``: seconds awake for which the answer is waited for, once the node's name has been
    looked up, which was noted at ``ready`` (seconds awake); None before.
    """

    ping: Ping
    at: Moment
    limit: float
    failures: int
    busy: WeakKeyDictionary[NodeConnection, float]
    long: WeakKeyDictionary[NodeConnection, float]
    ready: float | None = None


class _Idle(NamedTuple):
    """A thread that does nothing for the server while a statement is in flight for us."""

    busy: float
    silence: tuple[int, int]
    since: float


@dataclass(eq=False)
class NodeMonitor:
    """When to ask one node how it is, and what follows from its answer."""

    node: Node
    _asked: _Asked | None = None
    _last: float = -math.inf
    _second: int = 0  # of the last question, by the time of day
    _pause: float = 0.0
    _known: WeakKeyDictionary[NodeConnection, float] = field(default_factory=WeakKeyDictionary)
    _idle: WeakKeyDictionary[NodeConnection, _Idle] = field(default_factory=WeakKeyDictionary)
    _held: WeakKeyDictionary[NodeConnection, float] = field(default_factory=WeakKeyDictionary)
    _ill_since: float | None = None
    _out_since: float | None = None
    _lost_once: bool = False
    _server: str = ""
    _several: bool = False  # more than one server answers at this address

    def look(self, moment: Moment, links: Sequence[NodeConnection], *, active: bool) -> bool:
        """Do what is due; returns True if the node has to be looked at again soon.

        Args:
            moment: now.
            links: all connections to the node.
            active: the cluster is in use.
        """
        busy = {link: sent for link in links if (sent := link.busy)}
        self._end_waits(busy, moment.now)
        if self._asked is not None and self._finished(self._asked, moment):
            asked, self._asked = self._asked, None
            self._judge(asked, moment, links)
        if self._asked is None:
            long = {link: sent for link, sent in busy.items() if _is_long(link, moment.now - sent)}
            if self._due(moment, long, active=active):
                self._ask(moment, busy, long, self._limit(links))
        return bool(busy) or self._asked is not None

    def _end_waits(self, busy: Iterable[NodeConnection], now: float) -> None:
        """End waits for the applier that take too long: no limit of the server's own ends them.

        Seen on 10.11: neither ``lock_wait_timeout`` nor ``max_statement_time`` does, only
        ``repl.causal_read_timeout``, 30 s.
        """
        waits = [link for link in busy if link.until > 0]
        late = [link for link in waits if link.until <= now or link.is_spared(now)]
        for link in late:
            link.overdue = True
        self._cut(late, "it does not catch up")

    # When to ask

    def _due(self, moment: Moment, long: dict[NodeConnection, float], *, active: bool) -> bool:
        if any(self._known.get(link) != sent for link, sent in long.items()):
            self._pause = ASK_AGAIN
        self._known.update(long)
        if long and moment.now - self._last >= self._pause:
            self._pause = min(2 * self._pause, ASK_STILL)
            return True
        if self._lost_once and moment.now > self._last:
            return True
        return active and self._is_round(moment)

    def _is_round(self, moment: Moment) -> bool:
        """Returns True if a new round has begun; by the time of day, the same for all processes."""
        node = self.node
        if not node.doubtful:
            self._ill_since = None
            interval = min(ASK_WELL, ASK_ILL) if node.cluster.watchful else ASK_WELL
        else:
            self._ill_since = moment.now if self._ill_since is None else self._ill_since
            interval = ASK_ILL if moment.now - self._ill_since < ILL_LONG else ASK_LONG_ILL
            if not node.up and node.permanent:
                interval = ASK_REFUSED
        return moment.wall // interval != self._second // interval

    def _limit(self, links: Sequence[NodeConnection]) -> float:
        """Seconds for an answer: the server's own, and those that its way takes."""
        timeout = max(SHORTEST, self.node.cluster.config.options.watchdog_timeout)
        return timeout + self.node.distance.allowance(links)

    def _ask(
        self,
        moment: Moment,
        busy: dict[NodeConnection, float],
        long: dict[NodeConnection, float],
        limit: float,
    ) -> None:
        self._last, self._second = moment.now, math.floor(moment.wall)
        ping = Ping(self.node, [link.thread_id for link in long], limit)
        ready = moment.awake if ping.ready else None
        try:
            ping.start()
        except RuntimeError as error:
            logger.warning("%s: cannot ask node %s: %s", self._alias, self.node.name, error)
        else:
            # Not kept alive: a connection is to be closed by who used it, when it is let go.
            kept = WeakKeyDictionary(busy), WeakKeyDictionary(long)
            self._asked = _Asked(ping, moment, limit, self.node.failures, *kept, ready)

    def _finished(self, asked: _Asked, moment: Moment) -> bool:
        if asked.ping.answer is not None:
            return True
        if asked.ready is None and asked.ping.ready:
            asked.ready = moment.awake
            asked.limit += asked.ping.extra
        return asked.ready is not None and moment.awake - asked.ready >= asked.limit

    # What follows

    def _judge(self, asked: _Asked, moment: Moment, links: Sequence[NodeConnection]) -> None:
        answer = asked.ping.answer
        if answer is None:
            silence = TimeoutError(f"no answer within {asked.limit:.3g} s")
            self._dead(asked, silence, links, idle=True)
        elif answer.error is not None and _is_lost(answer.error):
            self._unreachable(asked, answer.error, moment, links)
        else:
            self._lost_once = False
            self._alive(asked, answer, links)

    def _unreachable(
        self, asked: _Asked, error: Exception, moment: Moment, links: Sequence[NodeConnection]
    ) -> None:
        number = errno(error)
        if number in _SHUTDOWN:  # the server ends what is in flight
            self.node.cluster.mark_down(self.node, error)
        elif number in _OURS or _stood_still(asked.at, moment):
            return  # the driver's time was over, not the server's
        elif number in _REFUSED or self._lost_once:
            self._lost_once = False
            self._dead(asked, error, links, idle=False)
        else:  # somebody may have ended just this connection
            self._lost_once = True

    def _dead(
        self, asked: _Asked, error: Exception, links: Sequence[NodeConnection], *, idle: bool
    ) -> None:
        if any(link.busy != sent for link, sent in asked.busy.items()):
            return  # it has answered somebody meanwhile: slow, or we are
        self.node.cluster.mark_down(self.node, error)
        began = asked.at.now
        cut = [link for link in links if 0 < link.busy <= began]
        if idle:  # so that the next statement of an open transaction does not wait either
            cut += [link for link in links if not link.busy and link.state is None]
        self._cut(cut, str(error))

    def _alive(self, asked: _Asked, answer: Answer, links: Sequence[NodeConnection]) -> None:
        node, cluster = self.node, self.node.cluster
        turn = cluster.note_server(node, answer.server)
        foreign = membership.heard(node, answer)
        if foreign is not None:
            cluster.mark_down(node, foreign)
            self._cut(links if foreign.news else (), str(foreign))
        elif answer.error is None:
            self._out_since = None
            if node.failures == asked.failures:  # what was met since then counts for more
                self._well(asked, answer, turn)
                self._note_epoch(answer)
        elif answer.verdict is Verdict.OUT:
            cluster.mark_down(node, answer.error)
            self._out(asked, answer.error, links)
        elif not node.up:
            cluster.mark_down(node, answer.error)
        elif errno(answer.error) in _FULL:
            cluster.mark_full(node, answer.error)
        self._half_dead(asked, answer)
        self._locked(asked, answer)

    def _well(self, asked: _Asked, answer: Answer, turn: int) -> None:
        self.node.cluster.mark_answered(
            self.node,
            synced=answer.synced,
            started=answer.started,
            at=math.floor(asked.at.wall),
            asked=asked.at.now,
            read_only=answer.read_only,
            position=answer.position,
        )
        self.node.cluster.note_position(self.node, answer.position, turn)

    def _locked(self, asked: _Asked, answer: Answer) -> None:
        """Free statements that a backup's lock on the whole server holds, if they can go elsewhere.

        One that has left state on its connection waits, as it would on one server.
        """
        if answer.synced:
            return
        waiting = {
            link: sent
            for link, sent in asked.long.items()
            if answer.states.get(link.thread_id) in _HELD and link.state is None
        }
        held = [link for link, sent in waiting.items() if self._held.get(link) == sent == link.busy]
        self._held.update(waiting)
        if held and self.node.cluster.has_better_primary(self.node):
            self._cut(held, "its server is locked, by a backup say")

    def _note_epoch(self, answer: Answer) -> None:
        epochs, identity = self.node.cluster.epochs, membership.of(answer)
        if answer.epochs and epochs.are_of(answer.database, identity):
            epochs.show(self.node, *read(answer.epochs, identity))

    def _out(self, asked: _Asked, error: Exception, links: Sequence[NodeConnection]) -> None:
        """Free what still hangs on a node that has been out of the cluster for a while."""
        began = asked.at.now
        since = self._out_since = began if self._out_since is None else self._out_since
        if began - since >= OUT_PATIENCE:
            self._cut([link for link in links if 0 < link.busy <= since], str(error))

    def _half_dead(self, asked: _Asked, answer: Answer) -> None:
        """Free a statement that the server does not know of, or whose answer was lost."""
        self._several |= bool(self._server and answer.server and answer.server != self._server)
        self._server = answer.server or self._server
        if self._several or not answer.server or answer.commands is None:
            return
        for link, sent in asked.long.items():
            at_work = answer.commands.get(link.thread_id, "Sleep") not in _IDLE
            silence = link.silence()
            if at_work or silence is None or link.busy != sent:
                self._idle.pop(link, None)
                continue
            now = asked.at.now
            before = self._idle.setdefault(link, _Idle(sent, silence, now))
            if (before.busy, before.silence) != (sent, silence):
                self._idle[link] = _Idle(sent, silence, now)
            elif now - before.since >= IDLE_TWICE:
                self._cut([link], "the server has nothing to do for it")

    def _cut(self, links: Sequence[NodeConnection], reason: str) -> None:
        waiting = sum(bool(link.busy) for link in links)
        for link in links:
            link.cut()
        if waiting:
            text = "%s: ended %d waiting connections to node %s: %s"
            logger.warning(text, self._alias, waiting, self.node.name, reason)

    @property
    def _alias(self) -> str:
        return self.node.cluster.alias


def _is_lost(error: Exception) -> bool:
    return verdict(error) is Verdict.LOST and errno(error) != _BLOCKED


def _is_long(link: NodeConnection, seconds: float) -> bool:
    after = link.options.watchdog_after
    return 0 < after < seconds


def _stood_still(then: Moment, now: Moment) -> bool:
    """Returns True if this process has not run for a good part of the time between."""
    return (now.now - then.now) - (now.awake - then.awake) > 0.5


# --- the thread --------------------------------------------------------------------------


class Watchdog:
    """Looks after all connections of the process.

    Args:
        clock: seconds, never going back.
        wall: seconds of the time of day.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._monitors: WeakKeyDictionary[Node, NodeMonitor] = WeakKeyDictionary()
        self._looked = clock()
        self._meant = LOOK  # seconds to sleep before the next look
        self._awake = 0.0
        self._woken = threading.Event()
        self._sleeps = False
        self._held: list[Callable[[], None]] | None = None
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; raises RuntimeError if no thread is to be had."""
        name = "galera_router: watchdog"
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def wake(self) -> None:
        """There is a new connection to look after."""
        if self._sleeps:
            self._woken.set()

    def look(self) -> float | None:
        """Do what is due now; returns the seconds until the next look, None for no more."""
        moment = self._moment()
        links: defaultdict[Node, list[NodeConnection]] = defaultdict(list)
        for link in wire.links():
            links[link.node].append(link)
        nodes = {node for cluster in clusters_met() for node in cluster.nodes}
        busy = False
        for cluster in clusters_met():
            if moment.now - cluster.used < ACTIVE:
                failback.consider(cluster)
        for node in nodes | links.keys():
            active = node in nodes and moment.now - node.cluster.used < ACTIVE
            busy |= self._monitor(node).look(moment, links[node], active=active) or active
        if not busy and not any(links.values()):
            return None
        self._meant = self._pause(links) if busy else IDLE_LOOK
        return self._meant

    def _look_and_tell(self) -> float | None:
        """Look at the nodes, and only then tell what was found, because a listener may be slow.

        By then every statement that waits for a dead node is freed.
        """
        self._held = []
        try:
            return self.look()
        finally:
            held, self._held = self._held, None
            for tell in held:
                try:
                    tell()
                except Exception:  # the others are to be told all the same
                    _report("tell what it has found")

    def hold(self, tell: Callable[[], None]) -> bool:
        """Keep what is to be told; returns True if this is its thread, and it is looking."""
        if self._held is None or threading.current_thread() is not self.thread:
            return False
        self._held.append(tell)
        return True

    def _moment(self) -> Moment:
        """Now; time in which the whole process stood still does not count as awake."""
        now = self._clock()
        self._awake += min(now - self._looked, 2 * self._meant)
        self._looked = now
        return Moment(now, self._awake, self._wall())

    def _monitor(self, node: Node) -> NodeMonitor:
        found = self._monitors.get(node)
        if found is None:
            found = self._monitors[node] = NodeMonitor(node)
        return found

    def _pause(self, links: dict[Node, list[NodeConnection]]) -> float:
        limits = (link.options.watchdog_after for some in links.values() for link in some)
        shortest = min((limit for limit in limits if limit), default=4 * LOOK)
        return max(0.02, min(LOOK, shortest / 4))

    def _run(self) -> None:
        while True:
            self._woken.clear()
            self._sleeps = True  # before looking: a connection made from here on wakes us
            try:
                pause = self._look_and_tell()
                for call in _after_looks:
                    call(pause is None)
            except Exception:  # the thread must live on
                _report("look after the connections")
                pause = ACTIVE
            self._sleeps = pause is None
            self._woken.wait(pause)


def _report(what: str) -> None:
    """Log the current exception; if the log raises too, call the hook for a thread's exceptions."""
    try:
        logger.exception("the watchdog has failed to %s", what)
    except Exception:
        thread = threading.current_thread()
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), thread)))


_watchdog: Watchdog | None = None
_after_looks: tuple[Callable[[bool], None], ...] = ()
_lock = threading.Lock()


def ensure() -> None:
    """Have a watchdog in this process, awake."""
    watchdog = _watchdog or _begin()
    if watchdog is not None:
        watchdog.wake()


def after_looks(*calls: Callable[[bool], None]) -> None:
    """Make the watchdog call ``calls``, and nothing else, after each of its many looks.

    They are called with True if it is the last one for a while.
    """
    global _after_looks
    _after_looks = calls


def _begin() -> Watchdog | None:
    global _watchdog
    with _lock:
        if _watchdog is None:
            watchdog = Watchdog()
            try:
                watchdog.start()
            except RuntimeError as error:  # the interpreter is ending, say
                logger.warning("no watchdog: a statement on a dead node may hang: %s", error)
            else:
                _watchdog = watchdog
        return _watchdog


def hold(tell: Callable[[], None]) -> bool:
    """Keep what the watchdog is about to tell until its look is done; False for other threads."""
    watchdog = _watchdog
    return watchdog is not None and watchdog.hold(tell)


def lives() -> bool:
    """Returns False if the watchdog has ended, which nothing but a fault can bring about."""
    thread = _watchdog.thread if _watchdog is not None else None
    return thread is None or thread.is_alive()


def install() -> None:
    """Have the first connection to a node start the watchdog."""
    wire.on_new = ensure


def _after_fork() -> None:
    """The parent's thread is not here; our own first connection starts another."""
    global _watchdog, _lock
    _watchdog = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)

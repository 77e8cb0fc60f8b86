"""When a node is asked, and what follows from its answer or silence; clocks of our own."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from MySQLdb import OperationalError

from galera_router.cluster import monitor as watchdog
from galera_router.cluster.distance import TRIPS, Distance
from galera_router.cluster.membership import membership
from galera_router.cluster.monitor import Moment, NodeMonitor
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.position import Position
from galera_router.cluster.probe import Answer
from galera_router.connections import connection as wire
from tests.unit.test_cluster import make


class Link:
    """A connection without one."""

    thread_id = 7

    def __init__(self, cluster: Cluster, busy: float = 0.0) -> None:
        self.node = cluster.nodes[0]
        self.options = cluster.config.options
        self.busy = busy
        self.until = 0.0
        self.spared = False
        self.overdue = False
        self.state: str | None = None
        self.heard: tuple[int, int] | None = (10, 10)
        self.trip: float | None = 0.0
        self.cuts = 0

    def silence(self) -> tuple[int, int] | None:
        return self.heard

    def round_trip(self) -> float | None:
        return self.trip

    def is_spared(self, now: float) -> bool:
        return self.spared

    def cut(self) -> None:
        self.cuts += 1
        self.busy = 0.0


class Ping:
    """A question that is answered when the test says so."""

    sent: list[Ping]
    ready = True
    extra = 0.0

    def __init__(self, node: Any, threads: Any, timeout: float) -> None:
        self.threads = list(threads)
        self.answer: Answer | None = None

    def start(self) -> None:
        self.sent.append(self)


class Scene:
    """One node, one connection, and time that passes in steps of a look."""

    def __init__(self, **options: float) -> None:
        self.cluster = make(OPTIONS=options)
        self.node = self.cluster.nodes[0]
        self.monitor = NodeMonitor(self.node)
        self.link = Link(self.cluster)
        self.links = [self.link]
        self.now = 1000.0
        self.asleep = 0.0
        self.active = False
        self.reply: Answer | None = None
        self.asked: list[float] = []

    def run(self, seconds: float) -> None:
        """Let time pass; each question is answered with ``reply`` before the next look."""
        end = self.now + seconds
        while self.now < end:
            self.look()

    def look(self) -> None:
        self.now += 0.125
        moment = Moment(self.now, self.now - self.asleep, 1_700_000_000.0 + self.now)
        before = len(Ping.sent)
        self.monitor.look(moment, self.links, active=self.active)  # type: ignore[arg-type]
        self.asked += [self.now] * (len(Ping.sent) - before)
        if self.reply is not None and Ping.sent:
            Ping.sent[-1].answer = self.reply


@pytest.fixture(autouse=True)
def pings(monkeypatch: pytest.MonkeyPatch) -> list[Ping]:
    Ping.sent = []
    monkeypatch.setattr(watchdog, "Ping", Ping)
    monkeypatch.setattr(watchdog, "ASK_WELL", 3.0)
    return Ping.sent


def refused(number: int) -> Answer:
    return Answer(error=OperationalError(number, "so it is"))


WELL = Answer(server="one", commands={7: "Query"})
IDLE = Answer(server="one", commands={7: "Sleep"})
GONE = Answer(server="one", commands={})


def test_nothing_is_asked_while_statements_are_short(pings: list[Ping]) -> None:
    scene = Scene()
    for _ in range(40):
        scene.link.busy = scene.now
        scene.look()
    assert pings == []


def test_silence_marks_the_node_down_before_the_statement_is_freed() -> None:
    scene = Scene()
    scene.link.busy = scene.now
    states: list[bool] = []
    scene.link.cut = lambda: states.append(scene.node.up)  # type: ignore[method-assign]
    scene.run(0.5 + 0.25 + 1.0)
    assert states == [False]


def test_the_limits_are_options() -> None:
    scene = Scene(watchdog_after=5, watchdog_timeout=3)
    scene.link.busy = scene.now
    scene.run(7.8)
    assert scene.link.cuts == 0
    scene.run(0.5)
    assert scene.link.cuts == 1


def test_zero_turns_it_off(pings: list[Ping]) -> None:
    scene = Scene(watchdog_after=0)
    scene.link.busy = scene.now
    scene.run(60)
    assert pings == []


@pytest.mark.parametrize("number", [1040, 1203, 1129, 1226, 1045])
def test_any_answer_means_that_it_lives(number: int) -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = refused(number)
    scene.run(60)
    assert scene.node.up
    assert scene.link.cuts == 0


def test_a_long_statement_is_asked_for_more_and_more_rarely(pings: list[Ping]) -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = WELL
    scene.run(600)
    assert scene.link.cuts == 0
    assert len(pings) <= 1.05 * 600 / watchdog.ASK_STILL  # the first ones come faster


def test_another_long_statement_is_asked_for_at_once(pings: list[Ping]) -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = WELL
    scene.run(60)
    before = len(pings)
    second = Link(scene.cluster, scene.now)
    scene.links.append(second)
    scene.run(1.0)
    assert len(pings) > before


def test_what_is_idle_is_ended_too_but_for_what_has_state() -> None:
    scene = Scene()
    idle, kept, newer = Link(scene.cluster), Link(scene.cluster), Link(scene.cluster)
    kept.state = "a temporary table"
    scene.links += [idle, kept, newer]
    scene.link.busy = scene.now
    scene.run(1.0)
    newer.busy = scene.now
    scene.run(1.0)
    assert [link.cuts for link in (scene.link, idle, kept, newer)] == [1, 1, 0, 0]


def test_a_node_that_answers_somebody_is_slow_not_dead() -> None:
    scene = Scene()
    other = Link(scene.cluster, scene.now)
    scene.links.append(other)
    scene.link.busy = scene.now
    scene.run(1.0)
    other.busy = scene.now  # the next statement: the last has been answered
    scene.run(0.75)
    assert scene.node.up
    assert scene.link.cuts == 0


@pytest.mark.parametrize("number", [None, 2002, 2013])
def test_a_process_that_stood_still_blames_nobody(number: int | None) -> None:
    """The driver's limits have passed meanwhile, and ours by the clock."""
    scene = Scene()
    scene.link.busy = scene.now
    scene.run(0.75)
    scene.now += 60
    scene.asleep += 60
    Ping.sent[-1].answer = refused(number) if number else None
    scene.run(0.25)
    assert scene.node.up
    assert scene.link.cuts == 0


def test_one_lost_question_proves_nothing_two_do() -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.run(0.75)
    Ping.sent[-1].answer = refused(2013)
    scene.look()
    assert (scene.node.up, len(Ping.sent)) == (True, 2)
    Ping.sent[-1].answer = refused(2013)
    scene.look()
    assert not scene.node.up
    assert scene.link.cuts == 1


def test_a_closed_port_proves_it() -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = refused(2003)
    scene.run(0.9)
    assert not scene.node.up
    assert scene.link.cuts == 1


def test_a_server_that_shuts_down_ends_its_statements_itself() -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = refused(1053)
    scene.run(2.0)
    assert not scene.node.up
    assert scene.link.cuts == 0


def test_a_node_out_of_the_cluster_is_given_time_to_end_a_statement() -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = refused(1047)
    scene.run(1.0)
    assert not scene.node.up
    scene.run(watchdog.OUT_PATIENCE - 0.5)
    assert scene.link.cuts == 0
    scene.run(watchdog.ASK_STILL + 0.5)
    assert scene.link.cuts == 1


@pytest.mark.parametrize("answer", [IDLE, GONE])
def test_a_statement_that_the_server_does_not_know_of_is_freed(answer: Answer) -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = answer
    scene.run(0.875)
    assert scene.link.cuts == 0, "not at the first look"
    scene.run(1.0)
    assert scene.link.cuts == 1
    assert scene.node.up


def test_another_statement_is_another_matter() -> None:
    scene = Scene()
    scene.reply = IDLE
    for _ in range(10):
        scene.link.busy = scene.now
        scene.run(0.875)  # asked once for each
    assert scene.link.cuts == 0


def test_an_answer_that_is_on_its_way_is_no_lost_one() -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.link.heard = None  # the server has spoken last
    scene.reply = IDLE
    scene.run(30)
    assert scene.link.cuts == 0


def test_a_statement_that_is_on_its_way_is_no_lost_one() -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = IDLE
    for taken in range(240):
        scene.link.heard = (taken, 10)
        scene.look()
    assert scene.link.cuts == 0


@pytest.mark.parametrize(
    "answer", [Answer(server="one"), Answer(commands={}), Answer(server="another", commands={})]
)
def test_threads_mean_nothing_where_the_server_is_not_certain(answer: Answer) -> None:
    """Behind a proxy that balances loads, each connection may end at another server."""
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = WELL
    scene.run(1.0)
    scene.reply = answer
    scene.run(10.0)
    assert scene.link.cuts == 0


LOCK = "Waiting for backup lock"


def locked(state: str = LOCK, **said: Any) -> Answer:
    """The server answers, and the statement waits."""
    return Answer(server="one", synced=False, commands={7: "Query"}, states={7: state}, **said)


@pytest.mark.parametrize("state", [LOCK, "Waiting for certification"])
def test_a_statement_that_a_backup_holds_is_freed(state: str) -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = locked(state)
    scene.run(0.875)
    assert scene.link.cuts == 0, "the lock may be one of a moment"
    states: list[bool] = []
    scene.link.cut = lambda: states.append(scene.node.fit)  # type: ignore[method-assign]
    scene.run(2.0)
    assert states[:1] == [False], "it must not be sent there again"


@pytest.mark.parametrize(
    "answer",
    [
        locked("Waiting for table metadata lock"),
        locked(""),
        Answer(server="one", commands={7: "Query"}, states={7: "Waiting for certification"}),
    ],
)
def test_other_waits_are_left_alone(answer: Answer) -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = answer
    scene.run(30)
    assert scene.link.cuts == 0


def test_what_cannot_go_elsewhere_waits_for_the_backup() -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.link.state = "a temporary table"
    scene.reply = locked()
    scene.run(30)
    assert scene.link.cuts == 0


def test_where_no_other_node_is_well_statements_wait_for_the_backup() -> None:
    scene = Scene()
    for node in scene.cluster.nodes[1:]:
        scene.cluster.mark_down(node, OperationalError(2003, "down"))
    scene.link.busy = scene.now
    scene.reply = locked()
    scene.run(30)
    assert scene.link.cuts == 0


def test_each_statement_is_given_its_own_time_under_a_backup() -> None:
    scene = Scene()
    scene.reply = locked()
    for _ in range(10):
        scene.link.busy = scene.now
        scene.run(0.875)  # asked once for each
    assert scene.link.cuts == 0


# --- the way there ------------------------------------------------------------------------


@pytest.mark.parametrize("trip", [None, 0.0, 0.0002])
def test_a_node_nearby_is_given_no_more_than_its_limit(trip: float | None) -> None:
    scene = Scene()
    scene.link.trip = trip
    scene.link.busy = scene.now
    scene.run(0.5 + 0.25 + 1.0)
    assert scene.link.cuts == 1


@pytest.mark.parametrize("answered", [True, False])
def test_a_node_far_away_is_given_the_time_of_the_way(answered: bool) -> None:
    """Known from its answers, or from the connection on which a statement waits."""
    scene = Scene()
    if answered:
        scene.node.distance.note(0.2)
    else:
        scene.link.trip = 0.2
    scene.link.busy = scene.now
    scene.run(0.5 + 1.0 + TRIPS * 0.2 - 0.25)
    assert scene.link.cuts == 0
    scene.run(0.75)
    assert scene.link.cuts == 1


def test_a_node_to_which_there_is_no_connection_is_given_some_time() -> None:
    scene = Scene()
    scene.links, scene.active = [], True
    scene.run(1.5)
    assert scene.node.up
    scene.run(1.0 + TRIPS * 0.25)
    assert not scene.node.up


def test_the_quickest_of_the_last_answers_counts_and_not_for_ever() -> None:
    distance = Distance()
    for seconds in (0.3, 0.001, 0.4):
        distance.note(seconds)
    assert distance.round_trip() == 0.001
    for _ in range(4):
        distance.note(0.3)
    assert distance.round_trip() == 0.3
    for _ in range(4):
        distance.note(30.0)
    assert distance.allowance() <= 5.0, "nobody is that far away"


def test_a_name_is_looked_up_before_the_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ping, "ready", False)
    scene = Scene()
    scene.link.busy = scene.now
    scene.run(30)
    assert (scene.node.up, scene.link.cuts, len(Ping.sent)) == (True, 0, 1)
    Ping.sent[-1].ready = True
    scene.run(0.75)
    assert scene.link.cuts == 0
    scene.run(0.5)
    assert (scene.node.up, scene.link.cuts) == (False, 1)


def test_a_name_that_the_driver_looks_up_again_is_given_that_time_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Ping, "extra", 5.0)
    monkeypatch.setattr(Ping, "ready", False)
    scene = Scene()
    scene.link.busy = scene.now
    scene.run(1.0)
    Ping.sent[-1].ready = True
    scene.run(5.5)
    assert scene.link.cuts == 0
    scene.run(1.0)
    assert scene.link.cuts == 1


def test_a_name_that_is_gone_proves_it() -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = refused(2005)
    scene.run(0.9)
    assert not scene.node.up
    assert scene.link.cuts == 1


@pytest.mark.parametrize("number", [2001, 2004])
def test_sockets_that_this_process_lacks_prove_nothing(number: int) -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.reply = refused(number)
    scene.run(10)
    assert scene.node.up
    assert scene.link.cuts == 0


# --- health -------------------------------------------------------------------------------


def test_a_well_node_is_asked_now_and_then_while_the_cluster_is_in_use(pings: list[Ping]) -> None:
    scene = Scene()
    scene.reply = WELL
    scene.run(30)
    assert pings == []
    scene.active = True
    scene.run(30)
    assert 9 <= len(pings) <= 11


def test_a_node_that_is_down_is_asked_each_second_and_later_less_often(pings: list[Ping]) -> None:
    scene = Scene()
    scene.active = True
    scene.cluster.mark_down(scene.node, OperationalError(2003, "down"))
    scene.reply = refused(2003)
    scene.run(30)
    assert 28 <= len(pings) <= 31
    scene.run(60)
    before = len(pings)
    scene.run(30)
    assert 9 <= len(pings) - before <= 11


def test_a_refused_password_is_not_asked_for_all_the_time(pings: list[Ping]) -> None:
    scene = Scene()
    scene.active = True
    scene.cluster.mark_down(scene.node, OperationalError(1045, "denied"))
    scene.reply = refused(1045)
    scene.run(120)
    assert len(pings) <= 5


def test_an_answer_comes_too_late_for_what_was_met_meanwhile(pings: list[Ping]) -> None:
    scene = Scene()
    scene.active = True
    scene.look()
    scene.cluster.mark_down(scene.node, OperationalError(2013, "killed"))
    pings[-1].answer = WELL
    scene.look()
    assert not scene.node.up
    scene.reply = WELL
    scene.run(1.25)
    assert scene.node.up


def test_while_one_node_lags_the_others_are_asked_each_second_too(pings: list[Ping]) -> None:
    scene = Scene()
    scene.active = True
    scene.reply = WELL
    scene.cluster.nodes[1].lag = watchdog.ASK_WELL
    scene.run(30)
    assert 28 <= len(pings) <= 31


def test_what_an_answer_tells_is_noted() -> None:
    scene = Scene()
    scene.active = True
    scene.reply = Answer(server="one", read_only=True, position=Position("c", 7, "n"))
    scene.run(4)
    assert not scene.node.writable
    assert scene.node.track.beyond(Position("c", 6, "m")) is not None


@pytest.mark.parametrize("number", [1040, 1203])
def test_a_full_node_is_no_primary(number: int) -> None:
    scene = Scene()
    scene.active = True
    scene.reply = refused(number)
    scene.run(6)
    assert scene.node.up
    assert not scene.node.writable


@pytest.mark.parametrize("phase", [0.0, 0.05, 0.1])
def test_processes_ask_in_the_same_second(phase: float) -> None:
    """Else they would not take a node back at the same moment."""
    scene = Scene()
    scene.active = True
    scene.now += 0.4 + phase
    scene.cluster.mark_down(scene.node, OperationalError(1047, "out"))
    scene.reply = refused(1047)
    scene.run(20)
    assert len(scene.asked) == 21
    assert all(moment % 1 < 0.125 for moment in scene.asked[1:])


# --- the thread ---------------------------------------------------------------------------


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "links", list)
    monkeypatch.setattr(watchdog, "clusters_met", list)


def test_it_does_not_look_again_without_connections(no_links: None) -> None:
    assert watchdog.Watchdog().look() is None


def test_it_looks_seldom_at_idle_connections_and_often_at_busy_ones(
    no_links: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = Link(make())
    monkeypatch.setattr(wire, "links", lambda: [link])
    dog = watchdog.Watchdog(clock=lambda: 1000.0)
    assert dog.look() == watchdog.IDLE_LOOK
    link.busy = 999.9
    assert dog.look() == watchdog.LOOK


def test_a_new_connection_wakes_it(no_links: None) -> None:
    dog = watchdog.Watchdog()
    looked = threading.Semaphore(0)
    # For good: its thread lives on, and would else look after the connections of other tests.
    dog.look = looked.release  # type: ignore[method-assign]
    dog.start()
    assert looked.acquire(timeout=5)
    assert not looked.acquire(timeout=0.3), "it sleeps"
    dog.wake()
    assert looked.acquire(timeout=5)


def test_it_survives_its_own_errors(
    no_links: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "ACTIVE", 0.01)
    dog = watchdog.Watchdog()
    looked = threading.Semaphore(0)
    failures = [ZeroDivisionError()]

    def look() -> None:
        looked.release()
        if failures:
            raise failures.pop()

    dog.look = look  # type: ignore[method-assign]
    dog.start()
    for _ in range(2):
        assert looked.acquire(timeout=5)
    assert "has failed" in caplog.text


def test_what_cannot_be_told_keeps_nothing_else_from_being_told(
    no_links: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "ACTIVE", 60.0)  # as after a look that has failed
    dog = watchdog.Watchdog()
    told = threading.Semaphore(0)

    def fail() -> None:
        raise LookupError

    def look() -> float:
        assert dog.hold(fail)
        assert dog.hold(told.release)
        return 0.01

    dog.look = look  # type: ignore[method-assign]
    dog.start()
    try:
        for _ in range(2):
            assert told.acquire(timeout=5)
    finally:
        dog.look = lambda: None  # type: ignore[method-assign]
    assert "failed to tell" in caplog.text


def test_it_survives_a_log_that_raises(no_links: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "ACTIVE", 0.01)
    dog = watchdog.Watchdog()
    looked, told = threading.Semaphore(0), list[type[BaseException]]()
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))

    def filter_(record: logging.LogRecord) -> bool:
        raise LookupError

    def look() -> None:
        looked.release()
        raise ZeroDivisionError

    dog.look = look  # type: ignore[method-assign]
    log = logging.getLogger("galera_router")
    log.addFilter(filter_)
    try:
        dog.start()
        for _ in range(2):
            assert looked.acquire(timeout=5)
    finally:
        log.removeFilter(filter_)
        dog.look = lambda: None  # type: ignore[method-assign]
    assert LookupError in told


def test_a_thread_that_cannot_be_had_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(watchdog, "_watchdog", None)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    watchdog.ensure()
    assert "can't start new thread" in caplog.text


def test_a_wait_for_the_applier_is_ended_when_its_time_is_over() -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.link.until = scene.now + 0.3
    scene.run(0.25)
    assert scene.link.cuts == 0
    scene.run(0.25)
    assert scene.link.cuts == 1
    assert scene.link.overdue
    assert scene.node.up, "it is late, not dead"


def test_a_wait_for_a_primary_is_ended_when_another_one_is_back() -> None:
    scene = Scene()
    scene.link.busy = scene.now
    scene.link.until = scene.now + 30
    scene.reply = WELL
    scene.run(1)
    assert scene.link.cuts == 0
    scene.link.spared = True
    scene.run(0.5)
    assert scene.link.cuts == 1
    assert scene.link.overdue


def test_a_statement_whose_wait_is_over_is_left_alone() -> None:
    """Also an idle connection on which a wait was noted."""
    scene = Scene()
    scene.link.busy = scene.now
    scene.link.until = 0.0
    scene.reply = WELL
    scene.run(3)
    scene.link.busy, scene.link.until = 0.0, scene.now - 1
    scene.run(3)
    assert scene.link.cuts == 0
    assert not scene.link.overdue


def test_what_a_node_says_of_its_position_is_kept() -> None:
    scene = Scene()
    scene.active = True
    scene.reply = Answer(server="one", position=Position("c", 7, "n"))
    scene.run(7)
    assert scene.node.position == Position("c", 7, "n")


def test_a_node_that_is_in_another_cluster_is_down_and_what_is_kept_to_it_ended() -> None:
    scene = Scene()
    scene.active = True
    known = membership(scene.cluster)
    for node in scene.cluster.nodes:
        known.hear(node, "ours")
    scene.reply = Answer(server="one", cluster_id="ours")
    scene.run(10)
    assert scene.node.up
    assert scene.link.cuts == 0
    scene.reply = Answer(server="one", cluster_id="theirs")
    scene.run(10)
    assert [node.up for node in scene.cluster.nodes] == [False, True, True]
    assert "another cluster" in scene.node.reason
    assert scene.link.cuts == 1
    scene.reply = Answer(server="one", cluster_id="ours")
    scene.run(10)
    assert all(node.up for node in scene.cluster.nodes)

"""The choice of nodes, with a clock and a die of our own."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from galera_router.cluster import nodes as module
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.position import Position
from galera_router.conf import cluster_config, expand


class Clock:
    """Both clocks: the one that never goes back, and the time of day."""

    now = 1000.0
    ahead = 1_700_000_000.0  # of the time of day; a multiple of the slots

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.ahead


def make(clock: Clock | None = None, **overrides: object) -> Cluster:
    clock = clock or Clock()
    databases = expand(
        {
            "default": {
                "ENGINE": "django.db.backends.mysql",
                "NAME": "x",
                "NODES": {f"db{n}": {"HOST": f"10.0.0.{n}"} for n in (1, 2, 3)},
                **overrides,
            }
        }
    )
    config = cluster_config(databases["default"])
    assert config is not None
    return Cluster(config, clock, random.Random(1), clock.wall)


LOST = OSError(2013, "lost")


def readers(cluster: Cluster) -> set[str]:
    """The names of all nodes that are chosen to read from."""
    return {node.name for node in (cluster.reader() for _ in range(50)) if node is not None}


def test_the_first_node_is_primary_and_is_not_read_from() -> None:
    cluster = make()
    primary = cluster.primary()
    assert primary is not None
    assert primary.name == "db1"
    assert readers(cluster) == {"db2", "db3"}


def test_the_host_is_preferred_until_it_is_down() -> None:
    cluster = make(HOST="10.0.0.3")
    assert readers(cluster) == {"db3"}
    cluster.mark_down(cluster.nodes[2], LOST)
    assert readers(cluster) == {"db2"}


def test_a_host_that_is_no_member_is_read_from_but_never_primary() -> None:
    cluster = make(HOST="/run/mysqld/mysqld.sock")
    reader = cluster.reader()
    assert reader is not None
    assert reader.alias == "default_host"
    for node in cluster.nodes[:3]:
        cluster.mark_down(node, LOST)
    assert cluster.primary() is None


@pytest.mark.parametrize("change", ["down", "lags", "primary", "drained"])
def test_a_choice_does_not_outlive_what_it_was_made_by(change: str) -> None:
    """It is made anew at once, though the same one would else be made for a moment."""
    clock = Clock()
    cluster = make(clock)
    chosen = cluster.reader()
    assert chosen is not None
    if change == "down":
        lose(cluster, chosen)
    elif change == "lags":
        cluster.note_lag(chosen)
    elif change == "primary":
        cluster.epochs.leader = chosen
    else:
        cluster.epochs.drained = frozenset({chosen})
    assert all(cluster.reader() is not chosen for _ in range(20))


def test_the_primary_is_read_from_when_nothing_else_is_left() -> None:
    cluster = make()
    for node in cluster.nodes[1:]:
        cluster.mark_down(node, LOST)
    reader = cluster.reader()
    assert reader is not None
    assert reader.name == "db1"


def test_one_caller_at_a_time_tries_a_node_that_is_down() -> None:
    clock = Clock()
    cluster = make(clock)
    for node in cluster.nodes:
        cluster.mark_down(node, LOST)
    assert cluster.primary() is None
    clock.now += module.LONGEST_PAUSE
    assert cluster.primary() is cluster.nodes[0]
    assert cluster.primary() is cluster.nodes[1]
    assert cluster.primary() is cluster.nodes[2]
    assert cluster.primary() is None


def test_the_pauses_grow_up_to_a_bound() -> None:
    cluster = make()
    node = cluster.nodes[0]
    pauses = []
    for _ in range(12):
        cluster.mark_down(node, LOST)
        pauses.append(node.retry_at - Clock.now)
    assert pauses[0] <= 2 * module.FIRST_PAUSE
    assert module.LONGEST_PAUSE / 2 <= pauses[-1] <= module.LONGEST_PAUSE


def test_waiting_is_hopeless_only_where_every_node_refuses() -> None:
    cluster = make()
    denied = OSError(1045, "Access denied")
    for node in cluster.nodes:
        assert not cluster.hopeless(electable=True)
        cluster.mark_down(node, denied)
    assert cluster.hopeless(electable=True)
    assert "db2: " in cluster.complaints(electable=True)


@pytest.mark.parametrize("electable", [True, False])
def test_the_nodes_that_are_down_are_tried_in_turn(electable: bool) -> None:
    cluster = make()
    for node in cluster.nodes:
        cluster.mark_down(node, LOST)
    tried = {cluster.any_down(electable=electable).name for _ in range(30)}
    assert tried == {"db1", "db2", "db3"}


# --- coming back --------------------------------------------------------------------------


def answer(cluster: Cluster, node: Node, clock: Clock, **said: object) -> None:
    """The watchdog has asked ``node`` now, whose server has been running for an hour."""
    told: dict[str, Any] = {"synced": True, "started": clock.wall() - 3600, **said}
    cluster.mark_answered(node, at=math.floor(clock.wall()), **told)


def lose(cluster: Cluster, node: Node) -> None:
    cluster.mark_down(node, LOST)


def name_of_primary(cluster: Cluster) -> str:
    node = cluster.primary()
    assert node is not None
    return node.name


def seconds_until(cluster: Cluster, clock: Clock, name: str, limit: float = 400) -> float:
    """How long it takes until ``name`` is primary, everybody being asked each second."""
    began = clock.now
    while name_of_primary(cluster) != name:
        assert clock.now - began < limit, "never"
        clock.now += 0.25
        if clock.now % 1 == 0:
            for node in cluster.nodes:
                if node.up:
                    answer(cluster, node, clock)
    return clock.now - began


def test_a_node_that_came_back_is_primary_from_a_slot_on() -> None:
    clock = Clock()
    cluster = make(clock)
    first = cluster.nodes[0]
    lose(cluster, first)
    assert name_of_primary(cluster) == "db2"
    clock.now += 1.5  # 1001.5: the slots are at 1005, 1010, ...
    answer(cluster, first, clock)
    assert name_of_primary(cluster) == "db2"
    clock.now = 1009.75  # it has been well for more than the delay
    assert name_of_primary(cluster) == "db2"
    clock.now = 1010.0
    assert name_of_primary(cluster) == "db1"


@pytest.mark.parametrize("later", [0.0, 0.3, 0.9])
def test_processes_that_ask_in_the_same_second_switch_at_the_same_moment(later: float) -> None:
    """1005.0 + 5 is a slot, 1005.9 + 5 is after it: the second at which they ask counts."""
    clocks = Clock(), Clock()
    clusters = [make(clock) for clock in clocks]
    for cluster, clock in zip(clusters, clocks, strict=True):
        clock.now = 1004.0
        lose(cluster, cluster.nodes[0])
        clock.now = 1005.0
    clocks[1].now += later
    for cluster, clock in zip(clusters, clocks, strict=True):
        answer(cluster, cluster.nodes[0], clock)
        assert cluster.nodes[0].settled_at == Clock.ahead + 1010.0


def test_a_node_that_comes_and_goes_is_not_primary_in_between() -> None:
    clock = Clock()
    cluster = make(clock)
    first = cluster.nodes[0]
    for _ in range(20):
        lose(cluster, first)
        for _ in range(6):
            clock.now += 0.5
            assert name_of_primary(cluster) == "db2"
        answer(cluster, first, clock)
        for _ in range(6):
            clock.now += 0.5
            assert name_of_primary(cluster) == "db2"


def test_each_loss_doubles_the_delay_up_to_a_bound_and_is_forgotten() -> None:
    clock = Clock()
    cluster = make(clock)
    first = cluster.nodes[0]
    delays = []
    for _ in range(8):
        lose(cluster, first)
        clock.now += 1.0
        answer(cluster, first, clock)
        delays.append(first.settled_at - clock.wall())
        clock.now += 1.0
    for delay, least in zip(delays, (5, 10, 20, 40, 80, 120, 120, 120), strict=True):
        assert least <= delay < least + module.FAILBACK_SLOT
    seconds_until(cluster, clock, "db1")
    clock.now += module.LOSSES_KEPT
    for node in cluster.nodes:
        answer(cluster, node, clock)
    lose(cluster, first)
    clock.now += 1.0
    answer(cluster, first, clock)
    assert seconds_until(cluster, clock, "db1") <= 10.0


def test_after_the_loss_of_all_the_first_to_settle_is_primary_and_no_other_in_between() -> None:
    clock = Clock()
    cluster = make(clock)
    clock.now = 1003.0
    for node in cluster.nodes:
        lose(cluster, node)
    clock.now = 1004.0
    answer(cluster, cluster.nodes[1], clock)
    assert name_of_primary(cluster) == "db2"
    clock.now = 1006.0
    answer(cluster, cluster.nodes[0], clock)
    primaries = []
    while clock.now < 1030.0:
        primaries.append(name_of_primary(cluster))
        clock.now += 0.5
    assert sorted(primaries, reverse=True) == primaries
    assert set(primaries) == {"db1", "db2"}


def test_a_process_that_has_just_begun_takes_a_young_server_as_not_settled() -> None:
    clock = Clock()
    cluster = make(clock)
    assert name_of_primary(cluster) == "db1", "before anything is known"
    for node, age in zip(cluster.nodes, (4.0, 3600.0, 3600.0), strict=True):
        answer(cluster, node, clock, started=clock.wall() - age)
    assert name_of_primary(cluster) == "db2"
    assert seconds_until(cluster, clock, "db1") in {15.0, 11.0, 14.0}


def test_a_cluster_as_young_as_the_process_has_its_first_node_as_primary() -> None:
    clock = Clock()
    cluster = make(clock)
    for node in cluster.nodes:
        answer(cluster, node, clock, started=clock.wall() - 3.0)
    assert name_of_primary(cluster) == "db1"


def test_a_restart_that_nobody_here_saw_counts() -> None:
    clock = Clock()
    cluster = make(clock)
    for node in cluster.nodes:
        answer(cluster, node, clock)
    clock.now += 600  # idle
    answer(cluster, cluster.nodes[0], clock, started=clock.wall() - 4.0)
    assert name_of_primary(cluster) == "db2"


def test_a_return_that_nobody_here_saw_is_over_for_the_others() -> None:
    clock = Clock()
    cluster = make(clock)
    lose(cluster, cluster.nodes[0])
    clock.now += 600
    answer(cluster, cluster.nodes[0], clock, started=clock.wall() - 300.0)
    assert name_of_primary(cluster) == "db1"


def test_a_clock_that_is_set_back_does_not_unsettle_a_node() -> None:
    clock = Clock()
    cluster = make(clock)
    lose(cluster, cluster.nodes[0])
    clock.now += 1.0
    answer(cluster, cluster.nodes[0], clock)
    clock.now += 10.0
    assert name_of_primary(cluster) == "db1"
    clock.ahead -= 3600.0
    assert name_of_primary(cluster) == "db1"


def test_a_clock_that_is_set_back_meanwhile_does_not_exclude_a_node_for_hours() -> None:
    clock = Clock()
    cluster = make(clock)
    lose(cluster, cluster.nodes[0])
    clock.now += 1.0
    answer(cluster, cluster.nodes[0], clock)
    clock.ahead -= 3600.0
    assert name_of_primary(cluster) == "db1"


# --- in step ------------------------------------------------------------------------------


def test_a_node_out_of_step_is_avoided_when_it_is_so_twice() -> None:
    clock = Clock()
    cluster = make(clock)
    first = cluster.nodes[0]
    for _ in range(2):
        assert name_of_primary(cluster) == "db1"
        answer(cluster, first, clock, synced=False)
        clock.now += 1.0
    assert name_of_primary(cluster) == "db2"
    assert readers(cluster) == {"db3"}
    answer(cluster, first, clock)
    assert readers(cluster) == {"db1", "db3"}
    assert name_of_primary(cluster) == "db2", "it has to settle"


def test_nodes_out_of_step_are_used_where_there_are_no_others() -> None:
    clock = Clock()
    cluster = make(clock)
    for node in cluster.nodes:
        for _ in range(2):
            answer(cluster, node, clock, synced=False)
    assert name_of_primary(cluster) == "db1"
    assert readers(cluster) == {"db2", "db3"}


def test_a_node_that_comes_back_out_of_step_waits_for_that() -> None:
    clock = Clock()
    cluster = make(clock)
    first = cluster.nodes[0]
    lose(cluster, first)
    answer(cluster, first, clock, synced=False)
    clock.now += 60.0
    answer(cluster, first, clock, synced=False)
    assert first.up
    assert name_of_primary(cluster) == "db2"


def test_what_works_on_an_old_connection_says_nothing_of_a_node_that_is_down() -> None:
    cluster = make()
    first = cluster.nodes[0]
    lose(cluster, first)
    cluster.mark_up(first)
    assert not first.up
    for node in cluster.nodes[1:]:
        lose(cluster, node)
    tried = cluster.any_down(electable=True)
    cluster.mark_up(tried)
    assert tried.up


def test_a_choice_is_noted_as_use() -> None:
    clock = Clock()
    cluster = make(clock)
    assert cluster.used < clock.now
    cluster.reader()
    assert cluster.used == clock.now


def where(node: Node) -> Position | None:
    return node.position


def test_a_position_only_goes_on() -> None:
    cluster = make()
    node = cluster.nodes[1]
    cluster.note_position(node, None)
    assert where(node) is None
    cluster.note_position(node, Position("c", 5, "n"))
    cluster.note_position(node, Position("c", 3))
    assert where(node) == Position("c", 5, "n")
    cluster.note_position(node, Position("c", 6))
    assert where(node) == Position("c", 6, "n"), "which server it is stays known"
    cluster.note_position(node, Position("c", 2, "m"))
    assert where(node) == Position("c", 2, "m"), "it has been started anew"
    cluster.note_position(node, Position("d", 1))
    assert where(node) == Position("d", 1), "the cluster has been rebuilt"
    cluster.mark_down(node, LOST)
    assert where(node) is None


def test_a_node_that_lags_is_not_read_from_for_a_while() -> None:
    clock = Clock()
    cluster = make(clock)
    cluster.note_lag(cluster.nodes[1])
    assert readers(cluster) == {"db3"}
    assert cluster.lags(cluster.nodes[1])
    cluster.note_lag(cluster.nodes[2])
    assert readers(cluster) == {"db2", "db3"}, "the primary is still left alone"
    clock.now += module.LAG_REMEMBERED
    assert not cluster.lags(cluster.nodes[1])


def test_whether_there_is_another_secondary() -> None:
    cluster = make()
    db1, db2, db3 = cluster.nodes
    assert cluster.others(db2, ())
    assert not cluster.others(db2, {db3})
    assert cluster.others(db1, {db3})
    cluster.mark_down(db3, LOST)
    assert not cluster.others(db2, ())


# --- behind -------------------------------------------------------------------------------


def tell(cluster: Cluster, clock: Clock, *seqnos: int | None, **said: object) -> None:
    """The nodes are asked one after the other and tell these positions; None is not asked."""
    for node, seqno in zip(cluster.nodes, seqnos, strict=True):
        if seqno is not None:
            answer(cluster, node, clock, position=Position("c", seqno, node.name), **said)


def stall(cluster: Cluster, clock: Clock, name: str, seconds: float) -> None:
    """The others go on, ``name`` does not; all are asked each second."""
    stands_still = cluster.node(f"default_{name}")
    for _ in range(int(seconds)):
        clock.now += 1.0
        seqno = int(clock.now)
        tell(cluster, clock, *(1 if node is stands_still else seqno for node in cluster.nodes))


def test_a_secondary_that_stands_still_is_not_read_from_after_a_while() -> None:
    clock = Clock()
    cluster = make(clock)
    stall(cluster, clock, "db2", 10)
    assert readers(cluster) == {"db2", "db3"}
    stall(cluster, clock, "db2", 2)
    assert readers(cluster) == {"db3"}
    cluster.mark_down(cluster.nodes[2], LOST)
    assert readers(cluster) == {"db1"}, "the primary has what is read"
    cluster.mark_down(cluster.nodes[0], LOST)
    assert readers(cluster) == {"db2"}, "old is better than nothing"


@pytest.mark.parametrize("limit", [None, 0])
def test_without_a_limit_it_is_read_from_for_ever(limit: float | None) -> None:
    clock = Clock()
    cluster = make(clock, OPTIONS={"max_lag": limit})
    stall(cluster, clock, "db2", 3600)
    assert readers(cluster) == {"db2", "db3"}


def test_a_node_that_stands_still_does_not_become_the_primary() -> None:
    clock = Clock()
    cluster = make(clock)
    stall(cluster, clock, "db2", 12)
    lose(cluster, cluster.nodes[0])
    assert name_of_primary(cluster) == "db3"
    lose(cluster, cluster.nodes[2])
    assert name_of_primary(cluster) == "db2"


def test_it_is_used_again_when_it_has_caught_up(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    cluster = make(clock)
    stall(cluster, clock, "db2", 60)
    clock.now += 1.0
    tell(cluster, clock, 1061, 1030, 1061)
    assert readers(cluster) == {"db3"}
    clock.now += 1.0
    tell(cluster, clock, 1062, 1060, 1062)
    assert readers(cluster) == {"db2", "db3"}
    assert [record.getMessage() for record in caplog.records] == [
        "default: node db2 lags by 11.0 s",
        "default: node db2 has caught up",
    ]


def test_a_lag_near_the_limit_is_not_told_all_the_time(caplog: pytest.LogCaptureFixture) -> None:
    """The node is 9 to 11 s behind for an hour, in turns."""
    clock = Clock()
    cluster = make(clock)
    for second in range(3600):
        clock.now += 1.0
        lag = 10 + second % 3
        tell(cluster, clock, 100 + second, max(1, 100 + second - lag), 100 + second)
    assert len([message for message in caplog.messages if "lags by" in message]) == 1


def test_a_new_primary_that_has_not_caught_up_is_passed_by_until_it_has() -> None:
    """Nobody knew where the others were; what they had before does not count."""
    clock = Clock()
    cluster = make(clock)
    second = cluster.nodes[1]
    lose(cluster, cluster.nodes[0])
    assert name_of_primary(cluster) == "db2"
    cluster.mark_behind(second, 1.0)
    for _ in range(5):
        clock.now += 1.0
        tell(cluster, clock, None, 7, None)
        assert name_of_primary(cluster) == "db3"
    for _ in range(100):
        clock.now += 1.0
        tell(cluster, clock, None, 7, 8)
        assert name_of_primary(cluster) == "db3"
    tell(cluster, clock, None, 8, 8)
    assert readers(cluster) == {"db2"}
    assert seconds_until(cluster, clock, "db2") <= 10.0, "when it has settled"


def test_a_node_that_lags_alone_is_not_asked_for_proof() -> None:
    clock = Clock()
    cluster = make(clock)
    cluster.mark_behind(cluster.nodes[1], 1.0)
    for node in (cluster.nodes[0], cluster.nodes[2]):
        lose(cluster, node)
    tell(cluster, clock, None, 7, None)
    assert not cluster.nodes[1].behind


def test_all_are_asked_often_while_one_lags() -> None:
    clock = Clock()
    cluster = make(clock)
    before = cluster.watchful
    stall(cluster, clock, "db2", 3)
    assert (before, cluster.watchful) == (False, True)
    assert cluster.nodes[1].doubtful


# --- what takes no writes -----------------------------------------------------------------


def test_a_read_only_node_is_no_primary_while_another_one_takes_writes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    cluster = make(clock)
    first = cluster.nodes[0]
    for _ in range(3):
        answer(cluster, first, clock, read_only=True)
        clock.now += 1.0
    assert name_of_primary(cluster) == "db2"
    assert readers(cluster) == {"db1", "db3"}
    answer(cluster, first, clock)
    assert name_of_primary(cluster) == "db2", "it has to settle"
    assert seconds_until(cluster, clock, "db1") <= 10.0
    assert [record.getMessage() for record in caplog.records] == [
        "default: node db1 is read-only",
        "default: node db1 takes writes again",
    ]


def test_where_all_are_read_only_the_first_one_stays() -> None:
    """Whoever may write there, may write there."""
    clock = Clock()
    cluster = make(clock)
    tell(cluster, clock, 1, 1, 1, read_only=True)
    assert name_of_primary(cluster) == "db1"


def test_of_three_evils_it_is_the_one_that_can_be_written_to_soonest() -> None:
    clock = Clock()
    cluster = make(clock)
    stall(cluster, clock, "db2", 12)
    answer(cluster, cluster.nodes[0], clock, read_only=True)
    for _ in range(2):
        answer(cluster, cluster.nodes[2], clock, synced=False)
    assert name_of_primary(cluster) == "db3", "out of step"
    lose(cluster, cluster.nodes[2])
    assert name_of_primary(cluster) == "db2", "behind"


def test_a_refusal_is_believed_for_a_while_whatever_is_answered() -> None:
    """A full disk shows in no answer."""
    clock = Clock()
    cluster = make(clock)
    first = cluster.nodes[0]
    cluster.mark_refusing(first, module.DISK_FULL, LOST)
    answer(cluster, first, clock)
    assert name_of_primary(cluster) == "db2"
    clock.now += module.REFUSAL_KEPT
    answer(cluster, first, clock)
    assert seconds_until(cluster, clock, "db1") <= 10.0


READ_ONLY_OPTION = OSError(1290, "The MariaDB server is running with the --read-only option")
READ_ONLY_MODE = OSError(1836, "Running in read-only mode")


@pytest.mark.parametrize(("error", "kept"), [(READ_ONLY_OPTION, False), (READ_ONLY_MODE, True)])
def test_an_option_is_believed_as_the_server_shows_it(error: OSError, kept: bool) -> None:
    clock = Clock()
    cluster = make(clock)
    first = cluster.nodes[0]
    cluster.mark_refusing(first, module.READ_ONLY, error)
    answer(cluster, first, clock)
    assert first.writable == (not kept)


def test_what_was_asked_before_a_refusal_says_nothing_of_it() -> None:
    clock = Clock()
    cluster = make(clock)
    first, asked = cluster.nodes[0], clock()
    clock.now += 0.1
    cluster.mark_refusing(first, module.READ_ONLY, READ_ONLY_OPTION)
    clock.now += 0.1
    answer(cluster, first, clock, asked=asked)
    assert not first.writable
    answer(cluster, first, clock, asked=clock())
    assert first.writable


def test_a_full_node_is_no_primary_when_it_is_so_twice() -> None:
    clock = Clock()
    cluster = make(clock)
    first = cluster.nodes[0]
    error = OSError(1040, "Too many connections")
    cluster.mark_full(first, error)
    assert name_of_primary(cluster) == "db1"
    answer(cluster, first, clock)
    cluster.mark_full(first, error)
    assert name_of_primary(cluster) == "db1", "the first time again"
    cluster.mark_full(first, error)
    assert name_of_primary(cluster) == "db2"
    assert first.up, "those who have a connection read on"


def test_what_speaks_against_each_node_is_told_where_none_can_serve() -> None:
    cluster = make()
    cluster.mark_refusing(cluster.nodes[0], module.READ_ONLY, LOST)
    cluster.mark_behind(cluster.nodes[1], 1.0)
    told = cluster.complaints(electable=True)
    assert "db1: is read-only; db2: it has not caught up; db3: not tried" in told


def test_whether_another_node_could_be_primary() -> None:
    cluster = make()
    db1, db2, db3 = cluster.nodes
    assert cluster.another_primary(db1)
    cluster.mark_refusing(db2, module.READ_ONLY, LOST)
    lose(cluster, db3)
    assert not cluster.another_primary(db1)
    assert cluster.another_primary(db2)
    assert cluster.has_better_primary(db2)
    assert not cluster.has_better_primary(db1)

"""The schedule: the same for the same seed, and within its bounds."""

from __future__ import annotations

import itertools

import pytest

from tests.chaos.plan import (
    DEFAULT,
    HARSH,
    HEAVY,
    LIGHT,
    LONG_RUN,
    OF_CLIENT,
    Strike,
    schedule,
)

NODES = ("db1", "db2", "db3")
ALL = (*HEAVY, *LIGHT)


def heavy(strikes: list[Strike]) -> list[Strike]:
    return [strike for strike in strikes if strike.kind in HEAVY]


def test_a_seed_gives_one_schedule() -> None:
    """The same every time; another one for another seed."""
    assert schedule(7, 300, NODES, ALL) == schedule(7, 300, NODES, ALL)
    assert schedule(7, 300, NODES, ALL) != schedule(8, 300, NODES, ALL)


def test_more_kinds_of_light_faults_leave_the_heavy_ones_alone() -> None:
    """Each track has dice of its own."""
    assert heavy(schedule(7, 300, NODES, ALL)) == heavy(schedule(7, 300, NODES, (*HEAVY, "cut")))


@pytest.mark.parametrize("seed", range(20))
def test_one_heavy_fault_is_over_before_the_next(seed: int) -> None:
    """So that there is a quorum: each has the time to recover that it may need."""
    strikes = heavy(schedule(seed, 300, NODES, ALL))
    for one, following in itertools.pairwise(strikes):
        assert following.at >= one.at + one.seconds + HEAVY[one.kind].recovery
    assert all(strike.at + strike.seconds <= 300 for strike in strikes)


@pytest.mark.parametrize("seed", range(20))
def test_two_nodes_are_hit_only_for_a_moment(seed: int) -> None:
    """Never by a fault that would cost the quorum for long; all three only on purpose."""
    strikes = schedule(seed, 1800, NODES, ALL)
    both = [one for one in strikes if len(one.nodes) > 1 and one.kind != "stop-all"]
    assert both
    for strike in both:
        assert len(set(strike.nodes)) == 2
        assert 0 < strike.seconds <= HEAVY[strike.kind].both


def test_all_kinds_come_round() -> None:
    """A long run has seen every fault, on every node."""
    strikes = schedule(1, 600, NODES, ALL)
    assert {strike.kind for strike in strikes} == set(ALL)
    assert {node for strike in heavy(strikes) for node in strike.nodes} == set(NODES)


def test_only_what_was_asked_for() -> None:
    """Nothing else strikes; with nothing asked for, nothing at all."""
    strikes = schedule(1, 60, NODES, ("kill", "cut-at"))
    assert {strike.kind for strike in strikes} == {"kill", "cut-at"}
    assert all((strike.number > 0) == (strike.kind == "cut-at") for strike in strikes)
    assert schedule(1, 60, NODES, ()) == []


def test_client_processes_are_hit_in_turn() -> None:
    """Each of them, and none that is not there; the rest of the schedule is the same."""
    strikes = schedule(1, 600, NODES, ALL, processes=4)
    assert {strike.process for strike in strikes if strike.kind in OF_CLIENT} == {0, 1, 2, 3}
    assert {strike.process for strike in schedule(1, 600, NODES, ALL)} == {0}


def test_some_faults_have_a_place() -> None:
    """Always the preferred primary, all nodes at once, or no node at all."""
    for strike in heavy(schedule(1, 900, NODES, ALL)):
        hits = HEAVY[strike.kind].hits
        if hits != "one":
            assert strike.nodes == {"first": NODES[:1], "all": NODES, "none": ()}[hits]


def test_a_client_is_frozen_for_longer_in_a_long_run() -> None:
    """Up to a minute."""
    short = schedule(1, LONG_RUN - 1, NODES, ("client-freeze",))
    long = schedule(1, 1200, NODES, ("client-freeze",))
    assert max(strike.seconds for strike in short) <= HEAVY["client-freeze"].longest
    assert 30 < max(strike.seconds for strike in long) <= HEAVY["client-freeze"].long


def test_what_is_harsh_does_not_strike_unless_asked_for() -> None:
    """Every kind is in one of the two groups."""
    assert set(DEFAULT) | HARSH == set(ALL)
    assert not set(DEFAULT) & HARSH


def test_a_strike_in_words() -> None:
    """What it hits, for how long, and where."""
    told = [
        str(Strike(1.0, "kill", ("db1", "db2"), 2.0)),
        str(Strike(1.0, "cut-byte", ("db1",), number=7, toward="client", process=1)),
        str(Strike(1.0, "clock", (), 2.0, number=-30)),
        str(Strike(1.0, "alter-index", ("db3",), number=1)),
    ]
    assert [line[10:] for line in told] == [
        "kill db1 and db2 for 2.0 s",
        "cut-byte db1 of client 1 at byte 7 toward the client",
        "clock of client 0 for 2.0 s by -30 s",
        "alter-index db3 of chaos_page",
    ]

"""The schedule: the same for the same seed, and within its bounds."""

from __future__ import annotations

import itertools

import pytest

from tests.chaos.plan import HEAVY, LIGHT, Strike, schedule

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
    """Never by a fault that would cost the quorum for long, and never all three."""
    strikes = schedule(seed, 600, NODES, ALL)
    both = [strike for strike in strikes if len(strike.nodes) > 1]
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

"""Pauses: measured where a fault was, beside the floor."""

from __future__ import annotations

import pytest

from tests.chaos.faults import Window
from tests.chaos.ledger import Operation
from tests.chaos.pauses import by_client, longest, outages, pauses, percentile
from tests.chaos.plan import Strike


@pytest.mark.parametrize(
    ("part", "wanted"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_percentile(part: float, wanted: float) -> None:
    """The nearest rank, of values in any order."""
    assert percentile(range(100, 0, -1), part) == wanted


def test_percentile_of_nothing() -> None:
    """No value, no wait."""
    assert percentile([], 0.5) == 0.0


@pytest.mark.parametrize(
    ("window", "wanted"),
    [((0, 0.5), 0.0), ((0, 1.0), 1.0), ((2.5, 2.6), 0.0), ((1.5, 4.0), 5.0), ((8.5, 9.0), 0.0)],
)
def test_longest_of_those_that_overlap(window: tuple[float, float], wanted: float) -> None:
    """Those before and after do not count, those that reach in do, as a whole."""
    assert longest([(1.0, 2.0), (3.0, 8.0)], window) == wanted


def test_clients_are_told_apart() -> None:
    """Each thread's operations in order; one that never came back has no length."""
    operations = [
        Operation("0.1.10", "count", 5.0, end=6.0),
        Operation("0.1.9", "count", 1.0, end=4.0),
        Operation("0.2.1", "count", 1.0, end=2.0),
        Operation("0.2.2", "count", 2.0),
    ]
    assert by_client(operations) == {"0.1": [(1.0, 4.0), (5.0, 6.0)], "0.2": [(1.0, 2.0)]}


def test_pauses_of_each_kind() -> None:
    """Every client's longest wait in each fault; the floor is a node's that was not hit."""
    windows = [
        Window(Strike(0, "kill", ("db1",), 1.0), 10.0, 12.0),
        Window(Strike(0, "kill", ("db2",), 1.0), 30.0, 32.0),
        Window(Strike(0, "cut", ("db1",)), 11.0, 11.5),  # during a heavy one
        Window(Strike(0, "cut", ("db1",)), 12.5, 13.0),  # shortly after it
        Window(Strike(0, "cut", ("db1",)), 20.0, 20.5),
        Window(Strike(0, "cut-at", ("db1",)), 22.0, 22.5, struck=False),
    ]
    clients = {"0.0": [(9.0, 12.0), (20.0, 20.25)], "0.1": [(11.0, 12.0), (31.0, 33.0)]}
    floors = {"db1": [(10.0, 19.0), (31.0, 32.5)], "db2": [(10.0, 11.0), (30.0, 40.0)]}
    cut, kill = pauses(windows, clients, floors)
    assert (kill.kind, kill.times) == ("kill", 2)
    assert (kill.median, kill.longest) == (1.0, 3.0)
    assert kill.floor == (1.0, 1.5, 1.5)
    assert (cut.kind, cut.times, cut.longest) == ("cut", 1, 0.25)


def test_outages() -> None:
    """When no node wrote, however the nodes took turns otherwise."""
    floors = {"db1": [(0.0, 1.0), (1.0, 9.0)], "db2": [(0.0, 2.0), (2.0, 3.0)]}
    assert outages(floors, 2.0) == [(3.0, 9.0)]

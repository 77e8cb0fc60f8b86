"""A short run on the real cluster; and that the checker finds out a router that is broken."""

from __future__ import annotations

import pytest

from galera_router.testing import GaleraCluster
from tests.chaos.options import Options
from tests.chaos.plan import DEFAULT, LIGHT, schedule
from tests.chaos.report import Report
from tests.chaos.run import run

CUTS = tuple(kind for kind in LIGHT if kind in DEFAULT)
SHORT = Options(seconds=22.0, seed=69, processes=2, threads=4, faults=("kill", "freeze", *CUTS))
PROCESSES = Options(
    seconds=16.0,
    seed=5,
    processes=2,
    threads=2,
    faults=("client-kill", "client-freeze", "clock", "cut-off"),
)

pytestmark = pytest.mark.timeout(200)


def chaos(galera: GaleraCluster, options: Options) -> Report:
    """A run, whose report pytest shows if the test fails."""
    report = run(galera, options, print)
    print("\n".join(report.lines()))
    return report


def test_nothing_is_lost_and_nothing_doubled(galera: GaleraCluster) -> None:
    """The primary is killed, and frozen, and all the while connections are cut."""
    report = chaos(galera, SHORT)
    assert report.faults["kill"] == report.faults["freeze"] == (1, 1)
    assert sum(struck for struck, _ in report.faults.values()) > 10
    assert sum(report.failovers.values()) > 0
    assert sum(told["done"] for told in report.told.values()) > 500
    assert report.complaints == []
    assert report.errors == {}
    assert report.good


def test_client_processes_die_freeze_and_lose_their_way(galera: GaleraCluster) -> None:
    """What a killed one was at may be there or not, but once; a new one takes its place."""
    report = chaos(galera, PROCESSES)
    assert report.faults == dict.fromkeys(PROCESSES.faults, (1, 1))
    assert report.complaints == []
    assert report.good


def test_interrupts_reach_the_clients(galera: GaleraCluster) -> None:
    """Who is interrupted goes on afterwards, as well as the router lets it."""
    options = Options(seconds=5.0, processes=1, threads=4, faults=("interrupt",))
    report = chaos(galera, options)
    assert sum(told.get("interrupted", 0) for told in report.told.values()) > 0
    assert sum(told["done"] for told in report.told.values() if "done" in told) > 100
    assert not any(one.startswith(("hung", "in doubt")) for one in report.complaints)


def test_a_router_without_markers_is_found_out(galera: GaleraCluster) -> None:
    """It makes transactions again that had been made: they are there twice."""
    options = Options(
        seconds=20.0,
        processes=2,
        threads=4,
        faults=("swallow-commit", "swallow-write"),
        broken="no-marker",
        stop_early=True,
    )
    report = chaos(galera, options)
    assert any(one.startswith("doubled: ") for one in report.complaints)
    assert not report.good


def test_a_router_that_does_not_compare_is_found_out(galera: GaleraCluster) -> None:
    """It writes what was computed from reads that were not true any more: updates are lost."""
    options = Options(
        seconds=20.0,
        processes=2,
        threads=4,
        faults=("cut",),
        workloads=("edit", "edit with a lock", "transfer"),
        broken="no-compare",
        stop_early=True,
    )
    report = chaos(galera, options)
    assert any(one.startswith("lost update: ") for one in report.complaints)
    assert not report.good


def test_alone_nothing_runs_again(galera: GaleraCluster) -> None:
    """Without faults, each client on rows of its own: no conflict at all, and no second run."""
    report = chaos(galera, Options(seconds=6.0, processes=2, threads=2, faults=(), alone=True))
    assert sum(told["done"] for told in report.told.values()) > 100
    assert report.reruns == 0
    assert report.conflicts == {}
    assert report.good


@pytest.mark.parametrize("broken", ["blocks-differ", "runs-twice"])
def test_false_alarms_are_found_out(galera: GaleraCluster, broken: str) -> None:
    """A router that has code run again for nothing; the run ends when that is seen."""
    options = Options(
        seconds=20.0, processes=2, threads=2, faults=(), broken=broken, stop_early=True
    )
    report = chaos(galera, options)
    assert any(one.startswith("unexplained: ") for one in report.complaints)
    assert report.seconds < 15
    assert not report.good


def test_the_short_run_is_what_it_says() -> None:
    """Its schedule hits the preferred primary with each of the heavy faults."""
    strikes = schedule(SHORT.seed, SHORT.seconds, ("db1", "db2", "db3"), SHORT.faults)
    heavy = [(one.kind, one.nodes) for one in strikes if one.seconds]
    assert sorted(heavy) == [("freeze", ("db1",)), ("kill", ("db1",))]

"""What the benchmarks of the primary take for wrong."""

from __future__ import annotations

import dataclasses

from tests.benchmarks.tickets import Sales

# The one above sets Django up; the models need that.
# isort: split
from tests.benchmarks.commits import going_back, two_servers

GOOD = Sales([["t1"], ["t2"]], [["t2"], ["t1"]], [], ["t1", "t2"])


def test_one_server_in_each_epoch() -> None:
    assert not two_servers([("db1", 1, 10), ("db2", 2, 11), ("db2", 2, 12)])
    assert two_servers([("db1", 1, 10), ("db2", 1, 11)]) == ["in epoch 1: db1, db2"]


def test_no_epoch_comes_back() -> None:
    """What has no place in the cluster's order proves nothing."""
    assert not going_back([("db2", 2, 12), ("db1", 1, 10), ("db2", 2, 11), ("db1", 1, -1)])
    assert len(going_back([("db1", 1, 12), ("db1", 1, 10), ("db2", 2, 11)])) == 1


def test_each_ticket_is_sold_once() -> None:
    assert not list(GOOD.complaints())
    twice = dataclasses.replace(GOOD, rows=["t1", "t2", "t2"])
    assert list(twice.complaints()) == ["t2 sold 2 times"]
    told = dataclasses.replace(GOOD, bought=[["t1", "t2"], ["t2"]])
    assert list(told.complaints()) == ["t2 told to 2 buyers"]


def test_who_has_none_has_seen_that_it_is_sold() -> None:
    """And who has one has it."""
    gone = dataclasses.replace(GOOD, rows=["t1"])
    assert list(gone.complaints()) == ["t2 not there", "t2 seen, and not sold"]

"""A run that is to end early ends at what is wrong, and at nothing else."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.books import Books
from tests.chaos.config import ACCOUNTS, OPENING
from tests.chaos.faults import Faults, Window
from tests.chaos.ledger import Ledger, Operation
from tests.chaos.plan import Strike
from tests.chaos.report import excused
from tests.chaos.test_checks import TABLES
from tests.chaos.watch import Watch, complaints_at

LONG_AGO = time.monotonic() - 100.0
DONE = Operation("0.0.1", "count", LONG_AGO, end=LONG_AGO + 1, told="done", writes=("counter 1",))
AGAIN = replace(DONE, token="0.0.2", runs=2)
OTHER = replace(DONE, token="0.1.1")


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    faults = Faults(Any, {}, Any, print)  # type: ignore[arg-type]
    return Watch(tmp_path, faults, excused, lambda: None, print)


def note(folder: Path, *operations: Operation) -> None:
    for one in operations:
        ledger = Ledger(folder / f"client-{one.client}.jsonl")
        ledger.begin(one)
        if one.end is not None:
            ledger.end(one)
        ledger.close()


@pytest.mark.parametrize("told", ["raised", "doubt", "wrong"])
def test_an_error(watch: Watch, tmp_path: Path, told: Any) -> None:
    """It is seen once it is there, and told once."""
    note(tmp_path, DONE)
    assert watch.look() == ""
    note(tmp_path, replace(DONE, token="0.0.2", told=told, error="KeyError: 1"))
    assert watch.look() == f"count 0.0.2, {told} (KeyError: 1)"
    assert watch.look() == ""


@pytest.mark.parametrize("told", ["conflict", "impossible", "unknown"])
def test_what_may_be_told(watch: Watch, tmp_path: Path, told: Any) -> None:
    """Of a conflict somebody else is the cause."""
    note(tmp_path, replace(DONE, told=told), OTHER)
    assert watch.look() == ""


def test_an_error_without_a_quorum(watch: Watch, tmp_path: Path) -> None:
    """It is excused where no node wrote; also while none does."""
    note(tmp_path, replace(DONE, told="raised", error="KeyError: 1"))
    floor = tmp_path / "floor-db1.jsonl"
    floor.write_text(json.dumps([LONG_AGO - 2, LONG_AGO - 1]) + "\n")
    assert watch.look() == ""


def test_a_false_alarm(watch: Watch, tmp_path: Path) -> None:
    """Unless somebody else has changed what it was about."""
    note(tmp_path, AGAIN)
    assert watch.look().startswith("unexplained: count 0.0.2, done ran 2 times")
    note(tmp_path, OTHER, replace(AGAIN, token="0.0.3"))
    assert watch.look() == ""


def test_a_fault_that_still_strikes(tmp_path: Path, watch: Watch) -> None:
    """It explains what it would explain when it is over."""
    strike = Strike(1.0, "kill", ("db1",), 1.0)
    watch._faults.striking = Window(strike, LONG_AGO - 0.5, float("inf"))
    note(tmp_path, replace(AGAIN, loose=True))
    assert watch.look() == ""


def test_what_has_just_ended_is_looked_at_later(tmp_path: Path, watch: Watch) -> None:
    """Others may have begun meanwhile, and it is not read yet."""
    note(tmp_path, replace(AGAIN, begin=time.monotonic(), end=time.monotonic()))
    assert watch.look() == ""
    time.sleep(0.35)
    assert watch.look() != ""


CREATED = Operation(
    "0.0.5",
    "insert",
    10.0,
    (("entry", "0.0.5/1"), ("entry", "0.0.5/2")),
    end=11.0,
    told="done",
)
ROWS = ((1, "0.0.5/1", ""), (2, "0.0.5/2", ""))


def books(*entries: tuple[Any, ...]) -> Books:
    accounts = tuple((key, OPENING, "") for key in range(1, ACCOUNTS + 1))
    return Books({**dict.fromkeys(TABLES, ()), "account": accounts, "entry": entries})


@pytest.mark.parametrize("entries", [ROWS, ()])
@pytest.mark.parametrize("moment", [10.5, 9.0])
def test_books_of_a_moment_in_an_operation(entries: Any, moment: float) -> None:
    """It may be there already, or not; also if it had not ended, or not even begun, by then."""
    assert complaints_at(moment, books(*entries), [CREATED]) == []
    assert complaints_at(moment, books(*entries), [replace(CREATED, end=None)]) == []


def test_books_of_a_moment_after_an_operation() -> None:
    """Then it must be as it was told."""
    assert complaints_at(11.5, books(*ROWS), [CREATED]) == []
    assert len(complaints_at(11.5, books(), [CREATED])) == 2
    raised = replace(CREATED, told="raised")
    assert len(complaints_at(11.5, books(*ROWS), [raised])) == 2


def test_books_of_a_moment_that_cannot_be() -> None:
    """Half an operation, one that is there twice, and what nobody has asked for."""
    half = "half done: insert 0.0.5, unknown"
    assert complaints_at(10.5, books(ROWS[0]), [CREATED]) == [half]
    (twice,) = complaints_at(10.5, books(*ROWS, (3, "0.0.5/2", "")), [CREATED])
    assert twice.startswith("doubled: insert 0.0.5")
    (undone,) = complaints_at(10.5, books(*ROWS, (3, "0.0.5/undone", "")), [CREATED])
    assert undone.startswith("doubled or undone")

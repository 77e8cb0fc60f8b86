"""The report: its verdict is the exit status of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import report
from tests.chaos.faults import Window
from tests.chaos.ledger import Operation
from tests.chaos.options import Options
from tests.chaos.plan import Strike

KILL = Window(Strike(1.0, "kill", ("db1",), 1.0), 11.0, 14.0)
OPERATIONS = [
    Operation("0.0.1", "count", 10.0, end=13.0, told="done", runs=3),
    Operation("0.0.2", "audit in a block", 13.0, told="conflict", error="ReplayMismatch: x"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the observers and the bare clients have left."""
    (tmp_path / "observer-0.json").write_text(
        json.dumps({"messages": {"down": 2}, "failovers": [{"lost": "db1", "replayed": 4}]})
    )
    (tmp_path / "floor-db1.jsonl").write_text("[10.0, 14.0]\n")
    (tmp_path / "floor-db2.jsonl").write_text("[10.0, 10.5]\n[10.5, 12.5]\n")
    return tmp_path


def make(folder: Path, operations: list[Operation], **changes: Any) -> report.Report:
    given: dict[str, Any] = {
        "options": Options(seed=5, processes=1, threads=1),
        "seconds": 4.0,
        "windows": [KILL],
        "wrong": {"db1": [], "db2": []},
        "others": [],
    }
    return report.make(operations=operations, folder=folder, **{**given, **changes})


def test_figures_are_told(folder: Path) -> None:
    """Every figure is there, and the verdict comes last."""
    made = make(folder, OPERATIONS)
    assert made.good
    assert (made.reruns, made.replayed, made.failovers) == (2, 4, {"db1": 1})
    assert (made.pauses[0].longest, made.pauses[0].floor[2]) == (3.0, 2.0)
    text = "\n".join(made.lines())
    for part in ("2 operations in 4 s", "failovers       1 (1 of db1)", "1 x ReplayMismatch"):
        assert part in text
    assert "no node wrote for 2.0 s, 0.5 s into the run" in text
    assert text.endswith("\nAll well.")


@pytest.mark.parametrize("told", ["raised", "doubt"])
def test_an_error_spoils_it(folder: Path, told: Any) -> None:
    """It is named by its type."""
    failed = replace(OPERATIONS[0], told=told, error="NoNodeAvailable: none")
    made = make(folder, [failed])
    assert made.errors == {"NoNodeAvailable: none": 1}
    assert "\n".join(made.lines()).endswith("\nNot all is well.")


def test_without_a_quorum_an_error_is_the_clusters(folder: Path) -> None:
    """If there was none for as long as the router waits; counted by itself."""
    (folder / "floor-db1.jsonl").write_text("[10.0, 40.0]\n")
    failed = replace(OPERATIONS[0], end=30.0, told="raised", error="NoNodeAvailable: none")
    made = make(folder, [failed])
    assert (made.errors, made.without_quorum) == ({}, {"NoNodeAvailable: none": 1})
    assert made.good


def test_complaints_spoil_it(folder: Path) -> None:
    """Told once, with all the nodes that they are about."""
    made = make(folder, OPERATIONS, wrong={"db1": ["lost: x"], "db2": ["lost: x"]}, others=["hung"])
    assert made.complaints == ["hung", "lost: x [db1, db2]"]
    assert not made.good


def test_json(folder: Path) -> None:
    """The same figures for a program."""
    made = make(folder, OPERATIONS)
    made.save(folder / "report.json")
    read = json.loads((folder / "report.json").read_text())
    assert (read["good"], read["seed"], read["pauses"][0]["kind"]) == (True, 5, "kill")

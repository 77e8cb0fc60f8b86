"""The report: its verdict is the demo's exit status."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from demo.report import Report
from demo.tally import Asked, Pause, Tally

TALLY = Tally(
    requests=600,
    asked_again=1,
    pause=Pause(1.25, "POST /transfer/", 14.2),
    asked=[Asked("a", 1, 2, 200, "made"), Asked("b", 1, 2, 5000, "refused")],
)
GOOD = Report(
    tally=TALLY,
    seconds=30,
    failovers=3,
    shares={"db1": 0.1, "db2": 0.9},
    books={"db1": [], "db2": []},
    nodes_equal=True,
)


def test_figures_are_told() -> None:
    """Every figure is there, and the verdict comes last."""
    text = "\n".join(GOOD.lines())
    for part in ("600 in 30 s, 20 a second", "1 made, 1 refused", "1.25 s", "db2 90%", "right"):
        assert part in text
    assert text.endswith("\nAll well.")


@pytest.mark.parametrize(
    "change",
    [
        {"tally": replace(TALLY, errors=Counter({"GET /: HTTP 500": 1}))},
        {"books": {"db1": [], "db2": ["transfer a was acknowledged and is lost"]}},
        {"nodes_equal": False},
    ],
)
def test_one_flaw_spoils_it(change: dict[str, Any]) -> None:
    """An error, a complaint, or nodes that differ: each is enough, and each is named."""
    report = replace(GOOD, **change, log={"OperationalError: lost": 2})
    text = "\n".join(report.lines())
    assert not report.good
    assert text.endswith("\nNot all is well.")
    assert "2 x OperationalError: lost" in text


def test_tally_survives_the_pipe() -> None:
    """What the visitors' process writes is what the report reads."""
    tally = replace(TALLY, errors=Counter({"GET /: HTTP 500": 2}))
    assert Tally.from_dict(json.loads(json.dumps(tally.as_dict()))) == tally

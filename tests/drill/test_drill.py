"""A short drill, and what the drill would find."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.drill.__main__ import _compared, _shared


@pytest.mark.timeout(600)
def test_one_round_costs_no_error() -> None:
    command = [sys.executable, "-m", "tests.drill", "--seconds", "0"]
    done = subprocess.run(
        [*command, "--writers", "2", "--readers", "2"], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = re.findall(r"^(drain|stop|start|put back) (db\d) +\d", done.stdout, re.MULTILINE)
    each = ["drain", "stop", "start", "put back"]
    assert steps == [(step, node) for node in ("db2", "db3", "db1") for step in each]
    assert "is the primary now. Writes have paused for" in done.stdout
    assert "\n0 errors" in done.stdout


@pytest.mark.parametrize(
    ("told", "found", "complaint"),
    [
        (["a", "b"], ["a"], "db1: 1 committed transactions are lost"),
        (["a"], ["a", "b"], "db1: 1 that nobody was told of"),
        (["a"], ["a", "a"], "db1: some are there twice"),
    ],
)
def test_what_is_wrong_is_found(told: list[str], found: list[str], complaint: str) -> None:
    assert _compared("db1", told, found) == [complaint]


def test_what_is_right_is_not_a_complaint() -> None:
    assert _compared("db1", ["a", "b"], ["b", "a"][::-1]) == []


def test_every_writer_has_a_process() -> None:
    assert _shared(8, 4) == [2, 2, 2, 2]
    assert _shared(5, 4) == [2, 1, 1, 1]

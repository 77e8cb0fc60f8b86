"""A run that fails, or takes too long, spoils the proof."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.proof import __main__ as proof
from tests.proof.report import Result, render
from tests.proof.steps import Step, steps

STEP = Step("a run", ("tests.nothing", "--at", "all"), 1)


def test_each_run_has_a_name_of_its_own() -> None:
    """Its output is kept under that."""
    names = [step.name for step in steps(1)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("words", "good"), [(("this",), True), (("no_such_module",), False)])
def test_the_exit_status_counts(words: tuple[str, ...], good: bool, tmp_path: Path) -> None:
    """What it has printed is kept."""
    made = proof.run(dataclasses.replace(STEP, words=words), tmp_path / "output")
    assert made.good is good
    assert ("Zen of Python" if good else "No module named") in made.output.read_text()


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """It has failed."""
    endless = dataclasses.replace(STEP, words=("http.server", "0", "--bind", "127.0.0.1"))
    made = proof.run(dataclasses.replace(endless, minutes=0.01), tmp_path / "output")
    assert (made.status, made.good) == (None, False)
    assert "took too long" in made.line()


def test_the_report_has_every_run(tmp_path: Path) -> None:
    """How it ended, and what it said last."""
    output = tmp_path / "output"
    output.write_text("lost: everything\n")
    page = render([Result(STEP, 0, 60.0, output), Result(STEP, 1, 90.0, output)])
    assert "| a run | `python -m tests.nothing --at all` | good | 1.0 |" in page
    assert "| ended with 1 | 1.5 |" in page
    assert page.count("lost: everything") == 2

"""A run that fails, or takes too long, spoils the proof."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest

from tests.proof import __main__ as proof
from tests.proof.report import Result, kept, output_of, render
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
    page = render([Result(STEP, 0, 60.0, output, "c0ffee"), Result(STEP, 1, 90.0, output)])
    assert "| a run | `python -m tests.nothing --at all` | c0ffee | good | 1.0 |" in page
    assert "| ended with 1 | 1.5 |" in page
    assert page.count("lost: everything") == 2


def test_what_was_good_with_this_commit_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed, was run with another commit or never is run."""
    all_of_them, now = steps(1), "c0ffee"
    monkeypatch.setattr(proof, "checked_out", lambda: now)
    for step, status, commit in zip(
        all_of_them, (0, 1, None, 0), (now, now, now, "another"), strict=False
    ):
        output = output_of(step, tmp_path)
        output.write_text("")
        Result(step, status, 1.0, output, commit).keep()
    asked = argparse.Namespace(seed=1, only="", report=tmp_path, go_on=True)
    assert proof.chosen(asked) == all_of_them[1:]
    assert [one.status for one in kept(all_of_them, tmp_path)] == [0, 1, None, 0]
    asked.go_on = False
    assert proof.chosen(asked) == all_of_them

"""Every mutant is one change that can be made; what the checkers find is put down rightly."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.mutants import __main__ as main
from tests.mutants import checkers, run
from tests.mutants.mutants import CONTROL, MUTANTS, Mutant
from tests.mutants.run import ROOT, CheckerFailed, Trial, attempt, copied
from tests.mutants.table import is_found, is_good, table

MUTANT = Mutant(
    "a-mutant", "nothing holds", "recovery/outcome.py", "def commit(", "def omit(", ("c",)
)


def trial(found: bool, seed: int = 1, checker: str = "c") -> Trial:
    return Trial(MUTANT.name, checker, seed, found, 10.0 * seed, "")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_made(mutant: Mutant) -> None:
    """The text is there once; what takes its place differs, and is Python."""
    source = (ROOT / "galera_router" / mutant.file).read_text()
    assert source.count(mutant.old) == 1
    changed = source.replace(mutant.old, mutant.new)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))
    assert set(mutant.checkers) <= checkers.CHECKERS.keys()
    assert mutant.checkers


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    """At least 35."""
    names = Counter(mutant.name for mutant in MUTANTS)
    assert len(names) == len(MUTANTS) >= 35


def test_the_copy_is_changed_and_the_project_is_not() -> None:
    """All of the project that a checker needs is in the copy."""
    with copied(MUTANT) as folder:
        assert "def omit(" in (folder / "galera_router/recovery/outcome.py").read_text()
        assert (folder / "tests/mutants/mutants.py").is_file()
    assert "def omit(" not in (ROOT / "galera_router/recovery/outcome.py").read_text()


def test_text_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The router has changed: the mutant has to be written anew."""
    (tmp_path / "recovery").mkdir()
    (tmp_path / "recovery/outcome.py").write_text("nothing of it")
    with pytest.raises(LookupError, match="a-mutant"):
        MUTANT.apply(tmp_path)


@pytest.mark.parametrize(("status", "found"), [(0, False), (1, True)])
def test_the_exit_status_of_a_checker_counts(
    status: int, found: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It runs in the folder, whose router it imports."""
    script = f"import galera_router, sys; print(galera_router.MUTANT); sys.exit({status})"
    (tmp_path / "galera_router.py").write_text("MUTANT = 'this one'")
    monkeypatch.setitem(checkers.CHECKERS, "c", lambda *_: [sys.executable, "-c", script])
    made = attempt(MUTANT, tmp_path, "c", 1, 30)
    assert (made.found, made.said) == (found, "this one\n")


def test_a_checker_that_breaks_down_finds_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That is no result."""
    command = [sys.executable, "-c", "import sys; sys.exit('no cluster') if 0 else sys.exit(2)"]
    monkeypatch.setitem(checkers.CHECKERS, "c", lambda *_: command)
    with pytest.raises(CheckerFailed, match="ended with 2"):
        attempt(MUTANT, tmp_path, "c", 1, 30)


def test_found_means_by_one_checker_at_enough_seeds() -> None:
    """Two that find it now and then are not one that finds it."""
    assert is_found([trial(True, 1), trial(True, 2), trial(False, 3)], 2)
    assert not is_found([trial(True, 1), trial(True, 1, "another")], 2)
    assert not is_found([], 1)


def test_the_control_must_not_be_found() -> None:
    """What is found in the router as it is says nothing of a mutant."""
    assert is_good(CONTROL, [trial(False), trial(False, 2)], 2)
    assert not is_good(CONTROL, [trial(False), trial(True, 2)], 2)
    assert not is_good(CONTROL, [], 2)
    assert is_good(MUTANT, [trial(True)], 1)
    with copied(CONTROL) as folder:
        source = (ROOT / "galera_router/recovery/outcome.py").read_text()
        assert (folder / "galera_router/recovery/outcome.py").read_text() == source


def test_the_table_has_seeds_and_seconds() -> None:
    """A row for each mutant, with the checkers that were tried."""
    made = table([MUTANT], [trial(True, 1), trial(True, 3), trial(False, 2), trial(False, 1, "d")])
    assert made[2] == "| `a-mutant` | nothing holds | `c` 2 of 3, 20 s; `d` 0 of 1 |"


def test_a_test_is_a_checker() -> None:
    """It is run with the router alone, and its mark of a known fault does not count."""
    command = checkers.CHECKERS["garbage"](1, 60.0)
    assert "--runxfail" in command
    assert command[-1] == "router"
    assert all((ROOT / word).is_file() for word in command if word.startswith("tests/"))


def options(**given: Any) -> argparse.Namespace:
    usual = {"seeds": 1, "wanted": 1, "seconds": 30.0, "checkers": "c", "all": False, "jobs": 2}
    return argparse.Namespace(**{**usual, **given})


def mutants(monkeypatch: pytest.MonkeyPatch, script: str) -> list[Mutant]:
    """Four, which a checker tries by ``script``."""
    monkeypatch.setitem(checkers.CHECKERS, "c", lambda *_: [sys.executable, "-c", script])
    return [dataclasses.replace(MUTANT, name=f"mutant-{number}") for number in range(4)]


def test_two_are_tried_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run ends only if another one is under way."""
    there = f"""
import pathlib, os, time
folder = pathlib.Path({str(tmp_path)!r})
(folder / str(os.getpid())).touch()
until = time.monotonic() + 20
while len([*folder.iterdir()]) < 2 and time.monotonic() < until:
    time.sleep(0.01)
raise SystemExit(time.monotonic() < until)
"""
    found = [*main.judge_all(mutants(monkeypatch, there), options())]
    assert sorted(trials[0].mutant for trials in found) == [f"mutant-{n}" for n in range(4)]
    assert all(trials[0].found for trials in found)


def test_what_is_broken_off_leaves_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_over", threading.Event())
    original = main.judge

    def judge(mutant: Mutant, given: argparse.Namespace) -> list[Trial]:
        if mutant.name == "mutant-0":
            raise KeyboardInterrupt
        return original(mutant, given)

    monkeypatch.setattr(main, "judge", judge)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        [*main.judge_all(mutants(monkeypatch, "import time; time.sleep(60)"), options())]
    assert time.monotonic() - began < 30
    assert not run._running

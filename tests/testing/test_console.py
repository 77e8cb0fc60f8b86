"""``python -m galera_router.testing``: settings to be pasted, and commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from galera_router.testing import GaleraCluster
from galera_router.testing.console import HELP, answer, answers

ROOT = Path(__file__).parents[2]
BEFORE = """
SECRET_KEY = "for this test"
ROOT_URLCONF = __name__
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes"]
MIDDLEWARE = []
urlpatterns = []
"""
TESTS = """
from django.contrib.contenttypes.models import ContentType
from django.test import TestCase


class Tests(TestCase):
    def test(self):
        ContentType.objects.create(app_label="a", model="b")
"""
LAST = "# Ctrl-C ends the servers and removes their data."


class Running:
    """The command in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "galera_router.testing", "--size", "3"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def lines(self, count: int) -> list[str]:
        return [self._pipe(self.process.stdout).readline().rstrip("\n") for _ in range(count)]

    def settings(self) -> str:
        found: list[str] = []
        while not found or found[-1] not in (LAST, ""):
            found += self.lines(1)
            if found[-1] == "":
                found[-1] = "\n"
            assert len(found) < 100
        return "\n".join(found)

    def tell(self, command: str, answers: int = 1) -> list[str]:
        pipe = self._pipe(self.process.stdin)
        pipe.write(f"{command}\n")
        pipe.flush()
        return self.lines(answers)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def _pipe(self, pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    command = Running()
    yield command
    command.process.terminate()
    assert command.process.wait(60) == 0


@pytest.fixture(scope="module")
def pasted(running: Running) -> str:
    return running.settings()


def test_what_it_prints_can_be_pasted_whole(pasted: str, tmp_path: Path) -> None:
    """At the end of a settings module; the project needs nothing else, and has no warning."""
    (tmp_path / "pasted.py").write_text(BEFORE + pasted, "utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "pasted",
    }
    (tmp_path / "tests_of_it.py").write_text(TESTS, "utf-8")
    told = ""
    for command in (["migrate"], ["check", "--database=default"], ["test", "tests_of_it"]):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "django", *command],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told += done.stdout + done.stderr
    assert "warning" not in told.lower()
    assert "Ran 1 test" in told


def test_commands(running: Running, pasted: str) -> None:
    assert [line[:28] for line in running.tell("status", 3)] == [
        "db1  Synced, Primary of 3  p",
        "db2  Synced, Primary of 3  p",
        "db3  Synced, Primary of 3  p",
    ]
    (frozen,) = running.tell("freeze db2")
    assert frozen.startswith("db2  frozen  pid ")
    (again,) = running.tell("start db2")
    assert again.startswith("db2  Synced, Primary of ")
    assert running.tell("kill db2") == ["db2  does not run"]
    (back,) = running.tell("start db2")
    assert back.startswith("db2  Synced, Primary of 3")


def test_without_an_input_it_waits_all_the_same() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "galera_router.testing", "--size", "1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.rstrip() == LAST:
                break
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
    finally:
        process.terminate()
        assert process.wait(60) == 0


@pytest.fixture(scope="module")
def pair() -> Iterator[GaleraCluster]:
    with GaleraCluster(size=2) as cluster:
        yield cluster


def test_what_is_wrong_is_an_answer(pair: GaleraCluster) -> None:
    assert list(answers(pair, ["\n", "kill", "dance db1", "kill db7\n"])) == [
        HELP, HELP, "there is no node 'db7': db1, db2",
    ]  # fmt: skip
    answer(pair, "kill", ["db2"])
    assert answer(pair, "freeze", ["db2"]) == "db2 does not run"


def test_when_no_node_is_left_all_are_started_together(pair: GaleraCluster) -> None:
    """The one that was killed first lacks what the other has written since."""
    assert answer(pair, "kill", ["db1", "db2"]) == "db1  does not run\ndb2  does not run"
    assert answer(pair, "start", ["db1"]).startswith("no node is left: start without a name")
    first, second = answer(pair, "start", []).splitlines()
    assert first.startswith("db1  Synced, Primary of 2")
    assert second.startswith("db2  Synced, Primary of 2")

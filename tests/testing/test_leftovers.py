"""However a program ends, no process and no folder of its cluster is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from galera_router.testing import GaleraCluster
from galera_router.testing.reaper import processes_of
from tests.interruptible import interruptible

from .conftest import wait_for

STARTED = """
import sys, os, time
from galera_router.testing import GaleraCluster
cluster = GaleraCluster(size=1)
cluster.start()
print(cluster.folder, flush=True)
"""
ENDINGS = {
    "wait": "time.sleep(60)",
    "return": "",
    "stop": "cluster.stop(); cluster.stop()",
    "exception": "raise SystemError",
    "_exit": "os._exit(3)",
    "kill itself": "os.kill(os.getpid(), 9)",
    "frozen": "cluster.nodes[0].freeze(); os.kill(os.getpid(), 9)",
    # A child that lives on holds what the parent had open.
    "forked": "os.fork() or (os.close(1), os.close(2), time.sleep(5)); os._exit(0)",
}


class Program:
    """A program that runs a cluster of one node."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            interruptible(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.stdout = self.process.stdout

    def folder(self) -> Path:
        """The cluster's folder, once it is started."""
        folder = Path(self.stdout.readline().strip())
        assert folder.is_absolute()
        return folder

    def end(self, number: signal.Signals) -> None:
        """Send a signal to the program and its group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def assert_nothing_left(self, folder: Path) -> None:
        self.process.wait(timeout=20)
        wait_for(lambda: not folder.exists())
        assert processes_of(folder) == []


def folders_watched_for(parent: int) -> list[Path]:
    """The folders that reapers started by ``parent`` are to remove."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    commands = [_words(child) for child in children]
    return [
        Path(os.fsdecode(command[-3]))
        for command in commands
        if any(word.endswith(b"reaper.py") for word in command)
    ]


def _words(process: str) -> list[bytes]:
    """What the process was started with; nothing if it has just ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return []


def python(ending: str) -> list[str]:
    return [sys.executable, "-c", STARTED + ENDINGS[ending]]


@pytest.mark.parametrize("ending", [name for name in ENDINGS if name != "wait"])
def test_a_program_that_ends(ending: str) -> None:
    program = Program(python(ending))
    program.assert_nothing_left(program.folder())


@pytest.mark.usefixtures("background")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_program_that_is_ended(number: signal.Signals) -> None:
    program = Program(python("wait"))
    folder = program.folder()
    assert processes_of(folder)
    program.end(number)
    program.assert_nothing_left(folder)


@pytest.mark.parametrize("delay", [0, 0.1, 0.3])
def test_a_program_that_is_killed_while_it_starts(delay: float) -> None:
    program = Program(python("wait"))
    wait_for(lambda: bool(folders_watched_for(program.process.pid)))
    (folder,) = folders_watched_for(program.process.pid)
    time.sleep(delay)
    program.end(signal.SIGKILL)
    program.assert_nothing_left(folder)


@pytest.mark.usefixtures("background")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_well_when_told_to(number: signal.Signals) -> None:
    program = Program([sys.executable, "-m", "galera_router.testing", "--size", "1"])
    first = program.stdout.readline()
    assert first.startswith("# db1  127.0.0.1:")
    folder = Path(first.split()[-1]).parents[1]
    program.end(number)
    assert "DATABASES = galera_router.expand(" in program.stdout.read()
    program.assert_nothing_left(folder)
    assert program.process.returncode == 0


def test_two_clusters_do_not_meet() -> None:
    with GaleraCluster(size=1) as one, GaleraCluster(size=1, database="other") as other:
        assert one.folder != other.folder
        folders = [one.folder, other.folder]
        for cluster in (one, other):
            assert cluster.nodes[0].status()["wsrep_cluster_size"] == "1"
        one.stop()
        assert not folders[0].exists()
        assert other.nodes[0].is_synced()
        node = other.nodes[0]
        node.kill()
        node.start()
        assert node.query("SHOW DATABASES LIKE 'other'") == [("other",)]
    assert not folders[1].exists()


def test_a_forked_child_does_not_stop_its_parents_cluster() -> None:
    with GaleraCluster(size=1) as cluster:
        child = os.fork()
        if child == 0:
            cluster.stop()
            os._exit(0)
        os.waitpid(child, 0)
        assert cluster.nodes[0].query("SELECT 1") == [(1,)]

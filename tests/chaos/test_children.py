"""The processes of a run: they end when told, and are ended when they do not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.children import Child, ChildFailed, Crew, end_all, run_to_end
from tests.chaos.config import Config
from tests.testing.conftest import wait_for


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of a run without nodes, so that its processes have nothing to do."""
    nowhere = {"ENGINE": "django.db.backends.mysql", "NAME": "", "USER": "", "PASSWORD": ""}
    path = tmp_path / "config.json"
    Config({"default": nowhere}, [], str(tmp_path), seed=1, processes=1, threads=1).save(path)
    return path


def floor(config: Path) -> Child:
    """A process that has begun."""
    child = Child("floor", config=config, log=config.with_name("floor.log"))
    child.wait_ready()
    child.begin()
    return child


def test_a_child_ends_when_its_input_is_closed(config: Path) -> None:
    """Well, and nobody complains."""
    child = floor(config)
    assert end_all([child], 20, print) == []
    assert not Path(f"/proc/{child.pid}").exists()


@pytest.mark.alone
def test_a_child_that_hangs_is_ended(config: Path) -> None:
    """And is a complaint."""
    child = floor(config)
    os.kill(child.pid, signal.SIGSTOP)
    begin = time.monotonic()
    (complaint,) = end_all([child], 0.2, print)
    assert complaint.startswith("hung or broken: floor")
    assert time.monotonic() - begin < 10
    assert not Path(f"/proc/{child.pid}").exists()


def test_a_child_that_cannot_begin(config: Path) -> None:
    """Its last words are told."""
    child = Child("client", "no number", config=config, log=config.with_name("client.log"))
    try:
        with pytest.raises(ChildFailed, match="no number"):
            child.wait_ready()
    finally:
        child.kill()


def test_an_operation_that_nobody_knows(config: Path) -> None:
    """It is refused before anything is done."""
    Config({"default": {}}, [], "", 1, 1, 1, workloads=("edti",)).save(config)
    with pytest.raises(ChildFailed, match="no such operation: edti"):
        run_to_end("prepare", config)


@pytest.fixture
def crew(config: Path) -> Iterator[Crew]:
    """Two processes that have nothing to do."""
    children = []

    def start(number: int, life: int) -> Child:
        log = config.with_name(f"{number}-{life}.log")
        children.append(Child("floor", config=config, log=log))
        return children[-1]

    yield Crew(start, 2)
    for child in children:
        child.kill()


def test_a_new_client_takes_the_place_of_one_that_was_killed(crew: Crew) -> None:
    """It is known by another name, and nobody complains about the one that is gone."""
    first, other = crew
    crew.kill(0)
    assert not Path(f"/proc/{first.pid}").exists()
    crew.replace(0)
    assert crew[0].pid != first.pid
    assert crew[1] is other
    assert crew.lost == {"0"}
    crew.kill(0)
    crew.replace(0)
    assert crew.lost == {"0", "0-1"}
    other.wait_ready()
    assert end_all(list(crew), 20, print) == []


def test_a_client_is_frozen(crew: Crew) -> None:
    """Until it is thawed."""
    crew[0].freeze()
    wait_for(lambda: state(crew[0]) == "T")
    crew[0].thaw()
    wait_for(lambda: state(crew[0]) != "T")


def test_who_has_ended_is_told_nothing(crew: Crew) -> None:
    """That is no error: others may have ended it just now."""
    assert crew[1].tell("interrupt")
    crew.kill(1)
    assert not crew[1].tell("interrupt")


def state(child: Child) -> str:
    """The letter that the system has for it."""
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0]

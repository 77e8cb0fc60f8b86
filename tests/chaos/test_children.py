"""The processes of a run: they end when told, and are ended when they do not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.children import Child, ChildFailed, end_all, run_to_end
from tests.chaos.config import Config


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

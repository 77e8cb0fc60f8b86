"""What the buttons on the bank's pages do, on real nodes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_strip import control
from demo.control import Buttons, Control

from galera_router.testing import GaleraCluster
from tests.browser import wait


@pytest.fixture
def strip(
    galera: GaleraCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GaleraCluster]:
    """The nodes, with somebody who listens to the site."""
    path = tmp_path / "control"
    monkeypatch.setattr(control, "SOCKET", path)
    with Control(galera, path):
        yield galera
    assert not control.there()


def test_a_node_is_killed_by_its_own_id_and_started(strip: GaleraCluster) -> None:
    """The others live, and the node comes back."""
    pids = {node.name: node.pid for node in strip.nodes}
    said = control.do("kill", "db2")
    assert said == f"kill -9 {pids['db2']}: db2 is dead."
    assert control.processes() == {"db1": "running", "db2": "killed", "db3": "running"}
    assert [strip[name].pid for name in ("db1", "db3")] == [pids["db1"], pids["db3"]]
    assert control.do("start", "db2") == "db2 starts, and catches up with the others."
    assert control.processes()["db2"] == "starting"
    with pytest.raises(control.Refused, match="db2 runs already"):
        control.do("start", "db2")
    wait(lambda: control.processes()["db2"] == "running", 60)
    assert strip["db2"].is_synced()


def test_a_node_is_frozen_and_thawed(strip: GaleraCluster) -> None:
    """By signals; the process stays the same."""
    pid = strip["db3"].pid
    control.do("freeze", "db3")
    assert control.processes()["db3"] == "frozen"
    control.do("thaw", "db3")
    wait(lambda: control.processes()["db3"] == "running")
    assert strip["db3"].pid == pid


@pytest.mark.parametrize("first", ["kill", "freeze"])
@pytest.mark.parametrize("second", ["kill", "freeze"])
def test_the_majority_is_spared(strip: GaleraCluster, first: str, second: str) -> None:
    """Two lost nodes of three are no demonstration of anything."""
    control.do(first, "db1")
    with pytest.raises(control.Refused, match="db1 is not back yet"):
        control.do(second, "db2")
    assert control.processes()["db2"] == "running"
    control.do("kill", "db1")  # the one that is lost already may be lost in another way


@pytest.mark.parametrize("question", [("kill", "db9"), ("destroy", "db1"), ("", "")])
def test_nonsense_is_refused(strip: GaleraCluster, question: tuple[str, str]) -> None:
    """Nodes and actions are those that there are."""
    with pytest.raises(control.Refused, match="no such node or action"):
        control.do(*question)


def test_what_is_no_question_ends_that_conversation_alone(strip: GaleraCluster) -> None:
    """Somebody who sends rubbish gets no answer; the next one does."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(control.SOCKET))
        line.sendall(b"rubbish\n")
        assert line.makefile().readline() == ""
    assert len(control.processes()) == 3


def test_a_node_that_has_ended_by_itself_is_killed(galera: GaleraCluster) -> None:
    """The state is that of the process, not of what was asked for."""
    buttons, node = Buttons(galera), galera["db3"]
    assert node.pid is not None
    os.kill(node.pid, signal.SIGKILL)
    wait(lambda: buttons.process("db3") == "killed")


def test_nobody_is_asked_without_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there are no buttons, and nothing breaks."""
    monkeypatch.setattr(control, "SOCKET", tmp_path / "nothing")
    assert control.processes() == {}
    with pytest.raises(control.Refused, match="does not answer"):
        control.do("kill", "db1")

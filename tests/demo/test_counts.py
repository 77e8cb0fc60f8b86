"""What the strip on the bank's pages counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster_strip import counts, losses
from cluster_strip.counts import Counting, Failover, Wait, last_loss

from galera_router.events import NodeDown, NodeUp, PrimaryChanged


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which nothing is counted yet."""
    monkeypatch.setattr(counts, "FOLDER", tmp_path)
    return tmp_path


def ask(path: str, status: str) -> None:
    """Have a request answered with this status."""

    def application(environ: dict[str, Any], start: Callable[..., object]) -> list[bytes]:
        start(status, [])
        return [b""]

    Counting(application)({"PATH_INFO": path}, lambda *args: lambda data: None)


def test_nothing_has_happened_yet() -> None:
    """Without a request all is zero."""
    nothing = {"requests": 0, "errors": 0, "longest": 0.0, "failover": None}
    assert counts.counted() == nothing


def test_requests_and_errors_are_counted() -> None:
    """Pages are, with their errors; a 404 is none; the strip's own questions are left out."""
    for path, status in (
        ("/", "200 OK"), ("/books/", "500 Internal Server Error"), ("/nothing/", "404 Not Found"),
        ("/transfer/", "503 Service Unavailable"), ("/cluster/state/", "200 OK"),
        ("/static/bank/bank.css", "200 OK"), ("/health/", "500 Internal Server Error"),
    ):  # fmt: skip
        ask(path, status)
    told = counts.counted()
    assert (told["requests"], told["errors"]) == (4, 2)


def test_all_processes_count_together(folder: Path) -> None:
    """Two processes at once lose nothing."""
    work = "from cluster_strip import counts\nfor n in range(500): counts.note_request(n < 5, 0.0)"
    project = Path(__file__).parents[2] / "example_project"
    environ = {"STRIP_FOLDER": str(folder), "PYTHONPATH": str(project)}
    running = [subprocess.Popen([sys.executable, "-c", work], env=environ) for _ in range(2)]
    assert [process.wait(30) for process in running] == [0, 0]
    told = counts.counted()
    assert (told["requests"], told["errors"]) == (1000, 10)


def test_the_longest_wait_and_the_failover_are_told() -> None:
    """They come back from the files as they were noted."""
    for seconds in (0.02, 1.5, 0.3):
        counts.note_request(False, seconds)
    counts.note_failover("db1", "db2", 0.25)
    told = counts.counted()
    assert told["longest"] == 1.5
    found = told["failover"]
    assert (found["lost"], found["by"], found["seconds"]) == ("db1", "db2", 1.5)


def test_long_files_are_read_from_their_end() -> None:
    """Of many lines the last ones are read, and no half of one."""
    for _ in range(1000):
        counts.note_failover("db1", "db2", 0.5)
    counts.note_failover("db2", "db3", 0.25)
    assert counts.counted()["failover"]["lost"] == "db2"


@pytest.mark.parametrize(
    ("failovers", "expected"),
    [
        ([("db1", "db2", 2.1, 10), ("db1", "db3", 0.1, 11)], ("db1", "db2", 2.1)),
        ([("db1", "db2", 2.1, 10), ("db1", "db3", 0.1, 60)], ("db1", "db3", 0.1)),
        ([("db1", "db2", 2.1, 10), ("db2", "db3", 0.1, 11)], ("db2", "db3", 0.1)),
    ],
)
def test_failovers_of_one_loss_are_one(
    failovers: list[tuple[str, str, float, float]], expected: tuple[str, str, float]
) -> None:
    """The longest of those that belong together; an earlier loss is another one."""
    found = last_loss([Failover(*one) for one in failovers], [])
    assert found is not None
    assert found[:3] == expected


@pytest.mark.parametrize(
    ("wait", "seconds"), [((2.0, 11), 2.0), ((2.0, 13), 0.1), ((9.0, 8.9), 0.1), ((1.5, 9.5), 1.5)]
)
def test_a_pause_is_as_long_as_a_request_has_waited(
    wait: tuple[float, float], seconds: float
) -> None:
    """A frozen node is noticed late: who waits for that waits longer than the failover takes."""
    found = last_loss([Failover("db1", "db2", 0.1, 10)], [Wait(*wait)])
    assert found is not None
    assert found.seconds == seconds


def moved(before: str, node: str) -> None:
    """Another node is the primary."""
    losses.note_primary(PrimaryChanged("default", node, before, "why", "web:1", False, 1))


def test_only_the_loss_of_a_primary_is_a_failover() -> None:
    """A switchover is none, nor is the way back."""
    moved("db1", "db2")
    assert counts.counted()["failover"] is None
    losses.note_down(NodeDown("default", "db2", "gone", 2013))
    moved("db2", "db3")
    found = counts.counted()["failover"]
    assert (found["lost"], found["by"]) == ("db2", "db3")
    losses.note_up(NodeUp("default", "db2", 1.0))
    moved("db3", "db2")
    moved("db2", "db1")
    assert counts.counted()["failover"]["by"] == "db3"
    losses.note_down(NodeDown("default", "db3", "gone", 2013))  # it was noticed after the change
    found = counts.counted()["failover"]
    assert (found["lost"], found["by"]) == ("db3", "db2")

"""The demo itself, in a shorter cut."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from demo import __main__ as demo_program

from tests.chaos import __main__ as chaos_program
from tests.demo.running import demo, read_until


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and those that they have started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended in the meantime
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        new = children.get(waiting.pop(), [])
        found.update(new)
        waiting.extend(new)
    return found


def alive(pids: set[int]) -> set[int]:
    """Those that still run."""
    return {pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists()}


@pytest.mark.timeout(120)
def test_short_demo_ends_well() -> None:
    """Both nodes are killed and come back, and the report finds nothing to complain about."""
    with demo("--seconds=15", "--visitors=4") as process:
        output, _ = process.communicate(timeout=110)
    for line in ("kill -9 db2", "kill -9 db1", "db2 is Synced again", "db1 is Synced again"):
        assert line in output, output
    doubts = re.findall(r"(\d+) x .*commit in doubt, reported as such", output)
    errors = re.search(r"^errors +(\d+)$", output, re.MULTILINE)
    assert errors, output
    assert int(errors[1]) == sum(map(int, doubts)), output
    assert output.count(" right\n") == 3, output
    assert re.search(r"^failovers +[0-9]", output, re.MULTILINE), output
    assert process.returncode == (1 if doubts else 0), output


@pytest.mark.usefixtures("background")
@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("words", "moment"), [(["--seconds=60"], " 2."), (["--serve", "--seconds=0"], "Its admin")]
)
def test_interrupted_demo_leaves_nothing_running(words: list[str], moment: str) -> None:
    """Ctrl-C ends the servers, the site and the visitors, in the storm and after it."""
    with demo(*words) as process:
        output = read_until(process, moment)
        time.sleep(1)  # visitors are on their way
        started = descendants(process.pid)
        assert len(started) >= 6, output  # three nodes, the site with its workers, visitors
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        deadline = time.monotonic() + 10
        while alive(started) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not alive(started)
        assert process.returncode == 130


@pytest.mark.usefixtures("background")
@pytest.mark.parametrize("heed_signals", [demo_program.heed_signals, chaos_program.heed_signals])
def test_a_long_run_under_nohup_outlives_its_terminal(heed_signals: Callable[[], None]) -> None:
    """SIGHUP stays ignored; SIGTERM still ends it in good order."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        heed_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        with pytest.raises(SystemExit, match="143"):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

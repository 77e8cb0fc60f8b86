"""Processes that know nothing of each other write to the same primary, and return to it at once."""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from galera_router.cluster import monitor
from galera_router.cluster import nodes as registry
from galera_router.testing import GaleraNode, Statement
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Tag

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]
WORKER = """
import json, os, sys, time
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()
from galera_router import expand
from galera_router.transactions.sessions import session_of
from tests.integration.support import use_databases
from tests.shop.models import Tag
use_databases(expand(json.loads(sys.argv[1])))
until = time.monotonic() + 90
while time.monotonic() < until:
    Tag.objects.create(name="x")
    print(json.dumps([time.time(), session_of("default").primary.node.name]), flush=True)
    time.sleep(0.1)
"""

Report = list[tuple[float, str]]


class Worker:
    """A process that writes every 0.1 s and says where."""

    def __init__(self, shop: Shop) -> None:
        databases = json.dumps(shop.galera.databases(CONN_MAX_AGE=None))
        command = [sys.executable, "-c", WORKER, databases]
        self.report: Report = []
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            moment, name = json.loads(line)
            self.report.append((moment, name))

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def primary(self) -> str:
        return self.report[-1][1] if self.report else ""

    def changes(self) -> list[str]:
        return changes([name for _, name in self.report])

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def changes(names: list[str]) -> list[str]:
    """The names without repetitions."""
    return [name for name, _ in itertools.groupby(names)]


@contextmanager
def workers(shop: Shop, count: int) -> Iterator[list[Worker]]:
    started: list[Worker] = []
    try:
        for _ in range(count):
            started.append(Worker(shop))
            time.sleep(0.3)
        yield started
    finally:
        for worker in started:
            worker.stop()


def wait_for(workers: list[Worker], name: str, seconds: float = 45.0) -> None:
    deadline = time.monotonic() + seconds
    while any(worker.primary() != name for worker in workers):
        assert all(worker.running for worker in workers), "an error reached the application"
        assert time.monotonic() < deadline, f"{name} is not everybody's primary"
        time.sleep(0.05)


def disagreement(first: Report, second: Report) -> float:
    """Seconds for which the two wrote to different nodes, each until its next report."""
    marks = sorted({moment for moment, _ in first + second})
    begin = max(first[0][0], second[0][0])
    return sum(
        after - before
        for before, after in itertools.pairwise(marks)
        if before >= begin and at(first, before) != at(second, before)
    )


def at(report: Report, moment: float) -> str:
    return [name for reported, name in report if reported <= moment][-1]


def test_processes_agree_when_the_primary_dies_and_returns(shop: Shop) -> None:
    with workers(shop, 2) as (first, second):
        wait_for([first, second], "db1")
        shop.galera["db1"].kill()
        wait_for([first, second], "db2")
        shop.galera["db1"].start()
        wait_for([first, second], "db1")
        time.sleep(1.0)
    seconds = disagreement(first.report, second.report)
    print(f"two processes wrote to different nodes for {seconds:.2f} s")
    assert first.changes()[-2:] == second.changes()[-2:] == ["db2", "db1"]
    assert seconds < registry.FAILBACK_SLOT + 0.5


def test_a_process_that_is_started_meanwhile_agrees_with_the_others(shop: Shop) -> None:
    """The first node is just back: the old process does not use it yet, nor may the new one."""
    with workers(shop, 1) as (old,):
        wait_for([old], "db1")
        shop.galera["db1"].kill()
        wait_for([old], "db2")
        shop.galera["db1"].start()
        with workers(shop, 1) as (new,):
            wait_for([new], "db2", 5.0)
            wait_for([old, new], "db1")
        seconds = disagreement(old.report, new.report)
    print(f"the new process wrote to another node for {seconds:.2f} s")
    assert seconds < registry.FAILBACK_SLOT * 2 + 2.0


def test_a_node_that_comes_and_goes_does_not_make_the_primary_come_and_go(shop: Shop) -> None:
    with workers(shop, 2) as both:
        wait_for(both, "db1")
        before = [len(worker.changes()) for worker in both]
        for _ in range(4):
            shop.galera["db1"].reject_queries()
            time.sleep(3.0)
            shop.galera["db1"].accept_queries()
            time.sleep(3.0)
        assert all(worker.running for worker in both)
    for worker, count in zip(both, before, strict=True):
        assert worker.changes()[count:] == ["db2"]


def own(node: GaleraNode, mark: Any) -> list[Statement]:
    """What was sent to ``node``, but for the watchdog's questions."""
    sent = node.log_since(mark)
    pings = {s.connection_id for s in sent if "galera_router_no_such_table" in s.sql}
    return [s for s in sent if s.connection_id not in pings]


def test_a_failback_costs_each_thread_one_connection(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.Cluster, "failback_delay", 1.0)
    monkeypatch.setattr(registry, "FAILBACK_SLOT", 1.0)
    monkeypatch.setattr(registry, "STARTED", 0.0)
    monkeypatch.setattr(monitor, "ASK_WELL", 1.0)
    used: dict[int, list[str]] = {number: [] for number in range(6)}
    done = threading.Event()

    def write(number: int) -> None:
        until = time.monotonic() + 30
        while not done.is_set() and time.monotonic() < until:
            Tag.objects.create(name=f"t{number}")
            used[number].append(shop.writing.name)
            time.sleep(0.02)

    def wait_for_all(name: str) -> None:
        until = time.monotonic() + 15
        while any(names[-1:] != [name] for names in used.values()):
            assert time.monotonic() < until
            time.sleep(0.02)

    threads = [
        threading.Thread(target=elsewhere, args=(functools.partial(write, n),)) for n in used
    ]
    for thread in threads:
        thread.start()
    try:
        wait_for_all("db1")
        shop.galera["db1"].reject_queries(kind="ALL_KILL")
        wait_for_all("db2")
        marks = {node.name: node.log_mark() for node in shop.galera.nodes}
        shop.galera["db1"].accept_queries()
        wait_for_all("db1")
        time.sleep(1.0)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    connects = {
        name: sum(s.command == "Connect" for s in own(shop.galera[name], mark))
        for name, mark in marks.items()
    }
    print(f"connects at the failback of six threads: {connects}")
    # One each; and whoever makes db1 the primary first looks for long transactions on db2.
    assert connects == {"db1": 6 + 1, "db2": 1, "db3": 0}
    assert {tuple(changes(names)) for names in used.values()} == {("db1", "db2", "db1")}

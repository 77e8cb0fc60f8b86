"""Workers that read, change and save one row: ``python -m tests.benchmarks.contention``.

Each function must come to its end, however many are in its way. The first argument is the time in
seconds, the second the number of workers; with ``processes`` as a third they share no memory.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, connections  # noqa: E402

from galera_router import expand, galera_atomic  # noqa: E402
from galera_router.testing import GaleraCluster  # noqa: E402
from tests.integration.support import use_databases  # noqa: E402
from tests.shop.models import Author, Book  # noqa: E402

SECONDS, WORKERS = 60.0, 8


@dataclass
class Tally:
    """What one worker has seen.

    Attributes:
        done: functions that came to their end.
        runs: how many of them took so many runs.
        failed: the errors of the others.
        longest: seconds that one function took at most.
    """

    done: int = 0
    runs: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0


def raise_stock(count: list[int]) -> None:
    """Read, change and save the one row."""
    count[0] += 1
    book = Book.objects.get()
    book.stock += 1
    book.save(update_fields=["stock"])


def work(until: float, function: Callable[[list[int]], Any]) -> Tally:
    """Call ``function`` again and again until the clock says ``until`` (``time.time()``)."""
    tally = Tally()
    while time.time() < until:
        count, began = [0], time.monotonic()
        try:
            function(count)
        except DatabaseError as error:
            tally.failed.append(f"{type(error).__name__}: {error}")
        else:
            tally.done += 1
            tally.runs[count[0]] += 1
        tally.longest = max(tally.longest, time.monotonic() - began)
    connections.close_all()
    return tally


def in_threads(
    workers: int, seconds: float, function: Callable[[list[int]], Any] | None = None
) -> list[Tally]:
    """Run so many workers in threads of this process, each with ``function`` if it is given."""
    function, found = function or galera_atomic(raise_stock), list[Tally]()
    until = time.time() + seconds

    def run(function: Callable[[list[int]], Any] = function) -> None:
        found.append(work(until, function))

    threads = [threading.Thread(target=run) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == workers, "a worker has died"
    return found


def _child(databases: dict[str, Any], seconds: float, results: Any) -> None:
    use_databases(expand(databases))
    results.put(work(time.time() + seconds, galera_atomic(raise_stock)))


def in_processes(databases: dict[str, Any], workers: int, seconds: float) -> list[Tally]:
    """Run so many workers in processes of their own, on the cluster of ``databases``."""
    spawn = multiprocessing.get_context("spawn")
    results: Any = spawn.Queue()
    children = [
        spawn.Process(target=_child, args=(databases, seconds, results)) for _ in range(workers)
    ]
    for child in children:
        child.start()
    found = [results.get(timeout=seconds + 120) for _ in children]
    for child in children:
        child.join(30)
    return found


def report(tallies: list[Tally]) -> None:
    """Print what came of it."""
    runs = sum((tally.runs for tally in tallies), Counter[int]())
    failed = [error for tally in tallies for error in tally.failed]
    done = sum(tally.done for tally in tallies)
    print(f"{done} done, {len(failed)} failed, longest {max(t.longest for t in tallies):.2f} s")
    print("runs:", ", ".join(f"{count} took {run}" for run, count in sorted(runs.items())))
    print("each:", sorted(tally.done for tally in tallies))
    for error, count in Counter(failed).most_common(5):
        print(f"{count} times {error}")


def main(seconds: float = SECONDS, workers: int = WORKERS, processes: bool = False) -> int:
    """Run the workers on a cluster of their own; returns 1 if one of them has failed."""
    with GaleraCluster() as galera:
        databases = galera.databases(OPTIONS={"lost_update_guard": True}, CONN_MAX_AGE=None)
        use_databases(expand(databases))
        call_command("migrate", verbosity=0, run_syncdb=True)
        author = Author.objects.create(name="Ann")
        Book.objects.create(author=author, title="t", stock=0)
        for node in galera.nodes:
            node.wait_applied()
        found = (
            in_processes(databases, workers, seconds) if processes else in_threads(workers, seconds)
        )
        report(found)
        stock = Book.objects.get().stock
        connections.close_all()
    print(f"the row says {stock}")
    failed = any(tally.failed for tally in found)
    return int(failed or stock != sum(tally.done for tally in found))


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(
        main(
            float(given[0]) if given else SECONDS,
            int(given[1]) if len(given) > 1 else WORKERS,
            "processes" in given,
        )
    )

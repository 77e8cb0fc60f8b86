"""Switchovers under load: ``python -m tests.benchmarks.switchover [COUNT]``.

Eight threads write and eight read while the primary is moved from node to node, with ten thousand
rows of markers in the table. Printed are the errors that they met, how long the change itself
took, and for how long no thread had anything committed.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402

from galera_router import expand  # noqa: E402
from galera_router.cluster.failback import move  # noqa: E402
from galera_router.cluster.nodes import cluster_of  # noqa: E402
from galera_router.testing import GaleraCluster  # noqa: E402
from tests.integration.support import use_databases  # noqa: E402
from tests.shop.models import Author, Tag  # noqa: E402

COUNT, WRITERS, READERS, MARKERS = 50, 8, 8, 10_000
BETWEEN = 0.5  # seconds from one change to the next
LONGEST = 300.0  # seconds for the whole run


class Load:
    """Threads that write and read until they are told to end."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.commits: list[float] = []
        self._done = threading.Event()
        self._until = time.monotonic() + LONGEST
        works = [self._write] * WRITERS + [self._read] * READERS
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in works]
        for thread in self._threads:
            thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        while not self._done.is_set() and time.monotonic() < self._until:
            try:
                work()
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
        connections.close_all()

    def _write(self) -> None:
        with transaction.atomic():
            Tag.objects.create(name="x")
        self.commits.append(time.monotonic())

    def _read(self) -> None:
        with transaction.atomic():
            list(Author.objects.all())

    def end(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


def fill(galera: GaleraCluster) -> None:
    """As many rows as many workers have left there."""
    galera.nodes[0].query(
        "INSERT INTO galera_router.galera_router_marker"
        " (worker, seq, found_rows, inserted_key, touched)"
        " SELECT CONCAT('w', seq), 0, 0, 0, UTC_TIMESTAMP()"
        f" FROM galera_router.seq_1_to_{MARKERS}"
    )


def main(count: int) -> int:
    """Run it; the exit status is 1 if a thread has met an error."""
    with GaleraCluster() as galera:
        use_databases(expand(galera.databases(OPTIONS={"failback_delay": None})))
        call_command("migrate", verbosity=0, run_syncdb=True)
        fill(galera)
        Author.objects.create(name="Ann")
        cluster = cluster_of("default")
        assert cluster is not None
        load, changes = Load(), list[float]()
        for number in range(count):
            time.sleep(BETWEEN)
            changes.append(move(cluster.nodes[(number + 1) % 3], "a benchmark").seconds)
        time.sleep(BETWEEN)
        load.end()
        report(load, changes)
        return 1 if load.errors else 0


def report(load: Load, changes: list[float]) -> None:
    """Print what came of it."""
    moments = sorted(load.commits)
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    span = moments[-1] - moments[0]
    print(f"{len(moments)} commits, {len(moments) / span:.0f} a second; {len(changes)} changes")
    print(f"change: median {1e3 * statistics.median(changes):.1f} ms, longest", end=" ")
    print(f"{1e3 * max(changes):.1f} ms; longest time without a commit {1e3 * max(gaps):.0f} ms")
    print(f"{len(load.errors)} errors", *sorted(set(load.errors))[:5], sep="\n")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT))

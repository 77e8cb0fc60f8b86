"""Switchovers under load: ``python -m tests.benchmarks.switchover [COUNT]``.

Eight threads write and eight read while the primary is moved from node to node, with ten thousand
rows of markers in the table. Printed are the errors that they met, how long the change itself
took, and for how long no thread had anything committed, around a change and at any other time. With
``bare`` as another argument clients without Django write besides, as fast as they can.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

import MySQLdb  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402

from galera_router import expand  # noqa: E402
from galera_router.cluster.failback import move  # noqa: E402
from galera_router.cluster.registry import cluster_of  # noqa: E402
from galera_router.recovery.marker import Marker  # noqa: E402
from galera_router.testing import GaleraCluster  # noqa: E402
from tests.integration.support import use_databases  # noqa: E402
from tests.shop.models import Author, Tag  # noqa: E402

COUNT, WRITERS, READERS, BARE, MARKERS = 50, 8, 8, 6, 10_000
BETWEEN = 0.5  # seconds from one change to the next
NEAR = 0.1  # seconds behind a change for which a pause is taken to be its doing
LONGEST = 300.0  # seconds for the whole run


class Load:
    """Threads that write and read until they are told to end."""

    def __init__(self, more: Sequence[Callable[[], None]] = ()) -> None:
        self.errors: list[str] = []
        self.commits: list[float] = []
        self._done = threading.Event()
        self._until = time.monotonic() + LONGEST
        works = [self._write] * WRITERS + [self._read] * READERS + list(more)
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


class Bare:
    """A client without Django, whose transactions have a marker as the router's have."""

    def __init__(self, galera: GaleraCluster) -> None:
        self.commits: list[float] = []
        self._galera = galera
        self._connection: MySQLdb.Connection | None = None
        self._marker: Marker | None = None
        self._epoch = 0

    def write(self) -> None:
        """Commit one row; where that is refused, go to the primary of now."""
        try:
            if self._connection is None:
                self._connect()
            self._commit()
        except MySQLdb.Error:
            self._connection = None
        else:
            self.commits.append(time.monotonic())

    def _connect(self) -> None:
        galera = self._galera
        sql = "SELECT epoch, server FROM galera_router.galera_router_epoch"
        ((epoch, server),) = galera["db3"].query(sql)
        node = galera[str(server).rpartition(" ")[2]]
        login = {"user": galera.user, "passwd": galera.password, "db": galera.database}
        connection = MySQLdb.connect(host=node.host, port=node.port, autocommit=True, **login)
        self._epoch, self._marker = int(epoch), Marker(None)  # type: ignore[arg-type]
        connection.query(self._marker.create(self._epoch))
        self._connection = connection

    def _commit(self) -> None:
        assert self._connection is not None
        assert self._marker is not None
        advance = self._marker.advance(self._epoch).decode()
        self._connection.query(
            f"BEGIN NOT ATOMIC START TRANSACTION; {advance};"
            " INSERT INTO shop_tag (name) VALUES ('bare'); COMMIT; END"
        )
        self._marker.seq += 1


def fill(galera: GaleraCluster) -> None:
    """As many rows as many workers have left there."""
    galera.nodes[0].query(
        "INSERT INTO galera_router.galera_router_marker"
        " (worker, seq, found_rows, inserted_key, touched)"
        " SELECT CONCAT('w', seq), 0, 0, 0, UTC_TIMESTAMP()"
        f" FROM galera_router.seq_1_to_{MARKERS}"
    )


def main(count: int, bare: int) -> int:
    """Run it; the exit status is 1 if a thread of the router's has met an error."""
    with GaleraCluster() as galera:
        use_databases(expand(galera.databases(OPTIONS={"failback_delay": None})))
        call_command("migrate", verbosity=0, run_syncdb=True)
        fill(galera)
        Author.objects.create(name="Ann")
        cluster = cluster_of("default")
        assert cluster is not None
        clients = [Bare(galera) for _ in range(bare)]
        load, changes = Load([client.write for client in clients]), list[Change]()
        try:
            for number in range(count):
                time.sleep(BETWEEN)
                began = time.monotonic()
                seconds = move(cluster.nodes[(number + 1) % 3], "a benchmark").seconds
                changes.append(Change(began, time.monotonic(), seconds))
            time.sleep(BETWEEN)
        finally:
            load.end()
        for client in clients:
            load.commits += client.commits
        report(load, changes)
        return 1 if load.errors else 0


class Change(NamedTuple):
    """When a change was begun and done, and how long its last try took; all in seconds."""

    began: float
    done: float
    seconds: float

    def pause(self, gaps: list[tuple[float, float]]) -> float:
        """The longest time without a commit that begins or ends near this change."""
        near = [end - begin for begin, end in gaps if begin < self.done + NEAR and end > self.began]
        return max(near, default=0.0)


def report(load: Load, changes: list[Change]) -> None:
    """Print what came of it."""
    moments = sorted(load.commits)
    gaps = list(itertools.pairwise(moments))
    pauses = [change.pause(gaps) for change in changes]
    calm = [e - b for b, e in gaps if all(e < c.began or b > c.done + NEAR for c in changes)]
    span = moments[-1] - moments[0]
    print(f"{len(moments)} commits, {len(moments) / span:.0f} a second; {len(changes)} changes")
    tell("the change itself", [change.seconds for change in changes])
    tell("with what was in its way", [change.done - change.began for change in changes])
    tell("no commit around a change for", pauses)
    print(f"no commit at any other time for at most {1e3 * max(calm):.0f} ms")
    print(f"{len(load.errors)} errors", *sorted(set(load.errors))[:5], sep="\n")


def tell(what: str, seconds: list[float]) -> None:
    middle, longest = statistics.median(seconds), max(seconds)
    print(f"{what}: median {1e3 * middle:.1f} ms, longest {1e3 * longest:.1f} ms")


if __name__ == "__main__":
    given = sys.argv[1:]
    numbers = [int(word) for word in given if word.isdigit()]
    sys.exit(main(numbers[0] if numbers else COUNT, BARE if "bare" in given else 0))

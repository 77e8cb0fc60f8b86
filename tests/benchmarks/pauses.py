"""How long writes pause when the primary is lost: ``python -m tests.benchmarks.pauses [ROUNDS]``.

A writer with the router and a bare client of each surviving node write all the time; the primary
is killed or frozen. Printed is for each fault how long the writer's longest write took, and that of
the quicker bare client. With ``defaults`` as another argument the cluster has Galera's own
time-outs in place of those of the test cluster, which are shorter.
"""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

import MySQLdb  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, connections  # noqa: E402

from galera_router import expand  # noqa: E402
from galera_router.testing import GaleraCluster, GaleraNode  # noqa: E402
from tests.integration.support import use_databases, wait_until  # noqa: E402
from tests.shop.models import Tag  # noqa: E402

ROUNDS = 5
#: What a server has whose configuration says nothing of it.
DEFAULTS = {
    "gmcast.time_wait": "PT5S",
    "evs.keepalive_period": "PT1S",
    "evs.inactive_check_period": "PT0.5S",
    "evs.suspect_timeout": "PT5S",
    "evs.inactive_timeout": "PT15S",
    "evs.install_timeout": "PT7.5S",
}
#: Seconds: before a fault, for it at most, from one write to the next.
CALM, LONGEST, EVERY = 2.0, 60.0, 0.005
AGAIN = 0.02  # seconds between two tries of a bare client


class Writer(threading.Thread):
    """Writes until it is told to end; each of ``writes`` is when one began and when it was done."""

    def __init__(self, write: Callable[[], None]) -> None:
        super().__init__()
        self.write = write
        self.writes: list[tuple[float, float]] = []
        self.errors: list[str] = []
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            began = time.monotonic()
            try:
                self.write()
            except DatabaseError as error:
                self.errors.append(f"{type(error).__name__}: {error}")
            else:
                self.writes.append((began, time.monotonic()))
            time.sleep(EVERY)
        connections.close_all()

    def has_written_since(self, moment: float) -> bool:
        """Returns True if a write has begun and ended after ``moment``."""
        return bool(self.writes) and self.writes[-1][0] > moment

    def pause(self, begin: float) -> float:
        """Seconds from ``begin``, a fault, to the end of the longest write that met it."""
        met = [(start, end) for start, end in self.writes if end > begin]
        start, end = max(met, key=lambda write: write[1] - write[0])
        return end - max(start, begin)


class Bare:
    """A client without Django, that tries until it has written."""

    def __init__(self, galera: GaleraCluster, node: GaleraNode, done: threading.Event) -> None:
        self._login = {
            "host": node.host, "port": node.port, "user": galera.user, "passwd": galera.password,
            "db": galera.database, "autocommit": True, "connect_timeout": 2,
        }  # fmt: skip
        self._done = done
        self._connection: MySQLdb.Connection | None = None

    def write(self) -> None:
        while not self._once() and not self._done.is_set():
            time.sleep(AGAIN)

    def _once(self) -> bool:
        try:
            if self._connection is None:
                self._connection = MySQLdb.connect(**self._login)
            with closing(self._connection.cursor()) as cursor:
                cursor.execute("INSERT INTO shop_tag (name) VALUES ('bare')")
        except MySQLdb.Error:
            self._connection = None
            return False
        return True


def write() -> None:
    """What the router's writer does."""
    Tag.objects.create(name="router")


def one_round(galera: GaleraCluster, strike: Callable[[GaleraNode], None]) -> tuple[float, float]:
    """The pause of the router's writer, and the shorter one of the bare clients."""
    done = threading.Event()
    bare = [Writer(Bare(galera, node, done).write) for node in galera.nodes[1:]]
    writers = [Writer(write), *bare]
    for writer in writers:
        writer.start()
    try:
        time.sleep(CALM)
        struck = time.monotonic()
        strike(galera.nodes[0])
        with suppress(AssertionError):
            after = time.monotonic()
            wait_until(lambda: all(one.has_written_since(after) for one in writers), LONGEST)
    finally:
        done.set()
        for writer in writers:
            writer.done.set()
            writer.join()
    errors = [error for writer in writers for error in writer.errors]
    assert not errors, errors
    return writers[0].pause(struck), min(one.pause(struck) for one in bare)


def first_again(galera: GaleraCluster) -> None:
    """All nodes run, and the first is the primary."""
    galera.heal()
    connections.close_all()
    call_command("galera_switchover", verbosity=0, stdout=open(os.devnull, "w"))  # noqa: SIM115


def main(rounds: int, *, defaults: bool) -> int:
    """Run it; the exit status is 1 if a pause exceeds a bare client's by more than a tenth."""
    strikes = {"killed": GaleraNode.kill, "frozen": GaleraNode.freeze}
    bad = False
    with GaleraCluster(provider=DEFAULTS if defaults else None) as galera:
        use_databases(expand(galera.databases(CONN_MAX_AGE=None)))
        call_command("migrate", verbosity=0, run_syncdb=True)
        for name, strike in strikes.items():
            found = []
            for _ in range(rounds):
                first_again(galera)
                found.append(one_round(galera, strike))
                print(f"{name}: {found[-1][0]:.2f} s, bare {found[-1][1]:.2f} s", flush=True)
            ours, bare = (statistics.median(values) for values in zip(*found, strict=True))
            longest = max(pause for pause, _ in found)
            print(f"{name}: median {ours:.2f} s, longest {longest:.2f} s; a bare client {bare:.2f}"
                  f" s; ratio {ours / bare:.2f}", flush=True)  # fmt: skip
            bad |= name == "killed" and ours > 1.1 * bare
        galera.heal()
    return int(bad)


if __name__ == "__main__":
    given = sys.argv[1:]
    numbers = [int(word) for word in given if word.isdigit()]
    sys.exit(main(numbers[0] if numbers else ROUNDS, defaults="defaults" in given))

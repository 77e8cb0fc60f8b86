"""A rolling upgrade under load: ``python -m tests.drill --seconds 600 --writers 8 --readers 8``.

Each node in turn is drained, stopped, started again and put back by the commands that an operator
uses, while processes write and read. The primary is moved by its drain. Afterwards every node must
have exactly what the writers were told. The exit status is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from galera_router.testing import GaleraCluster, GaleraNode

from .load import Account
from .site import begin

#: Seconds between two nodes, in which the primary goes back to the first of NODES, say.
REST = 5.0
#: Seconds that a process may take to end.
LONGEST = 120.0
#: Where a block begins on the primary, Django's READ COMMITTED would be no snapshot.
OPTIONS = {"failback_delay": 3, "isolation_level": "repeatable read"}


@dataclass
class Step:
    """Something that the operator has done, and when (monotonic seconds)."""

    name: str
    began: float
    ended: float


class Drill:
    """One run, in ``folder``."""

    def __init__(self, galera: GaleraCluster, folder: Path, writers: int, readers: int) -> None:
        self._galera = galera
        self._settings = folder / "databases.json"
        self._settings.write_text(json.dumps(galera.databases(OPTIONS=OPTIONS)))
        self._folder = folder
        self._processes = max(1, min(4, writers, readers))
        self._shares = list(
            zip(_shared(writers, self._processes), _shared(readers, self._processes), strict=True)
        )
        self.steps: list[Step] = []
        self.switchovers: list[str] = []

    def prepare(self) -> None:
        """Make the tables, and the counters of all writers."""
        # To see transactions that rest, as the documentation advises.
        self._galera.nodes[0].query(f"GRANT PROCESS ON *.* TO '{self._galera.user}'@'%'")
        begin(self._settings)
        from django.core.management import call_command
        from django.db import connections

        from tests.shop.models import Author, Book

        call_command("migrate", verbosity=0, run_syncdb=True)
        author = Author.objects.create(name="the drill")
        for number, (writers, _) in enumerate(self._shares):
            for thread, half in itertools.product(range(writers), "ab"):
                title = f"{number}.{thread}.{half}"
                Book.objects.create(author=author, title=title, stock=0)
        connections.close_all()

    @contextmanager
    def load(self, accounts: list[Account]) -> Iterator[None]:
        """Processes that work for the time of the block; ``accounts`` has theirs behind it."""
        files = [self._folder / f"account{number}.json" for number in range(self._processes)]
        running = [self._start(number, file) for number, file in enumerate(files)]
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        try:
            yield
        finally:
            for process in running:
                process.communicate(timeout=LONGEST)
        accounts += [Account(**json.loads(file.read_text())) for file in files]

    def _start(self, number: int, file: Path) -> subprocess.Popen[str]:
        writers, readers = self._shares[number]
        arguments = [str(value) for value in (self._settings, file, number, writers, readers)]
        command = [sys.executable, "-m", "tests.drill.load", *arguments]
        with (self._folder / f"log{number}").open("w") as log:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def upgrade(self, node: GaleraNode) -> None:
        """Take one node out, start its server anew, and put it back."""
        with self._step(f"drain {node.name}"):
            said = self._manage("galera_drain", node.name)
        self.switchovers += [line for line in said.splitlines() if "is the primary now" in line]
        with self._step(f"stop {node.name}"):
            node.stop()
        with self._step(f"start {node.name}"):
            node.start()
            node.wait_synced()
        with self._step(f"put back {node.name}"):
            self._manage("galera_drain", node.name, "--undo")

    def rest(self, seconds: float) -> None:
        """Let it work for a while; the primary may go back."""
        with self._step("rest"):
            time.sleep(seconds)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.steps.append(Step(name, began, time.monotonic()))

    def _manage(self, *args: str) -> str:
        from django.core.management import call_command

        out = StringIO()
        call_command(*args, stdout=out)
        return out.getvalue()

    def _placed(self, at: float, error: str) -> str:
        steps = [step.name for step in self.steps if step.began <= at <= step.ended]
        return f"{', '.join(steps) or 'at the end'}: {error}"

    def check(self, accounts: list[Account]) -> list[str]:
        """What is wrong with what the nodes have; nothing if all is well."""
        tokens = sorted(token for account in accounts for token in account.tokens)
        complaints = [self._placed(*error) for account in accounts for error in account.errors]
        for node in self._galera.nodes:
            node.wait_applied()
            rows = node.query("SELECT name FROM galera_router.shop_tag")
            found = sorted(str(name) for (name,) in rows)
            complaints += _compared(node.name, tokens, found)
            ((stock,),) = node.query("SELECT SUM(stock) FROM galera_router.shop_book")
            if int(stock) != 2 * len(tokens):
                complaints.append(f"{node.name}: the counters say {stock} of {2 * len(tokens)}")
        return complaints


def _shared(count: int, parts: int) -> list[int]:
    return [count // parts + (number < count % parts) for number in range(parts)]


def _compared(name: str, told: list[str], found: list[str]) -> list[str]:
    lost, others = set(told) - set(found), set(found) - set(told)
    texts = {
        f"{name}: {len(lost)} committed transactions are lost": bool(lost),
        f"{name}: {len(others)} that nobody was told of": bool(others),
        f"{name}: some are there twice": len(found) != len(set(found)),
    }
    return [text for text, holds in texts.items() if holds]


# --- the report ---------------------------------------------------------------------------


def report(drill: Drill, accounts: list[Account], complaints: list[str]) -> None:
    """Print each step and each pause, and what is wrong."""
    writes = sorted((w for a in accounts for w in a.writes), key=lambda write: write[1])
    reads = [read for account in accounts for read in account.reads]
    print(f"{'step':16} {'took':>7} {'writes':>7} {'longest':>8} {'no commit':>10} ", end="")
    print(f"{'reads':>7} {'longest':>8}   (ms, where not s)")
    for step in drill.steps:
        print(_line(step, writes, reads))
    print()
    for text in drill.switchovers:
        print(text)
    both = "{} writes, longest {:.0f} ms; {} reads, longest {:.0f} ms"
    print(both.format(len(writes), 1e3 * _longest(writes), len(reads), 1e3 * _longest(reads)))
    print(f"{len(complaints)} errors", *sorted(set(complaints))[:10], sep="\n")


def _line(step: Step, writes: list[tuple[float, float]], reads: list[tuple[float, float]]) -> str:
    w = [each for each in writes if step.began <= each[1] < step.ended]
    r = [each for each in reads if step.began <= each[1] < step.ended]
    gaps = [after[1] - before[1] for before, after in itertools.pairwise(w)]
    return (
        f"{step.name:16} {step.ended - step.began:5.1f} s {len(w):7} {1e3 * _longest(w):8.0f}"
        f" {1e3 * max(gaps, default=0.0):10.0f} {len(r):7} {1e3 * _longest(r):8.0f}"
    )


def _longest(calls: list[tuple[float, float]]) -> float:
    return max((ended - began for began, ended in calls), default=0.0)


def main(arguments: list[str]) -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="at least one round is made")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=8)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, GaleraCluster() as galera:
        drill = Drill(galera, Path(folder), options.writers, options.readers)
        drill.prepare()
        accounts: list[Account] = []
        with drill.load(accounts):
            _rounds(drill, galera, time.monotonic() + options.seconds)
        complaints = drill.check(accounts)
        report(drill, accounts, complaints)
        return 1 if complaints else 0


def _rounds(drill: Drill, galera: GaleraCluster, until: float) -> None:
    """The first of NODES, the primary, comes last in each round."""
    order = [*galera.nodes[1:], galera.nodes[0]]
    for number, node in enumerate(itertools.cycle(order)):
        if number >= len(order) and time.monotonic() >= until:
            return
        drill.rest(REST)
        drill.upgrade(node)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

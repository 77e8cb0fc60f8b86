"""One ticket, two buyers, while the primary changes: ``python -m tests.benchmarks.tickets``.

Two processes want each ticket at the same moment, and buy it under the lock of a row that is not
changed. Meanwhile the primary is changed, 200 times in each case or as often as the first argument
says; further arguments pick cases:

- ``failback``: another node was made the primary, and the router makes db1 the primary again.
- ``switchover``: ``galera_switchover`` moves it from node to node.
- ``desynced``: db1 is desynced, so that another node takes over, and then it is well again.
- ``cut-off``: one buyer cannot reach db1 any more, and takes the primary with it; then it can.

Each ticket must be sold once, and whoever has not got it must have seen that it is sold.
"""

from __future__ import annotations

import io
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.core.management import call_command  # noqa: E402

from galera_router import expand  # noqa: E402
from galera_router.cluster.failback import move  # noqa: E402
from galera_router.cluster.registry import cluster_of  # noqa: E402
from galera_router.testing import GaleraCluster, Proxy  # noqa: E402
from tests.benchmarks.buyers import be_quick, buy_until  # noqa: E402
from tests.faults import children  # noqa: E402
from tests.faults.children import Child  # noqa: E402
from tests.integration.support import use_databases, wait_until  # noqa: E402
from tests.shop.models import Room  # noqa: E402

ROUNDS = 200
EPOCHS = "galera_router.galera_router_epoch"
LONGEST = 30.0  # seconds for one change


@dataclass
class Market:
    """The cluster, and the way of the second buyer, which alone may be cut off."""

    galera: GaleraCluster
    way: dict[str, Proxy]

    @property
    def primary(self) -> str:
        """The node that the row names."""
        ((server,),) = self.galera["db3"].query(f"SELECT server FROM {EPOCHS}")
        return str(server).rpartition(" ")[2]

    def calm(self) -> None:
        """As if the primary had not been changed lately: the next change is not put off."""
        self.galera["db3"].query(f"UPDATE {EPOCHS} SET flips = 0, held = 0")

    def wait_for(self, *names: str) -> None:
        """Wait until one of these nodes is the primary."""
        wait_until(lambda: self.primary in names, LONGEST)

    def make_primary(self, number: int) -> None:
        """Move it, but not by hand: it may go back."""
        cluster = cluster_of("default")
        assert cluster is not None
        move(cluster.nodes[number], "a benchmark")


@dataclass
class Sales:
    """What the buyers were told, and what there is.

    Attributes:
        bought: the tickets of each buyer.
        lost: those that each has found sold.
        errors: what they were told else.
        rows: the tickets that are sold, each as often as it is there.
        changes: how often the primary was changed.
    """

    bought: list[list[str]]
    lost: list[list[str]]
    errors: list[str]
    rows: list[str]
    changes: int = 0

    def complaints(self) -> Iterator[str]:
        """Whatever is not as with one server."""
        there = Counter(self.rows)
        told = Counter(ticket for bought in self.bought for ticket in bought)
        yield from (f"{ticket} sold {count} times" for ticket, count in there.items() if count > 1)
        yield from (f"{ticket} not there" for ticket in told if ticket not in there)
        yield from (f"{ticket} told to {n} buyers" for ticket, n in told.items() if n > 1)
        for lost in self.lost:
            yield from (f"{ticket} seen, and not sold" for ticket in lost if ticket not in there)

    def line(self) -> str:
        both = set(self.bought[0] + self.lost[0]) & set(self.bought[1] + self.lost[1])
        return (
            f"{len(self.rows)} tickets sold, {len(both)} of them wanted by both,"
            f" {len(self.errors)} errors, {self.changes} changes of the primary"
        )


# --- the cases ----------------------------------------------------------------------------


def failback(market: Market) -> None:
    """It goes away, and the router brings it back by itself."""
    market.make_primary(random.choice((1, 2)))
    market.calm()
    market.wait_for("db1")


def switchover(market: Market) -> None:
    """It is moved by hand."""
    name = random.choice([name for name in ("db1", "db2", "db3") if name != market.primary])
    call_command("galera_switchover", name, stdout=io.StringIO())
    time.sleep(random.uniform(0.1, 0.3))


def desynced(market: Market) -> None:
    """It says that it is out of step, and later that it is not."""
    first = market.galera["db1"]
    first.query("SET GLOBAL wsrep_desync = ON")
    market.wait_for("db2", "db3")
    first.query("SET GLOBAL wsrep_desync = OFF")
    market.calm()
    market.wait_for("db1")
    market.calm()


def cut_off(market: Market) -> None:
    """One buyer alone cannot reach it for a while."""
    market.way["db1"].refuse()
    market.way["db1"].cut()
    market.wait_for("db2", "db3")
    market.way["db1"].accept()
    market.calm()
    market.wait_for("db1")
    market.calm()


CASES: dict[str, Callable[[Market], None]] = {
    "failback": failback,
    "switchover": switchover,
    "desynced": desynced,
    "cut-off": cut_off,
}


@contextmanager
def buying(galera: GaleraCluster, people: Sequence[Child], found: list[Any]) -> Iterator[None]:
    """Have all buy for the time of the block; what they say is in ``found`` afterwards."""
    stop = Path(galera.folder) / "stop"
    with ThreadPoolExecutor(len(people)) as pool:
        futures = [
            pool.submit(child.call, buy_until, str(stop), str(number))
            for number, child in enumerate(people)
        ]
        try:
            yield
        finally:
            stop.touch()
            found += [future.result(60) for future in futures]
            stop.unlink()


def trade(galera: GaleraCluster, case: Callable[[Market], None], rounds: int) -> Sales:
    """Two buyers, and ``rounds`` of ``case``."""
    options = {"failback_delay": None if case is switchover else 0.0, "reconnect_wait_time": 30.0}
    settings: dict[str, Any] = {"CONN_MAX_AGE": None, "OPTIONS": options}
    said: list[Any] = []
    with (
        galera.proxies() as way,
        Child(galera.databases(**settings)) as first,
        Child(galera.databases(proxies=way, **settings)) as second,
    ):
        for child in (first, second):
            child.call(be_quick)
        market, before = Market(galera, way), epoch(galera)
        with buying(galera, (first, second), said):
            time.sleep(1.0)
            for _ in range(rounds):
                case(market)
            time.sleep(1.0)
    bought, lost, errors = (list(part) for part in zip(*said, strict=True))
    galera["db3"].wait_applied()
    rows = galera["db3"].query("SELECT name FROM galera_router.shop_tag")
    sold = [str(name).partition(" ")[0] for (name,) in rows]
    return Sales(
        bought, lost, [error for some in errors for error in some], sold, epoch(galera) - before
    )


def epoch(galera: GaleraCluster) -> int:
    galera["db3"].wait_applied()
    ((number,),) = galera["db3"].query(f"SELECT epoch FROM {EPOCHS}")
    return int(number)


def main(rounds: int, names: Sequence[str]) -> int:
    """Run the cases; the exit status is 1 if a ticket was sold twice, or a buyer met an error."""
    children.SECONDS = 3600.0
    bad = False
    for name in names:
        with GaleraCluster() as galera:
            use_databases(expand(galera.databases(OPTIONS={"failback_delay": None})))
            call_command("migrate", verbosity=0, run_syncdb=True)
            Room.objects.create(name="office")
            sales = trade(galera, CASES[name], rounds)
        print(f"{name}, {rounds} rounds: {sales.line()}", flush=True)
        complaints = [*sales.complaints(), *sales.errors]
        print(*(f"  {complaint}" for complaint in complaints[:10]), sep="\n", flush=True)
        bad |= bool(complaints) or not sales.rows
    return int(bad)


if __name__ == "__main__":
    given = sys.argv[1:]
    numbers = [int(word) for word in given if word.isdigit()]
    cases = [word for word in given if not word.isdigit()]
    sys.exit(main(numbers[0] if numbers else ROUNDS, cases or list(CASES)))

"""One primary at each commit: ``python -m tests.benchmarks.one_primary [CASE ...]``.

Processes write all the time while some of them cannot reach the primary. Each transaction notes the
server that it is on and the epoch of its own marker, and afterwards its number in the cluster's own
order. In that order the epochs must never go back, and each must be of one server alone. Cases:

- ``halves``: two processes, each of which reaches one node only, db1 or db2; 60 seconds.
- ``full``: three processes; db1 is at ``max_connections``, and one of them loses what connections
  it has there; 40 seconds.
- ``cut-off``: three processes, one of which cannot reach db1; 40 seconds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

import MySQLdb  # noqa: E402
from django.core.management import call_command  # noqa: E402

from galera_router import expand  # noqa: E402
from galera_router.testing import GaleraCluster, GaleraNode, Proxy  # noqa: E402
from tests.benchmarks.commits import Commit, going_back, two_servers, write_for  # noqa: E402
from tests.faults import children  # noqa: E402
from tests.faults.children import Child  # noqa: E402
from tests.integration.support import use_databases  # noqa: E402
from tests.shop.models import Tag  # noqa: E402

OPTIONS = {"failback_delay": None, "reconnect_wait_time": 5.0}
BEFORE, AFTER = 3.0, 5.0  # seconds
FEW, TOO_MANY = 10, 1040  # the server takes no smaller max_connections


# --- what came of it ----------------------------------------------------------------------


@dataclass
class Account:
    """What the processes of one case have been told, and how often the primary was changed."""

    commits: list[Commit] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    changes: int = 0

    def complaints(self) -> list[str]:
        """Whatever two primaries would have left."""
        return [*two_servers(self.commits), *going_back(self.commits)]

    def line(self) -> str:
        known = sum(number >= 0 for _, _, number in self.commits)
        servers = len({server for server, _, _ in self.commits})
        return (
            f"{len(self.commits)} commits ({known} with their place in the order) on {servers}"
            f" servers, {self.changes} changes of the primary, {len(self.errors)} errors"
        )


# --- the cases ----------------------------------------------------------------------------


def changes(galera: GaleraCluster) -> int:
    """How often the primary was changed so far."""
    ((epoch,),) = galera["db3"].query("SELECT epoch FROM galera_router.galera_router_epoch")
    return int(epoch)


def databases(galera: GaleraCluster, proxies: dict[str, Proxy] | None = None) -> dict[str, Any]:
    return galera.databases(proxies=proxies, CONN_MAX_AGE=None, OPTIONS=OPTIONS)


def told(people: Sequence[Child], seconds: float, strike: Any = None) -> Account:
    """Have all write for so long; ``strike`` is entered after :data:`BEFORE` seconds."""
    account = Account()
    with ThreadPoolExecutor(len(people)) as pool:
        futures = [pool.submit(child.call, write_for, seconds) for child in people]
        if strike is not None:
            time.sleep(BEFORE)
            with strike:
                time.sleep(max(0.0, seconds - BEFORE - AFTER))
        for future in futures:
            commits, errors = future.result(seconds + 60)
            account.commits += [(server, epoch, number) for server, epoch, number in commits]
            account.errors += errors
    return account


@contextmanager
def connected(galera: GaleraCluster, ways: Sequence[dict[str, Proxy] | None]) -> Iterator[Any]:
    """A process for each of ``ways``."""
    with ExitStack() as stack:
        yield [stack.enter_context(Child(databases(galera, way))) for way in ways]


def halves(galera: GaleraCluster, seconds: float) -> Account:
    """Two processes that each reach one node."""
    with ExitStack() as stack:
        ways = [stack.enter_context(galera.proxies()) for _ in range(2)]
        for way, reached in zip(ways, ("db1", "db2"), strict=True):
            for name in way.keys() - {reached}:
                way[name].refuse()
        with connected(galera, ways) as people:
            return told(people, seconds)


@contextmanager
def at_max_connections(galera: GaleraCluster, node: GaleraNode, way: Proxy) -> Iterator[None]:
    """The node takes no more connections, and ends those that come by ``way``."""
    ((before,),) = node.query("SELECT @@GLOBAL.max_connections")
    login = {"host": node.host, "port": node.port, "user": galera.user, "passwd": galera.password}
    with ExitStack() as stack:
        stack.callback(node.query, "SET GLOBAL max_connections = %s", [before])
        node.query("SET GLOBAL max_connections = %s", [FEW])
        way.cut()
        for _ in range(FEW + 1):
            with suppress(MySQLdb.OperationalError):
                stack.enter_context(closing(MySQLdb.connect(**login)))
        yield


def full(galera: GaleraCluster, seconds: float) -> Account:
    """The primary is at its limit; one process has just lost its connections."""
    with galera.proxies() as proxies, connected(galera, [None, None, proxies]) as people:
        strike = at_max_connections(galera, galera["db1"], proxies["db1"])
        return told(people, BEFORE + seconds + AFTER, strike)


@contextmanager
def refused(way: Proxy) -> Iterator[None]:
    """Whoever comes by ``way`` does not get through."""
    way.refuse()
    way.cut()
    yield
    way.accept()


def cut_off(galera: GaleraCluster, seconds: float) -> Account:
    """One process of three cannot reach the primary."""
    with galera.proxies() as proxies, connected(galera, [None, None, proxies]) as people:
        return told(people, BEFORE + seconds + AFTER, refused(proxies["db1"]))


CASES = {"halves": (halves, 60.0), "full": (full, 40.0), "cut-off": (cut_off, 40.0)}


def main(names: Sequence[str]) -> int:
    """Run the cases; the exit status is 1 if one of them shows two primaries."""
    children.SECONDS = 120.0
    bad = False
    for name in names:
        case, seconds = CASES[name]
        with GaleraCluster() as galera:
            use_databases(expand(databases(galera)))
            call_command("migrate", verbosity=0, run_syncdb=True)
            Tag.objects.create(name="first")
            before = changes(galera)
            account = case(galera, seconds)
            account.changes = changes(galera) - before
        print(f"{name}: {account.line()}", flush=True)
        for error in sorted(set(account.errors))[:5]:
            print(f"  {account.errors.count(error)} times {error}")
        for complaint in account.complaints()[:10]:
            bad = True
            print(f"  TWO PRIMARIES: {complaint}")
        bad |= not account.commits
    return int(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(CASES)))

"""What reading one's writes costs: ``python -m tests.benchmarks.causality``.

Each line is a read of one row in a transaction, as a ratio to the same read that has nothing to
wait for; and a write in a request, with and without its token. All run in turn in one process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from django.core.management import call_command
from django.db import connections, transaction

from galera_router import after, causal_token, expand, reads
from galera_router.causality import scope
from galera_router.cluster.nodes import clusters_met
from galera_router.testing import GaleraCluster
from galera_router.transactions.session import session_of
from tests.benchmarks.__main__ import ROUNDS, wait
from tests.integration.support import use_databases
from tests.shop.models import Author

RUNS = 150  # of one side in one round
Work = Callable[[], object]


def forget() -> None:
    """As in a worker that has not asked any node how far it has come."""
    for cluster in clusters_met():
        for node in cluster.nodes:
            node.position = None


def read() -> None:
    with transaction.atomic():
        Author.objects.get(pk=1)


def write() -> None:
    with transaction.atomic():
        Author.objects.filter(pk=1).update(name="Ann")


def with_token(token: str) -> Work:
    def run() -> None:
        with after(token):
            read()

    return run


def unknown(work: Work) -> Work:
    def run() -> None:
        forget()
        work()

    return run


def behind() -> None:
    """The first read after a write of this thread: the node is asked to catch up."""
    context = session_of("default")
    assert context is not None
    context.following.behind = set(context.cluster.nodes)
    read()


def in_request(work: Work, *, token: bool = False) -> Work:
    def run() -> None:
        with scope.needing({}, request=True):
            work()
            if token:
                causal_token()

    return run


def measure(work: Work) -> float:
    """Microseconds of one run."""
    work()
    began = time.perf_counter()
    for _ in range(RUNS):
        work()
    return (time.perf_counter() - began) / RUNS * 1e6


def compare(sides: dict[str, Work]) -> None:
    """Print each side's time, and its ratio to the first one's."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, work in sides.items():
            times[name].append(measure(work))
    base = times[next(iter(sides))]
    for name, found in times.items():
        ratio = statistics.median(f / b for f, b in zip(found, base, strict=True))
        print(f"{name:56}{statistics.median(found):8.0f} µs{ratio:7.2f}")


def main() -> None:
    with GaleraCluster() as cluster:
        use_databases(expand(cluster.databases(CONN_MAX_AGE=None)))
        call_command("migrate", verbosity=0, run_syncdb=True)
        Author.objects.create(pk=1, name="Ann")
        token = causal_token()
        wait(cluster)
        compare(
            {
                "a read, nothing to wait for": read,
                "with a token, the node known to have come so far": with_token(token),
                "with a token, the node asked": unknown(with_token(token)),
                "the first read after a write of this thread": behind,
                'reads("any")': reads("any")(read),
                'reads("primary")': reads("primary")(read),
            }
        )
        compare(
            {
                "a request that writes": in_request(write),
                "and its token": in_request(write, token=True),
            }
        )
        connections.close_all()


if __name__ == "__main__":
    main()

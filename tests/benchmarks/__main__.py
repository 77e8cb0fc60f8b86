"""Client CPU and time against stock Django on one node: ``python -m tests.benchmarks``.

Both sides run in turn in one process, on one cluster, so that only their ratio counts.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402

from galera_router import expand  # noqa: E402
from galera_router.testing import GaleraCluster  # noqa: E402
from tests.integration.support import use_databases  # noqa: E402
from tests.shop.models import Author, Book  # noqa: E402

ROUNDS = 9
SECONDS = 0.4  # of one side in one round

Work = Callable[[], Any]


def request(view: Work) -> Work:
    """``view`` as ATOMIC_REQUESTS runs it."""

    def run() -> None:
        for wrapper in connections.all(initialized_only=True):
            wrapper.close_if_unusable_or_obsolete()
        with transaction.atomic(using="default"):
            view()

    return run


def ten_reads() -> None:
    for n in range(10):
        Book.objects.filter(stock__gt=n).count()


def five_reads_and_a_save() -> None:
    for _ in range(4):
        Author.objects.count()
    Book.objects.order_by("pk").first().save(update_fields=["stock"])  # type: ignore[union-attr]


CASES: dict[str, Work] = {
    "no query": request(lambda: None),
    "1 read": request(Author.objects.count),
    "10 reads": request(ten_reads),
    "1,000 rows": request(lambda: list(Book.objects.all())),
    "1,000 rows, values_list": request(lambda: list(Book.objects.values_list())),
    "5 reads and a save": request(five_reads_and_a_save),
    "1 write": request(lambda: Book.objects.filter(pk=1).update(stock=1)),
    "1 read, autocommit": Author.objects.count,
}


def measure(work: Work) -> tuple[float, float]:
    """CPU and elapsed microseconds of one run of ``work``."""
    work()
    runs, started, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < SECONDS:
        work()
        runs += 1
    return (
        (time.process_time() - cpu) / runs * 1e6,
        (time.perf_counter() - started) / runs * 1e6,
    )


def sides(cluster: GaleraCluster, **settings: Any) -> dict[str, dict[str, Any]]:
    """DATABASES of both; a block begins on a secondary, as in a request with our middleware."""
    stock = cluster.databases(CONN_MAX_AGE=None, **settings)
    default = stock["default"]
    ours = {"default": {**default, "OPTIONS": {"optimistic_transactions": True}}}
    default |= default.pop("NODES")["db1"]
    return {"galera_router": expand(ours), "stock": stock}


def main() -> None:
    with GaleraCluster() as cluster:
        both = sides(cluster)
        use_databases(both["galera_router"])
        call_command("migrate", verbosity=0, run_syncdb=True)
        author = Author.objects.create(name="Ann")
        Book.objects.bulk_create([Book(author=author, title=f"t{n}") for n in range(1000)])
        wait(cluster)
        print(f"{'client CPU and time':28}{'stock µs':>10}{'ours µs':>10}{'CPU':>7}{'time':>7}")
        for name, work in CASES.items():
            print(line(name, work, both))
        connections.close_all()


def wait(cluster: GaleraCluster) -> None:
    """Until every node has applied what was written."""
    for node in cluster.nodes:
        node.query("SET STATEMENT wsrep_dirty_reads=0, wsrep_sync_wait=1 FOR SELECT 1")


def line(name: str, work: Work, both: dict[str, dict[str, Any]]) -> str:
    results: dict[str, list[tuple[float, float]]] = {side: [] for side in both}
    for _ in range(ROUNDS):
        for side, databases in both.items():
            use_databases(databases)
            results[side].append(measure(work))
    ours, stock = results["galera_router"], results["stock"]
    cpu, elapsed = (
        statistics.median(o[k] / s[k] for o, s in zip(ours, stock, strict=True)) for k in (0, 1)
    )
    micro = [statistics.median(pair[0] for pair in side) for side in (stock, ours)]
    return f"{name:28}{micro[0]:10.0f}{micro[1]:10.0f}{cpu:7.2f}{elapsed:7.2f}"


if __name__ == "__main__":
    main()

"""What it costs to be watched: ``python -m tests.benchmarks.instrumentation``.

CPU seconds of this process and calls of one request, as in ``tests.benchmarks.calls``, without any
instrumentation, with Prometheus (of one process and of several), and with OpenTelemetry. The CPU is
the median of many rounds, in each of which all are measured one after the other.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from typing import Any

from tests.benchmarks import calls  # sets Django up
from tests.benchmarks.__main__ import sides

from django.core.handlers.wsgi import WSGIHandler  # isort: skip
from django.core.management import call_command  # isort: skip
from django.db import connections  # isort: skip
from django.test.utils import override_settings  # isort: skip

from galera_router import expand, instrumentation
from galera_router.testing import GaleraCluster
from tests.integration.support import use_databases
from tests.shop.models import Author, Book

ROUNDS, REQUESTS = 25, 20
CASES = ("10 reads", "5 reads and a save")


def listeners(kind: str) -> list[Any]:
    """What is to listen; made once, as metrics are."""
    if kind == "prometheus":
        from galera_router.instrumentation.prometheus import Prometheus

        return [Prometheus()]
    if kind == "opentelemetry":
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        from galera_router.instrumentation.opentelemetry import OpenTelemetry

        return [OpenTelemetry(MeterProvider([InMemoryMetricReader()]))]
    return []


def cpu(handler: Any, number: int) -> float:
    """Seconds of CPU of one request."""
    began = time.process_time()
    for _ in range(REQUESTS):
        calls.ask(handler, number)
    return (time.process_time() - began) / REQUESTS


def measure(handler: Any, number: int, others: dict[str, list[Any]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {kind: [] for kind in others}
    for _ in range(ROUNDS):
        for kind, some in others.items():
            instrumentation.install(*some)
            calls.ask(handler, number)
            found[kind].append(cpu(handler, number))
            instrumentation.uninstall(*some)
    return found


def report(handler: Any, name: str, others: dict[str, list[Any]]) -> None:
    number = list(calls.CASES).index(name)
    found = measure(handler, number, others)
    for kind, seconds in found.items():
        instrumentation.install(*others[kind])
        count = min(calls.count(handler, number) for _ in range(calls.TIMES))
        instrumentation.uninstall(*others[kind])
        pairs = zip(seconds, found["none"], strict=True)
        ratio = statistics.median(one / none for one, none in pairs)
        line = f"{name:20}{kind:16}{count:8}{statistics.median(seconds) * 1e6:8.0f}{ratio:8.3f}"
        print(line, flush=True)


def main() -> None:
    kinds = sys.argv[1:] or ["prometheus", "opentelemetry"]
    several = "PROMETHEUS_MULTIPROC_DIR" in os.environ
    others = {"none": [], "again": []} | {kind: listeners(kind) for kind in kinds}
    with GaleraCluster() as cluster:
        plain = sides(cluster, ATOMIC_REQUESTS=True)
        use_databases(expand(cluster.databases()))
        call_command("migrate", verbosity=0, run_syncdb=True)
        Book.objects.create(author=Author.objects.create(name="Ann"), title="t", stock=1)
        use_databases(plain["galera_router"])
        settings = {"ROOT_URLCONF": "tests.benchmarks.calls", **calls.OURS}
        with override_settings(**settings):
            handler = WSGIHandler()
            print(f"{'several processes' if several else 'one process':36}", end="")
            print(f"{'calls':>8}{'CPU µs':>8}{'ratio':>8}")
            for name in CASES:
                report(handler, name, others)
        connections.close_all()


if __name__ == "__main__":
    if "--several" in sys.argv:  # read by prometheus_client when it is imported
        sys.argv.remove("--several")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp()
    main()

"""Metrics of two gunicorn workers: whichever is asked tells of both."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connections
from prometheus_client.parser import text_string_to_metric_families

from galera_router.instrumentation import LOOK
from tests.ecosystem.servers import Server, Visitor, serving
from tests.ecosystem.support import environment
from tests.integration.support import OPTIMISTIC, Shop, wait_until

SETTINGS = {
    "ROOT_URLCONF": "tests.instrumentation.site",
    "GALERA_INSTRUMENTATION": ["galera_router.instrumentation.prometheus.Prometheus"],
}
GUNICORN = (
    "gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--graceful-timeout", "5",
    "--config", "python:tests.instrumentation.gunicorn_config",
)  # fmt: skip
ROUNDS, READS = 40, 10


@pytest.fixture(params=[(), ("--preload",)], ids=["each", "preload"])
def server(request: pytest.FixtureRequest, shop: Shop, tmp_path: Path) -> Iterator[Server]:
    connections.close_all()
    shop.stock()
    node = shop.galera["db2"]
    databases = shop.galera.databases(
        HOST=node.host, PORT=node.port, CONN_MAX_AGE=None, OPTIONS=OPTIMISTIC
    )
    folder = tmp_path / "metrics"
    folder.mkdir()
    around = environment(shop, databases, **SETTINGS)
    around |= {"HOME": str(tmp_path), "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    words = (*GUNICORN, *request.param, "tests.ecosystem.wsgi:application")
    with serving(around, tmp_path / "log", *words) as started:
        yield started


def ask(server: Server, path: str) -> str:
    with closing(Visitor(server.port)) as visitor:
        return visitor.ask(path)


def add(server: Server, name: str) -> str:
    with closing(Visitor(server.port)) as visitor:
        visitor.ask("/add/", {"name": name})
        return visitor.ask("/process/")


def values(server: Server) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Each sample by its name and labels."""
    families = text_string_to_metric_families(ask(server, "/metrics/"))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("galera_router_")
    }


def total(server: Server, name: str, **labels: str) -> float:
    """The sum of all samples that have ``labels``."""
    name = f"galera_router_{name}"
    found = [
        value
        for (known, pairs), value in values(server).items()
        if known == name and labels.items() <= set(pairs)
    ]
    return sum(found)


def test_whoever_is_asked_tells_of_all(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        processes = {int(pid) for pid in pool.map(lambda n: add(server, f"a{n}"), range(ROUNDS))}
        for more in range(ROUNDS, 20 * ROUNDS):  # until the other one has taken one, too
            if len(processes) < 2:
                processes.add(int(add(server, f"a{more}")))
        assert len(processes) == 2
        time.sleep(2 * LOOK)  # what each has counted is told by then
        before = total(server, "statements_total", node="db2", kind="read")
        list(pool.map(lambda n: ask(server, "/ten/"), range(ROUNDS)))
    expected = before + ROUNDS * READS
    wait_until(lambda: total(server, "statements_total", node="db2", kind="read") >= expected)
    for _ in range(6):
        assert total(server, "statements_total", node="db2", kind="read") == expected
    assert total(server, "statements_total", node="db1", kind="write") >= ROUNDS
    wait_until(lambda: total(server, "primary", node="db1") == 1)
    assert total(server, "primary") == 1
    for name in ("db1", "db2", "db3"):
        assert total(server, "node_state", node=name) == 1, "of two processes one value"
        assert total(server, "node_state", node=name, state="well") == 1
    check_that_nothing_is_lost_with_a_process(server, processes, expected)


def check_that_nothing_is_lost_with_a_process(
    server: Server, processes: set[int], expected: float
) -> None:
    gone = min(processes)
    os.kill(gone, signal.SIGKILL)
    wait_until(lambda: gone not in server.members())
    assert total(server, "statements_total", node="db2", kind="read") == expected
    assert total(server, "node_state", node="db1", state="well") == 1

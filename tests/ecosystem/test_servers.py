"""The site behind real servers, while nodes are lost: no visitor meets an error."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.ecosystem.servers import Server, Visitor, crowd, isolated, serving
from tests.ecosystem.support import environment
from tests.integration.support import OPTIMISTIC, Shop, wait_until

#: Where a view fails, the server's log says why.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django.request": {"handlers": ["console"], "level": "ERROR"}},
}
SITE = {"ROOT_URLCONF": "tests.ecosystem.site", "LOGGING": LOGGING}
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--graceful-timeout", "5")
WSGI = "tests.ecosystem.wsgi:application"
UVICORN = ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning")
KINDS = {
    "sync": (*GUNICORN, "--worker-class", "sync", "--preload", WSGI),
    "gthread": (*GUNICORN, "--worker-class", "gthread", "--threads", "4", "--preload", WSGI),
    "gthread-each": (*GUNICORN, "--worker-class", "gthread", "--threads", "4", WSGI),
    "gevent": (*GUNICORN, "--worker-class", "gevent", WSGI),
    "uvicorn": (*UVICORN, "tests.ecosystem.asgi:application"),
}


@contextmanager
def server(shop: Shop, folder: Path, kind: str, *, atomic: bool, **more: Any) -> Iterator[Server]:
    more["OPTIONS"] = {**OPTIMISTIC, **more.get("OPTIONS", {})}
    databases = shop.galera.databases(ATOMIC_REQUESTS=atomic, CONN_MAX_AGE=None, **more)
    around = environment(shop, databases, **SITE) | {"HOME": str(folder)}
    with serving(around, folder / "log", *KINDS[kind]) as started:
        yield started
    wait_until(lambda: not clients(shop))


def clients(shop: Shop) -> list[int]:
    """The connections that servers have left open."""
    sql = "SELECT id FROM information_schema.processlist WHERE user = 'galera'"
    running = [node for node in shop.galera.nodes if node.running]
    return [number for node in running for (number,) in node.query(sql)]


@contextmanager
def losing(shop: Shop) -> Iterator[list[int]]:
    """End the connections of one node after another until the block ends; how many they were."""
    over = threading.Event()
    lost: list[int] = []

    def lose() -> None:
        for node in itertools.cycle(shop.galera.nodes):
            if over.wait(0.1):
                return
            lost.append(node.kill_connections())

    thread = threading.Thread(target=lose)
    thread.start()
    try:
        yield lost
    finally:
        over.set()
        thread.join()


def forget_names(shop: Shop) -> None:
    """What was added is gone; who is the primary stays agreed upon, beneath servers that run."""
    shop.settle()  # a row that is still to come would outlive it
    shop.galera["db2"].query("DELETE FROM galera_router.shop_author")
    shop.settle()


def names(shop: Shop) -> list[str]:
    rows = shop.everywhere("SELECT name FROM galera_router.shop_author ORDER BY name")
    return sorted(name for (name,) in rows)


@pytest.mark.alone  # a server that is slow loses a statement more often than it may
@pytest.mark.parametrize(
    ("kind", "add", "read"),
    [
        ("sync", "/add/", "/read/"),
        ("gthread", "/add/", "/read/"),
        ("gthread-each", "/add/", "/read/"),
        ("gevent", "/add/", "/read/"),
        ("uvicorn", "/add-async/", "/read/"),
        ("uvicorn", "/add/", "/read-async/"),
    ],
)
def test_a_crowd(shop: Shop, tmp_path: Path, kind: str, add: str, read: str) -> None:
    connections.close_all()
    atomic = kind != "uvicorn"  # Django refuses it with asynchronous views
    with server(shop, tmp_path, kind, atomic=atomic) as started:
        crowd(started.port, 6, 10, add, read)  # on what was open at the fork, if on anything
        forget_names(shop)
        with losing(shop) as lost:
            added = crowd(started.port, 6, 40, add, read)
        assert "Traceback" not in started.log, started.log
    assert names(shop) == added
    assert sum(lost) > 3


@pytest.mark.parametrize("kind", ["gthread", "gevent", "uvicorn"])
def test_a_primary_dies(shop: Shop, tmp_path: Path, kind: str) -> None:
    connections.close_all()
    with server(shop, tmp_path, kind, atomic=kind != "uvicorn") as started:
        crowd(started.port, 4, 5, "/add/", "/read/")
        forget_names(shop)
        killer = threading.Timer(0.1, shop.galera["db1"].kill)
        killer.start()
        added = crowd(started.port, 4, 40, "/add/", "/read/")
        killer.join()
        assert "failover from db1 to db2" in started.log or "node db1 is down" in started.log
        assert "Traceback" not in started.log, started.log
    assert names(shop) == added


@pytest.mark.alone
@pytest.mark.parametrize(("kind", "options"), [("gthread", {}), ("gevent", {"read_timeout": 2})])
def test_a_frozen_node(shop: Shop, tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    """Under gevent nothing else runs while a query waits, the watchdog neither."""
    connections.close_all()
    node = shop.galera["db2"]
    first = {"HOST": node.host, "PORT": node.port, "OPTIONS": options}
    with server(shop, tmp_path, kind, atomic=False, **first) as started:
        crowd(started.port, 4, 5, "/add/", "/read/")
        with closing(Visitor(started.port)) as visitor:
            visitor.ask("/read/")
            node.freeze()
            began = time.monotonic()
            assert len(visitor.ask("/read/").split(",")) == 20
        assert time.monotonic() - began < 10
        node.thaw()
        shop.galera.heal()


@pytest.mark.parametrize("write", ["", "&write"])
def test_requests_of_one_loop_are_apart(shop: Shop, tmp_path: Path, write: str) -> None:
    connections.close_all()
    with server(shop, tmp_path, "uvicorn", atomic=False) as started:
        isolated(started.port, "/own/", 8, 12, write)
        assert "Traceback" not in started.log, started.log

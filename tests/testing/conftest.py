"""A client of the cluster, and time to wait for something."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import MySQLdb
import pytest

from galera_router.testing import GaleraCluster, GaleraNode

Connect = Callable[..., Any]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """``connect(node, **options)``: a connection as the cluster's user, closed after the test."""
    opened: list[Any] = []

    def open_one(node: GaleraNode, **options: Any) -> Any:
        options = {"user": "galera", "password": "galera", "database": "galera_router", **options}
        opened.append(MySQLdb.connect(host=node.host, port=node.port, autocommit=True, **options))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def numbers(galera: GaleraCluster) -> Iterator[str]:
    """The name of an empty table with the column ``n``."""
    table = "galera_router.numbers"
    galera.nodes[0].query(f"CREATE TABLE {table} (n INT PRIMARY KEY)")
    yield table
    galera.heal()
    galera.nodes[0].query(f"DROP TABLE {table}")


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait until ``condition()`` holds; fail if it does not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def fetch(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())

"""The books of one moment, while others write."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from galera_router.testing import GaleraCluster
from tests.chaos import books


@pytest.fixture
def tables(galera: GaleraCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[GaleraCluster]:
    """One table of the clients', and no other."""
    columns = "id INT AUTO_INCREMENT PRIMARY KEY, token VARCHAR(40), text VARCHAR(40)"
    table = f"`{galera.database}`.chaos_entry"
    galera.nodes[0].query(f"CREATE OR REPLACE TABLE {table} ({columns})")
    monkeypatch.setattr(books, "COLUMNS", {"entry": books.COLUMNS["entry"]})
    monkeypatch.setattr(books, "VIEWS", {})
    yield galera
    galera.nodes[0].query(f"DROP TABLE {table}")


def insert(cluster: GaleraCluster, token: str) -> None:
    sql = f"INSERT INTO `{cluster.database}`.chaos_entry (token, text) VALUES (%s, '')"
    cluster.nodes[0].query(sql, [token])


def test_all_is_there_that_was_written_before(tables: GaleraCluster) -> None:
    """A node that lags a little is waited for."""
    before = time.monotonic()
    for number in range(20):
        insert(tables, f"t{number}")
        taken = books.snapshot(tables)
        assert taken is not None
        moment, seen = taken
        assert moment > before
        assert len(seen.tables["entry"]) == number + 1


def test_a_node_that_is_too_late_is_not_asked(tables: GaleraCluster) -> None:
    """One that does not apply cannot tell; the next one can."""
    with tables.nodes[-1].hold_applier():
        insert(tables, "held")
        taken = books.snapshot(tables)
    assert taken is not None
    assert [row[1] for row in taken[1].tables["entry"]] == ["held"]


def test_nobody_can_tell(tables: GaleraCluster) -> None:
    """Then there is nothing to look at, and it is no error."""
    for node in tables.nodes:
        node.reject_queries()
    try:
        assert books.snapshot(tables) is None
    finally:
        for node in tables.nodes:
            node.accept_queries()

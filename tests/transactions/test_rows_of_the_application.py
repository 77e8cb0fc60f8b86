"""Rows that are no tuples: what was read is noted as it came, whatever becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from django.db import connection, transaction
from MySQLdb.cursors import Cursor, DictCursor

from galera_router.exceptions import ReplayMismatch
from tests.integration.support import Shop
from tests.shop.models import Author, Book, Tag


class ListCursor(Cursor):  # type: ignore[misc]
    """Its rows are lists."""

    def _fetch_row(self, size: int = 1) -> Any:
        return [list(row) for row in super()._fetch_row(size)]


cursors = pytest.mark.parametrize(("base", "stock"), [(DictCursor, "stock"), (ListCursor, 1)])


def read(base: type, sql: str = "SELECT id, stock FROM shop_book") -> list[Any]:
    connection.ensure_connection()
    with closing(connection.connection.cursor(base)) as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    shop.stock()
    shop.warm()
    return shop


def never(shop: Shop) -> None:
    pass


def lose_primary(shop: Shop) -> None:
    shop.writing.kill_connections()
    time.sleep(0.1)


@cursors
@pytest.mark.parametrize("reads", [1, 3])
@pytest.mark.parametrize("then", [never, lose_primary])
def test_a_row_that_the_application_changes_is_no_difference(
    stocked: Shop, base: type, stock: Any, reads: int, then: Callable[[Shop], None]
) -> None:
    """Also a later one on the fast lane."""
    with transaction.atomic():
        rows = [row for _ in range(reads) for row in read(base)]
        for row in rows:
            row[stock] += 1
        Tag.objects.create(name="x")
        then(stocked)
        Book.objects.update(stock=rows[0][stock])
    assert stocked.everywhere("SELECT stock FROM galera_router.shop_book") == [(11,)]


@cursors
def test_a_change_of_another_client_is_seen_behind_it(
    stocked: Shop, base: type, stock: Any
) -> None:
    with pytest.raises(ReplayMismatch), transaction.atomic():
        (row,) = read(base)
        row[stock] -= 1
        stocked.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 9")
        Book.objects.update(stock=row[stock])
    assert stocked.everywhere("SELECT stock FROM galera_router.shop_book") == [(9,)]


@cursors
@pytest.mark.parametrize("changed", [True, False])
def test_columns_of_one_name(stocked: Shop, base: type, stock: Any, changed: bool) -> None:
    """Of three, a dictionary has two."""
    Author.objects.create(name="Bea")
    sql = "SELECT name, stock AS name, stock + 1 AS name FROM shop_book JOIN shop_author"
    try:
        with transaction.atomic():
            assert len(read(base, sql)) == 2
            if changed:
                stocked.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 9")
            Tag.objects.create(name="x")
    except ReplayMismatch:
        assert changed
    else:
        assert not changed
    assert Tag.objects.count() == (0 if changed else 1)


@cursors
def test_an_insert_that_returns(stocked: Shop, base: type, stock: Any) -> None:
    with transaction.atomic():
        (row,) = read(base, "INSERT INTO shop_tag (name) VALUES ('x') RETURNING name, id")
        key = list(row.values() if isinstance(row, dict) else row)[1]
        row.clear()
        lose_primary(stocked)
        assert Tag.objects.get().pk == key

"""``SET TRANSACTION …`` is for the next transaction: where one has begun the server refuses (1568).

Stock Django's transaction begins with the first statement that uses a table.
"""

from __future__ import annotations

import time

import pytest
from django.db import connection, transaction

from tests.faults.known import both
from tests.faults.limits import spared
from tests.faults.support import EitherShop
from tests.shop.models import Author

LEVELS = ["READ UNCOMMITTED", "REPEATABLE READ", "SERIALIZABLE"]
levels = pytest.mark.parametrize("level", LEVELS)


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _level(shop: EitherShop) -> object:
    """The level of the one transaction that is open on the first node and has written."""
    time.sleep(0.15)  # the server makes the table anew no more often than that
    ((level,),) = shop.galera["db1"].query(
        "SELECT trx_isolation_level FROM information_schema.innodb_trx WHERE trx_rows_modified > 0"
    )
    return level


@both()
@levels
def test_first_in_a_block(shop: EitherShop, level: str) -> None:
    with spared(1568), transaction.atomic():
        _execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        Author.objects.create(name="Ann")
        assert _level(shop) == level
    with transaction.atomic():
        Author.objects.create(name="Bea")
        assert _level(shop) == "READ COMMITTED", "it was for one transaction"
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


@both()
@levels
def test_before_a_block(shop: EitherShop, level: str) -> None:
    with spared(1568):
        _execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        with transaction.atomic():
            Author.objects.create(name="Ann")
            assert _level(shop) == level
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(1,)]


@both()
def test_read_only(shop: EitherShop) -> None:
    with spared(1568), transaction.atomic():
        _execute("SET TRANSACTION READ ONLY")
        assert Author.objects.count() == 0


@both()
def test_two_of_them(shop: EitherShop) -> None:
    with spared(1568), transaction.atomic():
        _execute("SET TRANSACTION READ WRITE")
        _execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        Author.objects.create(name="Ann")
        assert _level(shop) == "SERIALIZABLE"

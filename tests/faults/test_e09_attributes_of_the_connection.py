"""To look for an attribute of the driver's connection is no reason to go to the primary.

Sentry does so at the end of each transaction with ``db_transaction_spans=True``.
"""

from __future__ import annotations

import inspect

import pytest
from django.db import connection, transaction

from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Book

#: Those of other databases' drivers, as instrumentation tells drivers apart.
NAMES = ["get_dsn_parameters", "pgconn", "dsn"]


def _is_another_driver(name: str) -> bool:
    driver = connection.connection
    return hasattr(driver, name) and inspect.isroutine(getattr(driver, name))


@both(stock=False)
@pytest.mark.parametrize("name", NAMES)
def test_a_block_that_only_reads_leaves_the_primary_alone(shop: EitherShop, name: str) -> None:
    shop.stock()
    shop.warm()
    with shop.traffic() as sent, transaction.atomic():
        assert Book.objects.count() == 1
        assert not _is_another_driver(name)
        assert Book.objects.count() == 1
    assert sent["db1"] == []


@both(stock=False)
def test_before_the_first_read(shop: EitherShop) -> None:
    shop.stock()
    shop.warm()
    with shop.traffic() as sent, transaction.atomic():
        assert not _is_another_driver(NAMES[0])
        assert Book.objects.count() == 1
    assert sent["db1"] == []

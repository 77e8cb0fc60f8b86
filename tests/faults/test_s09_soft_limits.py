"""After an exception in an autocommit write the next one is told the truth.

A soft time limit, say, raises when the server has answered. The write's marker has moved then.
Given back as if it had not, it would be found moved by the next write whose answer is lost: that
would be told as success though it never arrived.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import OperationalError, connection
from django.db.models import F
from MySQLdb import Error as MySQLError

from galera_router.testing import Proxy
from tests.differential.interrupts import Interrupted
from tests.faults.known import both
from tests.faults.server import AfterAnswer
from tests.faults.support import EitherShop
from tests.integration.support import wait_until
from tests.shop.models import Book, Tag

TIMES = 3


def update() -> int:
    return Book.objects.update(stock=F("stock") + 1)


def raw() -> int:
    with connection.cursor() as cursor:
        return int(cursor.execute("UPDATE shop_book SET stock = stock + 1"))


def stock(shop: EitherShop) -> int:
    return int(shop.galera["db1"].query("SELECT stock FROM galera_router.shop_book")[0][0])


def keys(shop: EitherShop) -> list[int]:
    """Those of the tags, on the first node."""
    rows = shop.galera["db1"].query("SELECT id FROM galera_router.shop_tag ORDER BY id")
    return [key for (key,) in rows]


def interrupted(work: Callable[[], object]) -> None:
    """Run ``work``, which an exception ends when its statement has been answered.

    Stock Django's cursor may say that it is out of step, in the place of the exception.
    """
    with pytest.raises((Interrupted, MySQLError)), AfterAnswer(1):
        work()


def told(work: Callable[[], int]) -> int:
    """What ``work`` returns, 0 if the connection was lost in it."""
    try:
        return work()
    except OperationalError:
        connection.close()
        return 0


@both()
@pytest.mark.parametrize("add", [update, raw])
def test_a_write_that_did_not_arrive_is_not_told_as_success(
    shop: EitherShop, proxy: Proxy, add: Callable[[], int]
) -> None:
    """It is there, or there is an error."""
    assert add() == 1
    for _ in range(TIMES):
        interrupted(add)
        before = stock(shop)
        rule = proxy.drop("UPDATE .?shop_book", cut=True)
        added = told(add)
        rule.cancel()
        assert stock(shop) == before + added


@both()
def test_a_row_that_did_not_arrive_is_not_told_as_made(shop: EitherShop, proxy: Proxy) -> None:
    """It is there, under the key that was told, or there is an error."""
    Tag.objects.create(name="first")
    interrupted(lambda: Tag.objects.create(name="interrupted"))
    wait_until(lambda: len(keys(shop)) == 2)  # its key is told before it is committed
    connection.close()  # stock Django's is of no more use
    before = keys(shop)
    rule = proxy.drop("INSERT INTO .?shop_tag", cut=True)
    made = told(lambda: Tag.objects.create(name="dropped").pk)
    rule.cancel()
    assert keys(shop) == before + ([made] if made else [])


@both()
def test_without_an_exception_before_it(shop: EitherShop, proxy: Proxy) -> None:
    """So it is already."""
    assert update() == 1
    before = stock(shop)
    rule = proxy.drop("UPDATE .?shop_book", cut=True)
    added = told(update)
    rule.cancel()
    assert stock(shop) == before + added

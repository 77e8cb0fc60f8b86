"""The first node is read-only (``read_only=1``): each write fails, though another would take it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import transaction

from galera_router import galera_atomic
from tests.faults.known import both
from tests.faults.limits import spared
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book

READ_ONLY = 1290


def _save() -> None:
    book = Book.objects.get()
    book.stock -= 1
    book.save()


def plain() -> None:
    Book.objects.update(stock=9)


works = pytest.mark.parametrize(
    "work",
    [plain, transaction.atomic(_save), galera_atomic(_save)],
    ids=["plain", "block", "function"],
)


@both(stock=False)
@works
@pytest.mark.parametrize("before", [False, True])
def test_another_node_is_written_to(
    shop: EitherShop, work: Callable[[], None], before: bool
) -> None:
    """Whether the process has a connection from before or not."""
    shop.stock()
    shop.configure(OPTIONS={"reconnect_wait_time": 2.0})
    if before:
        shop.warm()
    shop.galera["db1"].query("SET GLOBAL read_only = 1")
    with spared(READ_ONLY):
        work()
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(9,)]


@both(stock=False)
def test_in_the_middle_of_a_block(shop: EitherShop) -> None:
    shop.configure(OPTIONS={"reconnect_wait_time": 2.0})
    with spared(READ_ONLY), transaction.atomic():
        Author.objects.create(name="Ann")
        shop.galera["db1"].query("SET GLOBAL read_only = 1")
        Author.objects.create(name="Bea")
    names = "SELECT name FROM galera_router.shop_author ORDER BY name"
    assert shop.everywhere(names) == [("Ann",), ("Bea",)]

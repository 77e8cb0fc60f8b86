"""A table that is altered while a snapshot is open cannot be read in it (1412).

Stock Django at READ COMMITTED, its default, has a snapshot per statement and is never told so.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from galera_router import galera_atomic
from tests.faults.known import both
from tests.faults.limits import spared
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book

_shops: list[EitherShop] = []


def _alter(shop: EitherShop) -> None:
    """As a migration does meanwhile, in whichever way."""
    node = shop.galera["db1"]
    node.query("ALTER TABLE galera_router.shop_book ADD INDEX e3 (stock)")
    shop.settle()


@pytest.fixture
def altered(shop: EitherShop) -> Iterator[EitherShop]:
    shop.stock(3)
    shop.configure(ATOMIC_REQUESTS=True, OPTIONS={"optimistic_transactions": True})
    _shops.append(shop)
    yield shop
    _shops.clear()
    drop = "ALTER TABLE galera_router.shop_book DROP INDEX IF EXISTS e3"
    shop.galera["db1"].query(drop)
    shop.settle()


def _two_reads() -> int:
    assert Author.objects.count() == 1
    while _shops:
        _alter(_shops.pop())
    return Book.objects.count()


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(_two_reads()))


def view_that_writes(request: HttpRequest) -> HttpResponse:
    count = _two_reads()
    Author.objects.create(name="Bea")
    return HttpResponse(str(count))


urlpatterns = [path("reads/", view), path("writes/", view_that_writes)]


@both()
def test_in_a_block(altered: EitherShop) -> None:
    with spared(1412), transaction.atomic():
        assert _two_reads() == 3


@both()
def test_in_a_function_that_can_be_run_again(altered: EitherShop) -> None:
    with spared(1412):
        assert galera_atomic(_two_reads)() == 3


@both()
@pytest.mark.parametrize("what", ["reads", "writes"])
@override_settings(ROOT_URLCONF=__name__)
def test_in_a_request(altered: EitherShop, what: str) -> None:
    with spared(1412):
        assert Client().get(f"/{what}/").content == b"3"
    wrote = what == "writes"
    names = [("Ann",), ("Bea",)] if wrote else [("Ann",)]
    assert altered.everywhere("SELECT name FROM galera_router.shop_author ORDER BY id") == names


@both()
def test_a_table_is_made_anew(altered: EitherShop) -> None:
    """By a statement that copies its rows."""
    alter = "ALTER TABLE galera_router.shop_book MODIFY title VARCHAR(101) NOT NULL, FORCE"
    back = "ALTER TABLE galera_router.shop_book MODIFY title VARCHAR(100) NOT NULL"
    _shops.clear()
    try:
        with spared(1412), transaction.atomic():
            assert Author.objects.count() == 1
            altered.galera["db1"].query(alter)
            altered.settle()
            assert Book.objects.count() == 3
    finally:
        altered.galera["db1"].query(back)

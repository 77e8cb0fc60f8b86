"""A plain block that reads a row and then writes it fails if somebody else has been quicker.

Nothing can be run again there, and stock Django at READ COMMITTED has no error: the last one wins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F

from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book, Shelf


@pytest.fixture(autouse=True)
def as_by_default(shop: EitherShop) -> None:
    """A plain block begins on the primary until its place has only read a few times."""
    shop.configure(OPTIONS={"optimistic_transactions": "auto"})


def _other(shop: EitherShop) -> None:
    """Another client is quicker."""
    shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 100")


def set_value() -> int:
    Book.objects.update(stock=7)
    return 7


def add() -> int:
    Book.objects.update(stock=F("stock") + 1)
    return 101


def lock() -> int:
    """The row is read again, under a lock."""
    book = Book.objects.select_for_update().get()
    book.stock += 1
    book.save(update_fields=["stock"])
    return 101


def another_table() -> int:
    Author.objects.create(name="Bea")
    return 100


writes = pytest.mark.parametrize("write", [set_value, add, lock, another_table])


@both()
@writes
def test_a_block_that_reads_and_then_writes(shop: EitherShop, write: Callable[[], int]) -> None:
    shop.stock()
    with transaction.atomic():
        assert Book.objects.get().stock == 10
        _other(shop)
        expected = write()
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(expected,)]


@both()
def test_an_instance_that_was_read_before(shop: EitherShop) -> None:
    """The usual form: read, change, save."""
    shop.stock()
    with transaction.atomic():
        book = Book.objects.get()
        _other(shop)
        book.stock -= 1
        book.save()
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(9,)]


@both()
def test_get_or_create_that_is_overtaken(shop: EitherShop) -> None:
    """Another client makes the row between its SELECT and its INSERT."""
    insert = "INSERT INTO galera_router.shop_shelf (code, room) VALUES ('a', 1)"

    def room() -> int:
        shop.galera["db1"].query(insert)
        return 2

    with transaction.atomic():
        defaults: dict[str, Any] = {"room": room}
        shelf, created = Shelf.objects.get_or_create(code="a", defaults=defaults)
    assert (shelf.room, created) == (1, False)
    assert shop.everywhere("SELECT code, room FROM galera_router.shop_shelf") == [("a", 1)]


@both()
def test_update_or_create_in_a_block_that_has_read(shop: EitherShop) -> None:
    shop.stock()
    with transaction.atomic():
        assert Book.objects.get().stock == 10
        _other(shop)
        author, created = Author.objects.update_or_create(name="Ann", defaults={"name": "Bea"})
    assert (author.name, created) == ("Bea", False)
    assert shop.everywhere("SELECT name FROM galera_router.shop_author") == [("Bea",)]

"""Keys that the application never gets to see differ in a replay, which is then called another.

Django asks for no key of rows that ``INSERT IGNORE``, an upsert, ``executemany`` or ``INSERT …
SELECT`` make. The key that the server tells the driver all the same is a new one in a replay.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.db.models import F

from tests.faults.known import both
from tests.faults.limits import spared
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book, Tag

Insert = Callable[[], object]


def _tags() -> list[Tag]:
    return list(Tag.objects.order_by("name"))


def _book() -> Book:
    """Not its stock: that is what somebody else changes."""
    return Book.objects.only("pk").get()


def add() -> None:
    _book().tags.add(*_tags()[:2])


def replace() -> None:
    _book().tags.set(_tags()[1:])


def through() -> None:
    """The model of the relation, by name."""
    book, model = _book(), Book.tags.through
    rows = [model(book_id=book.pk, tag_id=tag.pk) for tag in _tags()]
    model._default_manager.bulk_create(rows, ignore_conflicts=True)


def ignore() -> None:
    names = ("Ann", "Bea", "Cid")
    Author.objects.bulk_create([Author(name=n) for n in names], ignore_conflicts=True)


def upsert() -> None:
    names = ("Ann", "Bea", "Cid")
    rows = [Author(name=n) for n in names]
    Author.objects.bulk_create(rows, update_conflicts=True, update_fields=["name"])


def raw_upsert() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO shop_author (name) VALUES ('Bea'), ('Cid')"
            " ON DUPLICATE KEY UPDATE name = VALUES(name)"
        )


def several() -> None:
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO shop_author (name) VALUES (%s)", [["Bea"], ["Cid"]])


def from_select() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_author (name) SELECT name FROM shop_tag ORDER BY name")


def values() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_author (name) VALUES ('Bea'), ('Cid')")


INSERTS = [add, replace, through, ignore, upsert, raw_upsert, several, from_select, values]
inserts = pytest.mark.parametrize("insert", INSERTS)

NAMES = "SELECT name FROM galera_router.shop_author ORDER BY name"
TAGGED = (
    "SELECT t.name FROM galera_router.shop_book_tags bt"
    " JOIN galera_router.shop_tag t ON t.id = bt.tag_id ORDER BY t.name"
)
STOCK = "SELECT stock FROM galera_router.shop_book"
MADE: dict[Insert, list[str]] = {
    add: ["t0", "t1"],
    replace: ["t1", "t2"],
    through: ["t0", "t1", "t2"],
    from_select: ["Ann", "t0", "t1", "t2"],
}


def _prepare(shop: EitherShop) -> None:
    shop.stock()
    for number in range(3):
        Tag.objects.create(name=f"t{number}")
    shop.settle()
    shop.forget()


def _check(shop: EitherShop, insert: Insert) -> None:
    expected = MADE.get(insert, ["Ann", "Bea", "Cid"])
    found = shop.everywhere(TAGGED if insert in (add, replace, through) else NAMES)
    assert [name for (name,) in found] == expected


@both()
@inserts
def test_the_connection_is_cut_after_it(shop: EitherShop, insert: Insert) -> None:
    _prepare(shop)
    with transaction.atomic():
        insert()
        if not shop.is_stock:
            shop.writing.kill_connections()
        Book.objects.update(stock=F("stock") + 1)
    _check(shop, insert)
    assert shop.everywhere(STOCK) == [(11,)]


def _conflict(shop: EitherShop) -> None:
    """Another client changes the row that the transaction has changed, and is first to commit."""
    shop.galera["db2"].query("UPDATE galera_router.shop_book SET stock = 100")
    shop.galera["db1"].wait_applied()


@both()
@inserts
def test_a_conflict_after_it(shop: EitherShop, insert: Insert) -> None:
    _prepare(shop)
    if shop.is_stock:
        _conflict(shop)
    with spared(1213), transaction.atomic():
        Book.objects.update(stock=F("stock") + 1)
        insert()
        if not shop.is_stock:
            _conflict(shop)
        Author.objects.update(name=F("name"))
    _check(shop, insert)
    assert shop.everywhere(STOCK) == [(101,)]

"""An exception while a statement is out leaves no transaction open that nobody knows of.

A signal's handler, Ctrl-C or a soft time limit may raise at any point. If the server is left
with an open transaction, the next BEGIN commits its rows, or later reads see its old snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from MySQLdb import Error as MySQLError

from tests.differential.interrupts import Interrupted, Interrupts
from tests.faults.known import both
from tests.faults.server import Counted
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book, Tag


class Undo(Exception):
    """Ends a block that is to be rolled back."""


class Stopped(BaseException):
    """What no ``except Exception`` catches, as Ctrl-C."""


def create() -> None:
    Tag.objects.create(name="new")


def raw() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_tag (name) VALUES ('new')")


def update() -> None:
    Book.objects.update(stock=F("stock") + 1)


def many() -> None:
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE shop_book SET stock = stock + %s", [(1,), (2,)])


def interrupted(work: Callable[[], Any], interrupts: Interrupts) -> None:
    """Run ``work`` in a block that is rolled back.

    Stock Django's cursor may say that it is out of step, in the place of the exception.
    """
    with pytest.raises((Undo, interrupts.kind, MySQLError, DatabaseError)), transaction.atomic():
        with interrupts:
            work()
        raise Undo


def points(shop: EitherShop, work: Callable[[], Any]) -> Iterator[int]:
    """The points from the first answer of a server on, each with fresh connections."""
    interrupted(work, Interrupts())  # the first time there is more to be done
    shop.warm()
    counted = Counted()
    interrupted(work, counted)
    for at in range(counted.first, counted.count + 1):
        shop.warm()
        yield at


def changed(shop: EitherShop) -> Any:
    """What the primary has of what the writes above would change."""
    return shop.galera["db1"].query(
        "SELECT stock, (SELECT COUNT(*) FROM galera_router.shop_tag) FROM galera_router.shop_book"
    )


# A generator that is interrupted when it is closed has nobody to tell.
closed_late = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@both()
@closed_late
@pytest.mark.parametrize("kind", [Interrupted, Stopped])
@pytest.mark.parametrize("write", [create, raw, update, many])
def test_an_interrupted_write_is_rolled_back(
    shop: EitherShop, write: Callable[[], None], kind: type[BaseException]
) -> None:
    """Whatever point the exception comes at: the next block's BEGIN commits nothing of it."""
    shop.stock()
    leaks, before = [], changed(shop)
    for at in points(shop, write):
        interrupted(write, Interrupts(at, kind))
        interrupted(Author.objects.select_for_update().first, Interrupts())
        if (now := changed(shop)) != before:
            leaks.append(at)
        before = now
    assert leaks == []


@both()
@closed_late
@pytest.mark.parametrize("kind", [Interrupted, Stopped])
def test_an_interrupted_read_leaves_no_old_snapshot(
    shop: EitherShop, kind: type[BaseException]
) -> None:
    """What is read after the block is as new as what is in the table."""
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port)  # the router reads there
    book = shop.stock()
    old = []
    for at in points(shop, Author.objects.count):
        interrupted(Author.objects.count, Interrupts(at, kind))
        shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = %s", [at])
        shop.settle()
        if Book.objects.get(pk=book.pk).stock != at:
            old.append(at)
    assert old == []

"""A backup locks the primary (``FLUSH TABLES WITH READ LOCK``): writes on their way hang with it.

Later ones go elsewhere, for the node says that it is out of step. Those must as well.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from django.db import connection, transaction
from django.db.models import F

from tests.faults.known import both
from tests.faults.limits import in_time
from tests.faults.nodes import backed_up
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book

LIMIT = 4.0


def create() -> None:
    Author.objects.create(name="Bea")


def update() -> None:
    Book.objects.update(stock=F("stock") + 1)


def several() -> None:
    Author.objects.bulk_create([Author(name="Bea"), Author(name="Cid")])


def block() -> None:
    with transaction.atomic():
        update()
        create()


@both(stock=False)
@pytest.mark.parametrize("work", [create, update, several, block])
def test_a_write_that_is_sent_just_then(shop: EitherShop, work: Callable[[], None]) -> None:
    shop.stock()
    shop.configure(OPTIONS={"watchdog_after": 0.2, "reconnect_wait_time": 3.0})
    primary = shop.galera["db1"]

    def write() -> None:
        shop.warm()
        primary.hold_applier()
        work()

    in_time(LIMIT, write, primary.release_applier)
    primary.release_applier()
    names = {create: 2, update: 1, several: 3, block: 2}[work]
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(names,)]
    stock = 11 if work in (update, block) else 10
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(stock,)]


@both(stock=False)
def test_a_commit_that_is_sent_just_then(shop: EitherShop) -> None:
    shop.stock()
    shop.configure(OPTIONS={"watchdog_after": 0.2, "reconnect_wait_time": 3.0})
    primary = shop.galera["db1"]

    def write() -> None:
        with transaction.atomic():
            update()
            primary.hold_applier()

    in_time(LIMIT, write, primary.release_applier)
    primary.release_applier()
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(11,)]


@both(stock=False)
@pytest.mark.parametrize("work", [create, update, several, block])
def test_under_a_hot_backup(shop: EitherShop, work: Callable[[], None]) -> None:
    """It blocks commits, in another way: statements run, and wait at their end."""
    shop.stock()
    shop.configure(OPTIONS={"watchdog_after": 0.2, "reconnect_wait_time": 3.0})
    with ExitStack() as stack:
        begin = stack.enter_context(backed_up(shop.galera["db1"]))

        def write() -> None:
            shop.warm()
            begin()
            work()

        in_time(LIMIT, write, stack.close)
    names = {create: 2, update: 1, several: 3, block: 2}[work]
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(names,)]


@both(stock=False)
def test_what_a_desynced_primary_is_doing_goes_on(shop: EitherShop) -> None:
    """Nothing waits there: it is only out of step, and later statements go elsewhere."""
    shop.configure(OPTIONS={"watchdog_after": 0.2})
    shop.warm()
    with transaction.atomic():
        Author.objects.create(name="Bea")
        shop.galera["db1"].query("SET GLOBAL wsrep_desync = ON")
        with connection.cursor() as cursor:
            cursor.execute("SELECT SLEEP(2)")
            cursor.execute("UPDATE shop_author SET name = 'Cid' WHERE NOT SLEEP(1)")
        assert shop.writing.name == "db1"
    create()
    assert shop.writing.name == "db2"
    names = "SELECT name FROM galera_router.shop_author ORDER BY name"
    assert shop.everywhere(names) == [("Bea",), ("Cid",)]

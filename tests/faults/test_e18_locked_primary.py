"""A backup locks the primary (``FLUSH TABLES WITH READ LOCK``): writes on their way hang with it.

Later ones go elsewhere, for the node says that it is out of step. Those must as well.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import transaction
from django.db.models import F

from tests.faults.known import both
from tests.faults.limits import in_time
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

"""A procedure that commits and begins again inside: what it committed is final, the rest is not.

The server says afterwards that a transaction is open, which is not the one of before. Taken for
that, what came before its COMMIT would be done twice by another run, or what came after it be lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from django.db import DatabaseError, connection, transaction

from galera_router import galera_atomic
from galera_router.testing import Proxy, Rule
from tests.faults.known import both
from tests.faults.server import tags
from tests.faults.support import EitherShop
from tests.shop.models import Book, Tag

pytestmark = pytest.mark.usefixtures("routines")


def callproc() -> None:
    with connection.cursor() as cursor:
        cursor.callproc("shop_restart", ["one", "two"])


def call() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CALL shop_restart('one', 'two')")


ways = pytest.mark.parametrize("restart", [callproc, call])


def lost(shop: EitherShop, restart: Callable[[], None], lose: Callable[..., Rule]) -> bool:
    """Lose the COMMIT behind the procedure, or its answer; returns True if success was told."""
    try:
        with transaction.atomic():
            Tag.objects.create(name="first")
            restart()
            Tag.objects.create(name="last")
            lose("^COMMIT", cut=True)
    except DatabaseError:
        return False
    return True


@both()
@ways
def test_what_came_after_is_there_if_success_is_told(
    shop: EitherShop, proxy: Proxy, restart: Callable[[], None]
) -> None:
    """The last COMMIT does not arrive: there is an error, or all is there."""
    told = lost(shop, restart, proxy.drop)
    assert tags(shop) == (["first", "last", "one", "two"] if told else ["first", "one"])


@both()
@ways
def test_what_came_after_is_there_once(
    shop: EitherShop, proxy: Proxy, restart: Callable[[], None]
) -> None:
    """The answer to the last COMMIT does not arrive: so it is already."""
    lost(shop, restart, proxy.swallow)
    assert tags(shop) == ["first", "last", "one", "two"]


@both()
@ways
def test_what_came_before_is_done_once(shop: EitherShop, restart: Callable[[], None]) -> None:
    """A conflict after it does not have the whole function run again."""
    shop.stock()
    shop.warm()

    @galera_atomic
    def function() -> None:
        Tag.objects.create(name="first")
        restart()
        Book.objects.update(stock=3)
        shop.galera["db2"].query("UPDATE galera_router.shop_book SET stock = 4")
        shop.settle()

    with contextlib.suppress(DatabaseError):
        function()
    assert tags(shop) == ["first", "one"]

"""Statements after which something has raised, and that is caught inside the block."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from django.db import connection, transaction
from MySQLdb import OperationalError

from galera_router.exceptions import FailoverImpossible
from tests.differential.interrupts import Interrupted, Interrupts
from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Author, Tag

RENAME = "UPDATE shop_author SET name = 'Bob'"


def rename() -> None:
    with connection.cursor() as cursor:
        cursor.execute(RENAME)


def is_changed(shop: EitherShop) -> bool:
    """Tell by its lock whether the open transaction has changed the author."""
    try:
        shop.galera["db1"].query("SELECT * FROM galera_router.shop_author FOR UPDATE NOWAIT")
    except OperationalError:
        return True
    return False


def is_kept(shop: EitherShop, work: Callable[[], Any]) -> bool:
    """Tell if what ``work`` has changed is there after a block that has gone to its end.

    The connection is lost before the COMMIT. If the block ends with an error, the test does too.
    """
    with transaction.atomic():
        Tag.objects.create(name="on the primary")
        work()
        changed = is_changed(shop)
        shop.lose_primary()
    ((name,),) = shop.galera["db1"].query("SELECT name FROM galera_router.shop_author")
    return bool(name == "Bob") == changed


def raise_after(execute: Callable[..., Any], *args: Any) -> Any:
    execute(*args)
    raise ValueError("of the application")


@both()
def test_the_application_raises_while_the_cursor_is_open(shop: EitherShop) -> None:
    def work() -> None:
        with suppress(ValueError), connection.cursor() as cursor:
            cursor.execute(RENAME)
            raise ValueError("of the application")

    Author.objects.create(name="Ann")
    assert is_kept(shop, work)


@both()
def test_an_execute_wrapper_raises_after_the_statement(shop: EitherShop) -> None:
    def work() -> None:
        with suppress(ValueError), connection.execute_wrapper(raise_after):
            rename()

    Author.objects.create(name="Ann")
    assert is_kept(shop, work)


@both()
def test_a_time_limit_raises_anywhere_in_the_statement(shop: EitherShop) -> None:
    """Such as a soft limit of a task queue, whose exception the block handles."""
    Author.objects.create(name="Ann")

    def limited(limit: AbstractContextManager[Any]) -> bool:
        def work() -> None:
            with suppress(Interrupted), limit:
                rename()

        Author.objects.update(name="Ann")
        try:
            return is_kept(shop, work)
        except FailoverImpossible:  # nobody knows what the statement has done
            return list(Author.objects.values_list("name", flat=True)) == ["Ann"]

    counted = Interrupts()
    assert limited(counted)
    points = range(1, counted.count + 1)
    assert [point for point in points if not limited(Interrupts(point))] == []

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
from tests.faults.server import secondaries_held, tags
from tests.faults.support import EitherShop
from tests.integration.support import elsewhere
from tests.shop.models import Book, Tag

pytestmark = pytest.mark.usefixtures("routines")

INSERT = "INSERT INTO shop_tag (name) VALUES ('one')"


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


# --- what fails behind its COMMIT ---------------------------------------------------------


def run(sql: str) -> None:
    with contextlib.suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute(sql)


@both()
@pytest.mark.parametrize("sql", ["CALL shop_fail('one')", f"{INSERT}; SELECT no_such_column"])
def test_own_reads_see_what_was_committed_before_it_failed(shop: EitherShop, sql: str) -> None:
    shop.stock()
    shop.warm()
    with secondaries_held(shop):
        run(sql)
        assert [tag.name for tag in Tag.objects.all()] == ["one"]


@both()
def test_what_was_committed_before_it_failed_is_done_once(shop: EitherShop) -> None:
    """The function around it does not run again: stock Django tells of no conflict there."""
    shop.stock()
    shop.warm()
    runs = []

    @galera_atomic
    def function() -> None:
        runs.append(1)
        book = Book.objects.get()
        elsewhere(lambda: run("CALL shop_fail('one')"))
        if len(runs) == 1:
            shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 5")
        Book.objects.filter(pk=book.pk).update(stock=book.stock + 1)

    with contextlib.suppress(DatabaseError):
        function()
    assert tags(shop) == ["one"]


@both()
@pytest.mark.parametrize("number", [1213, 1205, 1020])
@pytest.mark.parametrize("before", [True, False])
def test_a_conflict_behind_its_commit_does_not_repeat_it(
    shop: EitherShop, number: int, before: bool
) -> None:
    shop.stock()
    shop.warm()
    with contextlib.suppress(DatabaseError), transaction.atomic():
        if before:
            Book.objects.update(stock=3)
        with connection.cursor() as cursor:
            cursor.execute(f"CALL shop_meet('one', {number})")
    Tag.objects.create(name="later")
    assert tags(shop) == ["later", "one"]


@both(stock=False)
def test_own_reads_see_it_where_its_answer_was_lost_without_failover(shop: EitherShop) -> None:
    with shop.proxied(OPTIONS={"failover_enable": False}) as proxies:
        shop.stock()
        shop.warm()
        with secondaries_held(shop):
            proxies["db1"].swallow("^CALL", cut=True)
            run("CALL shop_add('one')")
            assert [tag.name for tag in Tag.objects.all()] == ["one"]

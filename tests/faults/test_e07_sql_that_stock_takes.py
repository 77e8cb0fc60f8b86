"""Querysets and raw SQL that stock Django takes, and the router as well."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from tests.faults.known import both
from tests.faults.limits import spared
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book


def _books() -> list[tuple[str, int]]:
    return list(Book.objects.values_list("title", "stock"))


# --- querysets --------------------------------------------------------------------------------


@both()
def test_a_subquery_that_names_the_alias(shop: EitherShop) -> None:
    shop.stock()
    ann = Author.objects.using("default").filter(name="Ann")
    assert Book.objects.filter(author__in=ann).count() == 1
    assert Book.objects.exclude(author__in=ann.values("pk")).count() == 0


@both()
def test_a_locking_queryset_as_a_subquery(shop: EitherShop) -> None:
    shop.stock()
    with transaction.atomic():
        locked = Author.objects.select_for_update().filter(name="Ann")
        assert Book.objects.filter(author__in=locked).count() == 1


@both()
def test_a_subquery_of_values_that_names_the_alias(shop: EitherShop) -> None:
    shop.stock(2)
    books = Book.objects.using("default").values("author")
    assert [author.name for author in Author.objects.filter(pk__in=books)] == ["Ann"]


@both()
def test_a_raw_queryset_that_inserts(shop: EitherShop) -> None:
    (made,) = Author.objects.raw("INSERT INTO shop_author (name) VALUES ('Bea') RETURNING id, name")
    assert made.name == "Bea"
    assert shop.everywhere("SELECT id, name FROM galera_router.shop_author") == [(made.pk, "Bea")]


@both()
def test_a_raw_queryset_that_deletes_in_a_block(shop: EitherShop) -> None:
    shop.stock()
    with transaction.atomic():
        (gone,) = Book.objects.raw("DELETE FROM shop_book RETURNING id, title")
    assert gone.title == "t0"
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_book") == [(0,)]


# --- a comment behind a semicolon ---------------------------------------------------------------

COMMENTS = ["; -- comment", "; # comment", "; /* comment */"]
WRITES = [
    "UPDATE shop_book SET stock = 7",
    "INSERT INTO shop_tag (name) VALUES ('a')",
    "DELETE FROM shop_book_tags",
    "DO 1",
    "SELECT id FROM shop_author FOR UPDATE",
]
#: It goes well if the server is quick, now and then.
TIMES = 10
comments = pytest.mark.parametrize("comment", COMMENTS)


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        if cursor.description is not None:
            cursor.fetchall()


@both()
@pytest.mark.parametrize("sql", WRITES)
def test_a_comment_outside_a_transaction(shop: EitherShop, sql: str) -> None:
    """The next statement finds an answer that is not its own."""
    shop.stock()
    with spared(2014, 1064):
        for _ in range(TIMES):
            _execute(sql + COMMENTS[0])
        Author.objects.create(name="Bea")
    assert Author.objects.count() == 2
    assert _books() == [("t0", 7 if "UPDATE shop" in sql else 10)]


@both()
@comments
def test_each_comment_outside_a_transaction(shop: EitherShop, comment: str) -> None:
    shop.stock()
    with spared(2014, 1064):
        for _ in range(TIMES):
            _execute(WRITES[0] + comment)
        Author.objects.create(name="Bea")
    assert _books() == [("t0", 7)]


@both()
@comments
@pytest.mark.parametrize("before", [False, True])
def test_a_comment_behind_a_read_of_a_block(shop: EitherShop, comment: str, before: bool) -> None:
    """The replay at the first write puts a semicolon of its own behind it."""
    shop.stock()
    shop.configure(OPTIONS={"optimistic_transactions": True})
    with spared(1064), transaction.atomic():
        if before:
            assert Author.objects.count() == 1
        _execute("SELECT 1" + comment)
        Author.objects.create(name="Bea")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


@both()
@comments
@pytest.mark.parametrize("routed", [False, True])
def test_another_cursor_reads_behind_a_comment(
    shop: EitherShop, comment: str, routed: bool
) -> None:
    """Its answer is not that of the comment, whatever was read before."""
    shop.stock()
    cursor = connection.cursor()
    with transaction.atomic():
        if routed:
            assert Author.objects.count() == 1
        for _ in range(2):
            cursor.execute("SELECT name FROM shop_author" + comment)
            assert len(list(Author.objects.order_by("name"))) == 1


@both()
@comments
def test_a_comment_behind_a_write_of_a_block(shop: EitherShop, comment: str) -> None:
    shop.stock()
    with transaction.atomic():
        _execute(WRITES[0] + comment)
        if not shop.is_stock:
            shop.writing.kill_connections()
        Author.objects.create(name="Bea")
    assert _books() == [("t0", 7)]


# --- a CALL that nobody reads -------------------------------------------------------------------


@pytest.fixture
def procedure(shop: EitherShop) -> Iterator[EitherShop]:
    shop.stock()
    node = shop.galera["db1"]
    node.query(
        "CREATE OR REPLACE PROCEDURE galera_router.e7()"
        " BEGIN SELECT name FROM shop_author; DO SLEEP(0.05); SELECT 2; END"
    )
    shop.settle()
    yield shop
    node.query("DROP PROCEDURE IF EXISTS galera_router.e7")


def _call() -> CursorWrapper:
    """A cursor whose results are there, and are not read."""
    cursor = connection.cursor()
    cursor.execute("CALL e7()")
    time.sleep(0.2)
    return cursor


@both()
def test_an_unread_call_on_an_open_cursor(procedure: EitherShop) -> None:
    cursor = _call()
    assert Book.objects.count() == 1
    Author.objects.create(name="Bea")
    assert Author.objects.count() == 2
    cursor.close()


@both()
def test_an_unread_call_and_then_a_write(procedure: EitherShop) -> None:
    cursor = _call()
    Author.objects.create(name="Bea")
    assert Author.objects.count() == 2
    cursor.close()


@both()
def test_an_unread_call_in_a_block(procedure: EitherShop) -> None:
    with transaction.atomic():
        cursor = _call()
        assert Book.objects.count() == 1
        Author.objects.create(name="Bea")
        cursor.close()
    assert Author.objects.count() == 2

"""What was set on the connection holds for every statement behind it, the ORM's reads included.

A secondary's connection knows nothing of it, so reads go where it was set.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import CharField, Func, Value

from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book, Tag


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def ask(function: str, *arguments: Any) -> Any:
    """What the server makes of a function, in a read of the ORM's."""
    called = Func(*map(Value, arguments), function=function, output_field=CharField())
    return Author.objects.annotate(told=called).get().told


SETTINGS = pytest.mark.parametrize(
    ("setting", "question", "answer"),
    [
        ("lc_time_names = 'de_DE'", ("MONTHNAME", "2026-05-01"), "Mai"),
        # FROM_UNIXTIME(0) is NULL on MariaDB 11.8
        ("time_zone = '+03:00'", ("FROM_UNIXTIME", 86400, "%H"), "03"),
        ("default_week_format = 3", ("WEEK", "2026-01-01"), "1"),
    ],
)


def hide_books() -> None:
    """Put an empty temporary table before the real one, look, and take it away again."""
    run("CREATE TEMPORARY TABLE shop_book (id INT PRIMARY KEY)")
    assert Book.objects.count() == 0
    run("DROP TEMPORARY TABLE shop_book")
    assert Book.objects.count() == 1


@both()
def test_a_temporary_table_is_read_from(shop: EitherShop) -> None:
    """It hides the real one, which has a book, until it is dropped."""
    shop.stock()
    hide_books()


@both()
def test_a_temporary_table_is_read_from_in_a_block(shop: EitherShop) -> None:
    """So it is already in one block."""
    shop.stock()
    with transaction.atomic():
        hide_books()


@both()
def test_a_temporary_table_is_read_from_in_a_later_block(shop: EitherShop) -> None:
    """The connection has it, not the block that has made it."""
    shop.stock()
    run("CREATE TEMPORARY TABLE shop_book (id INT PRIMARY KEY)")
    with transaction.atomic():
        assert Book.objects.count() == 0


@both()
@pytest.mark.usefixtures("routines")
@pytest.mark.parametrize("atomic", [True, False])
def test_a_temporary_table_of_a_procedure_that_fails(shop: EitherShop, atomic: bool) -> None:
    shop.stock()
    with transaction.atomic() if atomic else contextlib.nullcontext():
        with pytest.raises(OperationalError, match="1644"):
            run("CALL shop_hide()")
        assert Book.objects.count() == 0
    assert Book.objects.count() == 0


@both()
@SETTINGS
def test_what_was_set_holds_for_reads(
    shop: EitherShop, setting: str, question: tuple[Any, ...], answer: str
) -> None:
    """A variable of the session is one for the whole of it."""
    shop.stock()
    run(f"SET SESSION {setting}")
    assert str(ask(*question)) == answer


@both()
@SETTINGS
def test_what_was_set_holds_for_later_blocks(
    shop: EitherShop, setting: str, question: tuple[Any, ...], answer: str
) -> None:
    """Whether they write or not."""
    shop.stock()
    run(f"SET SESSION {setting}")
    with transaction.atomic():
        assert str(ask(*question)) == answer


@both()
@SETTINGS
def test_what_was_set_holds_in_the_block(
    shop: EitherShop, setting: str, question: tuple[Any, ...], answer: str
) -> None:
    """So it is already."""
    shop.stock()
    with transaction.atomic():
        run(f"SET SESSION {setting}")
        assert str(ask(*question)) == answer


@both()
@pytest.mark.parametrize("begin", ["START TRANSACTION", "BEGIN", "SET autocommit = 0"])
def test_a_transaction_begun_by_hand_sees_its_own_writes(shop: EitherShop, begin: str) -> None:
    """Until it is rolled back."""
    shop.stock()
    run(begin, "INSERT INTO shop_tag (name) VALUES ('mine')")
    seen = Tag.objects.count()
    run("ROLLBACK")
    assert (seen, Tag.objects.count()) == (1, 0)


@both()
def test_locked_tables_are_read_from_by_who_has_locked_them(shop: EitherShop) -> None:
    """The read comes through the connection that holds the lock, and does not wait for it.

    It is sent to the same node here; without a limit it would wait for as long as it is locked.
    """
    node = shop.galera["db1"]
    shop.configure(
        HOST=node.host, PORT=node.port, OPTIONS={"init_command": "SET SESSION lock_wait_timeout=1"}
    )
    shop.stock()
    run("LOCK TABLES shop_book WRITE")
    try:
        assert Book.objects.count() == 1
    finally:
        run("UNLOCK TABLES")

"""What is set on the driver's own connection is missed as what a statement of a cursor has set."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import MySQLdb
import pytest
from django.db import DatabaseError, connection, transaction
from MySQLdb.cursors import Cursor

from galera_router.transactions.sessions import session_of
from tests.faults.known import both
from tests.faults.server import tags
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book, Tag

HOUR = "SELECT IF(%s, FROM_UNIXTIME(86400, '%%H'), 'none')"
HIDE = "CREATE TEMPORARY TABLE shop_book (id INT PRIMARY KEY)"


def driver() -> Any:
    connection.ensure_connection()
    return connection.connection


def ask(sql: str, *args: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, args or None)
        return cursor.fetchall()


def made_by_driver(sql: str) -> Any:
    with closing(driver().cursor(lambda connection: Cursor(connection))) as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def by_query() -> None:
    driver().query(HIDE)


def by_query_of_bytes() -> None:
    driver().query(query=HIDE.encode())


def by_send_query() -> None:
    held = made_by_hand()
    held.connection.send_query(HIDE.encode())
    held.connection.read_query_result()
    held.close()


def made_by_hand() -> Cursor:
    found: Cursor = driver().cursor(lambda connection: Cursor(connection))
    return found


def by_factory() -> None:
    made_by_driver(HIDE)


def by_factory_many() -> None:
    with closing(made_by_hand()) as cursor:
        cursor.executemany(HIDE.replace("INT", "%s"), [])
        cursor.execute(HIDE)


WAYS = pytest.mark.parametrize(
    "hide", [by_query, by_query_of_bytes, by_send_query, by_factory, by_factory_many]
)


@both()
@WAYS
def test_a_temporary_table_is_read_from(shop: EitherShop, hide: Callable[[], None]) -> None:
    """It hides the real one, which has a book."""
    shop.stock()
    shop.warm()
    hide()
    assert Book.objects.count() == 0
    with transaction.atomic():
        assert Book.objects.count() == 0


@both()
@WAYS
def test_a_temporary_table_of_a_block(shop: EitherShop, hide: Callable[[], None]) -> None:
    shop.stock()
    shop.warm()
    with transaction.atomic():
        assert Book.objects.count() == 1
        hide()
        assert Book.objects.count() == 0
    assert Book.objects.count() == 0


@both()
def test_a_cursor_of_a_factory_that_was_made_before_the_block(shop: EitherShop) -> None:
    """The block has read on a secondary."""
    shop.stock()
    shop.warm()
    with closing(made_by_hand()) as cursor, transaction.atomic():
        assert ask(HOUR, 0) == (("none",),)
        cursor.execute("SET time_zone = '+03:00'")
        assert ask(HOUR, 1) == (("03",),)


@both()
def test_another_database(shop: EitherShop) -> None:
    shop.warm()
    driver().select_db("information_schema")
    assert ask("SELECT DATABASE()") == (("information_schema",),)
    with transaction.atomic():
        assert ask("SELECT DATABASE()") == (("information_schema",),)


@both()
def test_another_user_or_the_same_anew(shop: EitherShop) -> None:
    shop.warm()
    settings = connection.settings_dict
    driver().change_user(settings["USER"], settings["PASSWORD"], "information_schema")
    assert ask("SELECT DATABASE()") == (("information_schema",),)


@both(stock=False)
@pytest.mark.parametrize("block", [False, True])
def test_the_other_database_is_lost(shop: EitherShop, *, block: bool) -> None:
    """Nothing is written to the first one as if all were well."""
    node = shop.galera.nodes[0]
    node.query("CREATE DATABASE other_shop")
    try:
        node.query("CREATE TABLE other_shop.shop_tag LIKE galera_router.shop_tag")
        node.query("GRANT ALL ON other_shop.* TO 'galera'@'%'")
        shop.settle()
        shop.warm()
        driver().select_db("other_shop")
        with transaction.atomic():
            Tag.objects.create(name="one")
        shop.lose_primary()
        with pytest.raises(DatabaseError, match=r"select_db\(\) of the driver's connection left"):
            write(block=block)
        assert shop.everywhere("SELECT name FROM other_shop.shop_tag") == [("one",)]
        assert tags(shop) == []
    finally:
        node.query("REVOKE ALL ON other_shop.* FROM 'galera'@'%'")
        node.query("DROP DATABASE other_shop")


def write(*, block: bool) -> None:
    if block:
        with transaction.atomic():
            Tag.objects.create(name="two")
    else:
        Tag.objects.create(name="two")


@both()
@pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES", ""])
def test_values_are_written_as_the_connection_wants_them(shop: EitherShop, mode: str) -> None:
    shop.warm()
    driver().set_sql_mode(mode)
    Author.objects.create(name="a\\b'")
    with transaction.atomic():
        assert Author.objects.get(name="a\\b'").name == "a\\b'"
    assert ask("SELECT @@sql_mode") == ((mode,),)


@both()
def test_another_character_set(shop: EitherShop) -> None:
    shop.warm()
    driver().set_character_set("latin1")
    Author.objects.create(name="\u00e9")
    assert Author.objects.get().name == "\u00e9"
    connection.close()
    assert Author.objects.get().name == "\u00e9"


@both()
def test_a_transaction_begun_by_hand(shop: EitherShop) -> None:
    """What follows is a part of it, and is undone with it."""
    shop.stock()
    shop.warm()
    driver().begin()
    Tag.objects.create(name="one")
    assert Tag.objects.count() == 1
    connection.close()
    assert tags(shop) == []


@both(stock=False)
def test_what_leaves_nothing(shop: EitherShop) -> None:
    """Reads go where they went, and the loss of the connection is no news."""
    shop.stock()
    shop.warm()
    driver().query("INSERT INTO shop_tag (name) VALUES ('one')")
    driver().ping()
    driver().thread_id()
    driver().stat()
    made_by_driver("SELECT name FROM shop_tag")
    session = session_of("default")
    assert session is not None
    assert session.primary is not None
    assert session.primary.state is None
    shop.lose_primary()
    Tag.objects.create(name="two")
    assert tags(shop) == ["one", "two"]


@both()
def test_a_cursor_whose_connection_is_closed(shop: EitherShop) -> None:
    """Its own error is told, as ever."""
    shop.warm()
    cursor = made_by_hand()
    connection.close()
    with pytest.raises(MySQLdb.OperationalError, match="2006"):
        cursor.execute("SELECT 1")

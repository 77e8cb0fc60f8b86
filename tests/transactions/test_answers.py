"""LAST_INSERT_ID() and ROW_COUNT() outside a transaction, where a connection is lost."""

from __future__ import annotations

from typing import Any

from django.db import connection

from tests.integration.support import Shop
from tests.shop.models import Book, Tag

INSERT = "INSERT INTO shop_tag (name) VALUES ('raw')"


def execute(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description is not None else cursor.lastrowid


def test_the_key_is_asked_for_again(shop: Shop) -> None:
    """The new connection, which knows nothing of it, is told."""
    with shop.proxied() as proxies:
        key = execute(INSERT)
        rule = proxies[shop.writing.name].drop("SELECT LAST_INSERT_ID", cut=True)
        assert execute("SELECT LAST_INSERT_ID()") == (key,)
        assert rule.fired
        assert execute("SELECT LAST_INSERT_ID()") == (key,)


def test_the_rows_are_those_of_the_question_that_was_repeated(shop: Shop) -> None:
    """Of a statement that gives rows there are -1."""
    with shop.proxied() as proxies:
        execute(INSERT)
        rule = proxies[shop.writing.name].drop("SELECT LAST_INSERT_ID", cut=True)
        execute("SELECT LAST_INSERT_ID()")
        assert rule.fired
        assert execute("SELECT ROW_COUNT()") == (-1,)


def test_a_write_that_uses_the_key(shop: Shop) -> None:
    """On another connection than that which has drawn it."""
    shop.stock()
    key = execute(INSERT)
    shop.writing.kill_connections()
    execute("UPDATE shop_book SET stock = LAST_INSERT_ID()")
    assert Book.objects.get().stock == key


def test_an_insert_that_uses_the_key(shop: Shop) -> None:
    """It is not sent with what hides the key from it."""
    key = execute(INSERT)
    execute("INSERT INTO shop_tag (name) VALUES (LAST_INSERT_ID()) RETURNING id")
    assert Tag.objects.filter(name=str(key)).count() == 1


def test_of_a_write_whose_answer_was_lost(shop: Shop) -> None:
    """The marker has kept it."""
    shop.stock(3)
    with shop.proxied() as proxies:
        shop.warm()
        rule = proxies[shop.writing.name].swallow("UPDATE `shop_book`", cut=True)
        assert Book.objects.update(stock=7) == 3
        assert rule.fired
        assert execute("SELECT ROW_COUNT()") == (3,)
        rule = proxies[shop.writing.name].swallow("INSERT INTO `shop_tag`", cut=True)
        key = Tag.objects.create(name="one").pk
        assert rule.fired
        assert execute("SELECT LAST_INSERT_ID()") == (key,)

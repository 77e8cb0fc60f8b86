"""LAST_INSERT_ID() and ROW_COUNT(): what they give, and what their use costs."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction

from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Author, Tag


def ask(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        ((value,),) = cursor.fetchall()
    return value


def insert(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_author (name) VALUES (%s)", [name])
        return int(cursor.lastrowid)


@both()
def test_the_last_key_after_a_failover_in_a_transaction(shop: EitherShop) -> None:
    with transaction.atomic():
        key = insert("Ann")
        shop.lose_primary()
        assert ask("SELECT LAST_INSERT_ID()") == key


@both()
def test_the_last_key_of_a_model_after_a_failover_in_a_transaction(shop: EitherShop) -> None:
    """Its insert is replayed with the key written into it: the server has drawn none."""
    with transaction.atomic():
        key = Author.objects.create(name="Ann").pk
        shop.lose_primary()
        assert ask("SELECT LAST_INSERT_ID()") == key


@both()
def test_the_last_key_after_a_failover_between_statements(shop: EitherShop) -> None:
    key = insert("Ann")
    shop.lose_primary()
    assert ask("SELECT LAST_INSERT_ID()") == key


@both()
def test_the_number_of_rows_of_an_update(shop: EitherShop) -> None:
    Author.objects.create(name="Ann")
    Author.objects.filter(name="Ann").update(name="Bob")
    assert ask("SELECT ROW_COUNT()") == 1


@both()
def test_the_number_of_rows_of_a_delete(shop: EitherShop) -> None:
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM shop_tag")
        cursor.execute("SELECT ROW_COUNT()")
        assert cursor.fetchone() == (2,)


@both()
def test_the_number_of_rows_of_an_update_of_none(shop: EitherShop) -> None:
    Author.objects.filter(name="Nobody").update(name="Bob")
    assert ask("SELECT ROW_COUNT()") == 0


@both(stock=False)
def test_a_lost_commit_is_settled_after_a_use_of_it(shop: EitherShop) -> None:
    with shop.proxied() as proxies:
        key = insert("Ann")
        assert ask("SELECT LAST_INSERT_ID()") == key
        rule = proxies[shop.writing.name].drop("^COMMIT", cut=True)
        with transaction.atomic():
            Author.objects.create(name="Bob")
        assert rule.fired == 1
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]

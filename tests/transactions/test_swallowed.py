"""An outer block never ends as if it had committed when something inside was lost."""

from __future__ import annotations

import contextlib

import pytest
from django.db import DatabaseError, connection, transaction

from galera_router.exceptions import FailoverImpossible, ReplayMismatch
from tests.integration.support import Shop
from tests.shop.models import Author, Book, Tag


def change(shop: Shop) -> None:
    for node in shop.galera.nodes[:1]:
        node.query("UPDATE galera_router.shop_author SET name = 'changed'")


def lose_an_inner_block(shop: Shop) -> None:
    """What was read has changed when the primary is lost; Django swallows the error of that."""
    Author.objects.get()
    Tag.objects.create(name="one")
    with contextlib.suppress(ValueError), transaction.atomic():
        Tag.objects.create(name="two")
        change(shop)
        shop.writing.kill_connections()
        raise ValueError from None


@pytest.mark.parametrize("query", [False, True])
def test_a_mismatch_that_is_met_in_ending_a_savepoint(shop: Shop, query: bool) -> None:
    """The primary is lost, and what was read has changed since; Django swallows the error."""
    shop.stock()
    with pytest.raises(ReplayMismatch), transaction.atomic():
        lose_an_inner_block(shop)
        if query:
            Book.objects.count()
    assert shop.everywhere("SELECT * FROM galera_router.shop_tag") == []


def test_it_is_told_in_an_except_clause_as_well(shop: Shop) -> None:
    """What is being handled there does not end the block."""
    shop.stock()
    hooks: list[int] = []
    try:
        Author.objects.get(name="nobody")
    except Author.DoesNotExist:
        with pytest.raises(ReplayMismatch), transaction.atomic():
            transaction.on_commit(lambda: hooks.append(1))
            lose_an_inner_block(shop)
    assert (shop.everywhere("SELECT * FROM galera_router.shop_tag"), hooks) == ([], [])


def test_an_error_of_the_block_itself_comes_through(shop: Shop) -> None:
    """It says that the block has failed, in an except clause or not."""
    shop.stock()
    try:
        Author.objects.get(name="nobody")
    except Author.DoesNotExist:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            lose_an_inner_block(shop)
            raise ZeroDivisionError from None
    assert shop.everywhere("SELECT * FROM galera_router.shop_tag") == []


def test_a_rollback_that_was_asked_for_tells_nothing(shop: Shop) -> None:
    """As Django REST framework does with an exception that it answers by itself."""
    shop.stock()
    with transaction.atomic():
        Author.objects.get()
        Tag.objects.create(name="one")
        change(shop)
        shop.writing.kill_connections()
        with contextlib.suppress(DatabaseError):
            Tag.objects.create(name="two")
        transaction.set_rollback(True)
    assert shop.everywhere("SELECT * FROM galera_router.shop_tag") == []


def test_an_obstacle_that_is_met_in_ending_a_savepoint(shop: Shop) -> None:
    """What cannot be replayed is told as well."""
    shop.configure(OPTIONS={"failover_history_limit": 2})
    with pytest.raises(FailoverImpossible, match="more than 2"), transaction.atomic():
        for name in "abc":
            Tag.objects.create(name=name)
        with contextlib.suppress(ValueError), transaction.atomic():
            shop.writing.kill_connections()
            raise ValueError
    assert shop.everywhere("SELECT * FROM galera_router.shop_tag") == []


def test_an_error_under_locked_tables_ends_nothing(shop: Shop) -> None:
    """What comes behind the block is committed by itself again."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLES shop_author WRITE")
        with pytest.raises(DatabaseError, match="1100"), transaction.atomic():
            Author.objects.create(name="undone")
            Tag.objects.create(name="not locked")
        Author.objects.create(name="kept")
        cursor.execute("UNLOCK TABLES")
    connection.close()
    assert shop.everywhere("SELECT name FROM galera_router.shop_author") == [("kept",)]


def test_a_connection_is_made_in_a_block_that_is_to_be_rolled_back(shop: Shop) -> None:
    """The driver's own cursor is not refused there, as with stock Django."""
    with transaction.atomic():
        transaction.set_rollback(True)
        cursor = connection.connection.cursor()
        cursor.execute("INSERT INTO shop_tag (name) VALUES ('undone')")
        assert cursor.rowcount == 1
        assert all(node.up for node in shop.session.cluster.nodes)
    assert shop.everywhere("SELECT * FROM galera_router.shop_tag") == []

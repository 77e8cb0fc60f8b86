"""The application's execute wrappers stand above us: what they make of a statement is what is sent.

A replay sends what the wrappers have made. One that queries or writes ahead of a statement does so
once, where the statement belongs; a statement after which a wrapper raises is replayed; and no
wrapper is called again for what is sent again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from tests.faults.known import both
from tests.faults.server import cut_primary, tags
from tests.faults.support import EitherShop
from tests.shop.models import Author, Tag

Execute = Callable[..., Any]


class Oops(Exception):
    """What a wrapper raises."""


@contextlib.contextmanager
def old_table(shop: EitherShop) -> Iterator[None]:
    """A table ``shop_label`` as ``shop_tag``, for the time of the block."""
    node = shop.galera["db1"]
    node.query("CREATE OR REPLACE TABLE galera_router.shop_label LIKE galera_router.shop_tag")
    try:
        yield
    finally:
        node.query("DROP TABLE galera_router.shop_label")


def encrypting(execute: Execute, sql: str, params: Any, many: bool, context: Any) -> Any:
    """Has "cipher" stored where the application says "plain"."""
    changed = params and tuple("cipher" if value == "plain" else value for value in params)
    return execute(sql, changed, many, context)


def renaming(execute: Execute, sql: str, params: Any, many: bool, context: Any) -> Any:
    """Sends to the table ``shop_label`` what is meant for ``shop_tag``."""
    return execute(sql.replace("shop_tag", "shop_label"), params, many, context)


class Auditing:
    """Adds a row of its own before each statement of the application's."""

    def __init__(self) -> None:
        self.inside = False

    def __call__(self, execute: Execute, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not self.inside:
            self.inside = True
            try:
                Tag.objects.create(name="audit")
            finally:
                self.inside = False
        return execute(sql, params, many, context)


class Counting:
    """Notes the statements that it sees."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, execute: Execute, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.seen.append(sql.split()[0])
        return execute(sql, params, many, context)


def refusing(execute: Execute, sql: str, params: Any, many: bool, context: Any) -> Any:
    """Raises when the statement has been executed."""
    execute(sql, params, many, context)
    raise Oops


@both()
def test_a_replay_sends_the_parameter_that_a_wrapper_has_put_in(shop: EitherShop) -> None:
    """The plaintext gets nowhere near the table."""
    shop.warm()
    with connection.execute_wrapper(encrypting), transaction.atomic():
        Tag.objects.create(name="plain")
        cut_primary(shop)
        Tag.objects.create(name="other")
    assert tags(shop) == ["cipher", "other"]


@both()
def test_a_replay_of_several_sends_what_a_wrapper_has_put_in(shop: EitherShop) -> None:
    """Several rows in one statement are no exception."""
    shop.warm()
    with connection.execute_wrapper(encrypting), transaction.atomic():
        Tag.objects.bulk_create([Tag(name="plain"), Tag(name="open")])
        cut_primary(shop)
        Tag.objects.create(name="other")
    assert tags(shop) == ["cipher", "open", "other"]


@both()
def test_a_replay_keeps_to_the_table_that_a_wrapper_has_named(shop: EitherShop) -> None:
    """The table that the model names is left alone."""
    shop.warm()
    with old_table(shop):
        with connection.execute_wrapper(renaming), transaction.atomic():
            Tag.objects.create(name="new")
            cut_primary(shop)
            Author.objects.create(name="Ann")
        labels = shop.everywhere("SELECT name FROM galera_router.shop_label")
    assert (labels, tags(shop)) == ([("new",)], [])


@both()
@pytest.mark.parametrize("undo", [True, False])
def test_a_wrapper_that_queries_does_so_in_the_block(shop: EitherShop, undo: bool) -> None:
    """Its row is committed or undone with the block that its statement began."""
    shop.warm()
    with contextlib.suppress(Oops), connection.execute_wrapper(Auditing()), transaction.atomic():
        Author.objects.create(name="Ann")
        if undo:
            raise Oops
    assert tags(shop) == ([] if undo else ["audit"])


@both()
def test_a_statement_after_which_a_wrapper_raises_is_replayed(shop: EitherShop) -> None:
    """The server has executed it, and the application has caught the exception."""
    shop.stock()
    shop.warm()
    with transaction.atomic():
        Tag.objects.create(name="before")
        with contextlib.suppress(Oops), connection.execute_wrapper(refusing):
            connection.cursor().execute("UPDATE shop_book SET stock = 3")
        cut_primary(shop)
        Tag.objects.create(name="after")
    stock = shop.everywhere("SELECT stock FROM galera_router.shop_book")
    assert (stock, tags(shop)) == ([(3,)], ["after", "before"])


@both()
def test_a_wrapper_is_called_once_for_each_statement(shop: EitherShop) -> None:
    """What is sent again to another node is the same statement of the application's."""
    shop.warm()
    counting = Counting()
    with connection.execute_wrapper(counting), transaction.atomic():
        Tag.objects.create(name="before")
        cut_primary(shop)
        Tag.objects.create(name="after")
    assert (counting.seen, tags(shop)) == (["INSERT", "INSERT"], ["after", "before"])


def add_tag() -> None:
    Tag.objects.create(name="new")


def add_tag_raw() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_tag (name) VALUES (%s)", ["new"])


def add_tags() -> None:
    Tag.objects.bulk_create([Tag(name="new")], ignore_conflicts=True)


def rename_tag() -> None:
    Tag.objects.filter(name="old").update(name="new")


@both()
@pytest.mark.timeout(60)
@pytest.mark.parametrize("change", [add_tag, add_tag_raw, add_tags, rename_tag])
@pytest.mark.parametrize("lost", [False, True])
def test_a_wrapper_that_writes_ahead_of_a_write_outside_a_block(
    shop: EitherShop, change: Callable[[], None], lost: bool
) -> None:
    """Both are written, once; the second finds its marker as it was left."""
    Tag.objects.create(name="old")
    shop.warm()
    with connection.execute_wrapper(Auditing()):
        change()
        if lost:
            cut_primary(shop)
            Author.objects.create(name="Ann")
        else:
            Author.objects.create(name="Ann")
    kept = [] if change is rename_tag else ["old"]
    assert tags(shop) == sorted(["audit", "audit", "new", *kept])
    assert Author.objects.count() == 1

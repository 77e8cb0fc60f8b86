"""What an inner block swallows does not end the outer one without an error.

A lock wait or a replay that differs ends the whole transaction, where stock Django undoes the inner
block alone. The outer block must not end as if it had committed: its changes are gone, and its
hooks do not run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from django.db import DatabaseError, OperationalError, transaction

from galera_router.testing.admin import open_connection
from tests.faults.known import both
from tests.faults.server import cut_primary, tags
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book, Tag

WAIT = "SET SESSION innodb_lock_wait_timeout = 1"


@contextlib.contextmanager
def locked(shop: EitherShop) -> Iterator[None]:
    """Another client of the first node holds the lock of every book."""
    with contextlib.closing(open_connection(shop.galera["db1"].socket)) as other:
        other.query("START TRANSACTION")
        other.query("SELECT id FROM galera_router.shop_book FOR UPDATE")
        other.store_result()
        yield


def swallowed(levels: int) -> None:
    """Meet a lock wait in as many nested blocks; the innermost's error is swallowed around it."""
    with contextlib.suppress(OperationalError), transaction.atomic():
        if levels > 1:
            swallowed(levels - 1)
        Book.objects.update(stock=0)


def outcome(shop: EitherShop, block: Callable[[list[str]], None], written: list[str]) -> None:
    """Run ``block``: it either ends with an error and has done nothing, or has done it all."""
    ran: list[str] = []
    try:
        block(ran)
    except DatabaseError:
        assert (tags(shop), ran) == ([], [])
    else:
        assert (tags(shop), ran) == (written, ["hook"])


@both()
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("retries", [0, 1])
def test_a_swallowed_lock_wait_leaves_the_outer_block(
    shop: EitherShop, levels: int, retries: int
) -> None:
    """The server has undone one statement: the rest is committed, and the hook runs."""
    shop.configure(OPTIONS={"init_command": WAIT, "conflict_retries": retries})
    shop.stock()
    ran: list[str] = []
    with locked(shop), transaction.atomic():
        Tag.objects.create(name="before")
        transaction.on_commit(lambda: ran.append("hook"))
        swallowed(levels)
        Tag.objects.create(name="after")
    assert (tags(shop), ran) == (["after", "before"], ["hook"])


@both()
@pytest.mark.parametrize("levels", [1, 2])
def test_a_lock_wait_where_what_was_read_has_changed(shop: EitherShop, levels: int) -> None:
    """A replay would differ; the outer block must not end as if it had committed."""
    shop.configure(OPTIONS={"init_command": WAIT, "conflict_retries": 1})
    shop.stock()

    def block(ran: list[str]) -> None:
        with locked(shop), transaction.atomic():
            assert Author.objects.get().name == "Ann"
            Tag.objects.create(name="before")
            transaction.on_commit(lambda: ran.append("hook"))
            shop.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
            swallowed(levels)

    outcome(shop, block, ["before"])


@both()
@pytest.mark.parametrize("levels", [1, 2])
def test_a_swallowed_mismatch_at_the_first_write(shop: EitherShop, levels: int) -> None:
    """What was read has changed when the inner block writes: to stock Django that is nothing."""
    shop.stock()
    shop.warm()

    def inner(level: int) -> None:
        with contextlib.suppress(DatabaseError), transaction.atomic():
            if level > 1:
                inner(level - 1)
            Tag.objects.create(name=f"inner {level}")

    def block(ran: list[str]) -> None:
        with transaction.atomic():
            assert Book.objects.get().stock == 10
            transaction.on_commit(lambda: ran.append("hook"))
            shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 5")
            inner(levels)

    outcome(shop, block, [f"inner {level + 1}" for level in range(levels)])


@both(stock=False)
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("after", [True, False])
def test_a_swallowed_mismatch_is_told_at_the_end(
    shop: EitherShop, levels: int, after: bool
) -> None:
    """A transaction that was lost cannot be committed: the outer block ends with an error."""
    shop.stock()
    shop.warm()

    def inner(level: int) -> None:
        with contextlib.suppress(DatabaseError), transaction.atomic():
            if level > 1:
                inner(level - 1)
            Tag.objects.create(name="inner")

    def block(ran: list[str]) -> None:
        with transaction.atomic():
            assert Book.objects.get().stock == 10
            Tag.objects.create(name="before")
            transaction.on_commit(lambda: ran.append("hook"))
            cut_primary(shop)
            shop.galera["db2"].query("UPDATE galera_router.shop_book SET stock = 5")
            shop.settle()
            inner(levels)
            if after:
                Tag.objects.create(name="after")

    outcome(shop, block, [])

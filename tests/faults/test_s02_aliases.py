"""A transaction on the alias that Django names is a transaction, whoever has named it.

A queryset, a manager, an instance and the router name the alias that a read goes to. With
``using=`` that alias, ``atomic``, ``on_commit`` and others must speak of the connection that the
writes go to.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connections, router, transaction

from tests.faults.known import both
from tests.faults.server import secondaries_held
from tests.faults.support import EitherShop
from tests.shop.models import Author

Naming = Callable[[Author], str]

NAMINGS: dict[str, Naming] = {
    "queryset": lambda author: Author.objects.all().db,
    "filtered": lambda author: Author.objects.filter(pk=author.pk).db,
    "manager": lambda author: Author.objects.db,
    "related": lambda author: author.books.all().db,
    "router": lambda author: router.db_for_read(Author),
    "router, of it": lambda author: router.db_for_read(Author, instance=author),
}
namings = pytest.mark.parametrize("naming", NAMINGS.values(), ids=NAMINGS)


@pytest.fixture
def author(shop: EitherShop) -> Author:
    """An author that was read, by a thread that has not written."""
    Author.objects.create(name="Ann")
    shop.settle()
    shop.forget()
    return Author.objects.get()


def names(shop: EitherShop) -> list[str]:
    rows = shop.everywhere("SELECT name FROM galera_router.shop_author ORDER BY id")
    return [name for (name,) in rows]


def rename(author: Author) -> None:
    author.name = "Bob"
    author.save()


@both()
@namings
def test_a_write_in_the_block_is_undone(shop: EitherShop, author: Author, naming: Naming) -> None:
    """The exception rolls the block back."""
    with pytest.raises(ValueError, match="undo"), transaction.atomic(using=naming(author)):
        rename(author)
        raise ValueError("undo")
    assert names(shop) == ["Ann"]


@both()
@pytest.mark.parametrize("naming", ["state", "write"])
def test_an_alias_to_write_to_names_the_transaction(
    shop: EitherShop, author: Author, naming: str
) -> None:
    """So it is already where the instance or ``db_for_write`` is asked."""
    alias = author._state.db if naming == "state" else router.db_for_write(Author)
    with pytest.raises(ValueError, match="undo"), transaction.atomic(using=alias):
        rename(author)
        raise ValueError("undo")
    assert names(shop) == ["Ann"]


@both()
@namings
def test_a_hook_waits_for_the_commit(shop: EitherShop, author: Author, naming: Naming) -> None:
    """``on_commit(using=…)`` inside a block runs when the block has ended, not at once."""
    ran: list[str] = []
    alias = naming(author)
    with transaction.atomic():
        rename(author)
        transaction.on_commit(lambda: ran.append("hook"), using=alias)
        assert ran == []
    assert ran == ["hook"]


@both()
@namings
def test_a_hook_of_what_is_undone_does_not_run(
    shop: EitherShop, author: Author, naming: Naming
) -> None:
    """``on_commit(using=…)`` belongs to the block, and goes with it."""
    ran: list[str] = []
    alias = naming(author)
    with pytest.raises(ValueError, match="undo"), transaction.atomic():
        rename(author)
        transaction.on_commit(lambda: ran.append("hook"), using=alias)
        raise ValueError("undo")
    assert ran == []


@both()
@namings
def test_a_durable_block_inside_another_is_refused(
    shop: EitherShop, author: Author, naming: Naming
) -> None:
    """It would not be durable: Django says so."""
    alias = naming(author)
    with (
        transaction.atomic(),
        pytest.raises(RuntimeError, match="durable"),
        transaction.atomic(using=alias, durable=True),
    ):
        rename(author)


@both()
@namings
def test_the_connection_of_the_alias_is_in_the_block(
    shop: EitherShop, author: Author, naming: Naming
) -> None:
    """What asks for the connection by its alias learns of the transaction."""
    alias = naming(author)
    with transaction.atomic():
        assert connections[alias].in_atomic_block
        assert not transaction.get_autocommit(using=alias)


@both()
@namings
def test_set_rollback_undoes_the_block(shop: EitherShop, author: Author, naming: Naming) -> None:
    """``set_rollback(True, using=…)`` is how a framework undoes a block without an exception."""
    alias = naming(author)
    with transaction.atomic():
        rename(author)
        transaction.set_rollback(True, using=alias)
    assert names(shop) == ["Ann"]


@both()
@namings
def test_a_savepoint_is_one_of_the_transaction(
    shop: EitherShop, author: Author, naming: Naming
) -> None:
    """What was done after it is undone with it."""
    alias = naming(author)
    with transaction.atomic():
        savepoint = transaction.savepoint(using=alias)
        rename(author)
        transaction.savepoint_rollback(savepoint, using=alias)
    assert names(shop) == ["Ann"]


@both()
@namings
def test_an_instance_is_saved_where_it_was_read(
    shop: EitherShop, author: Author, naming: Naming
) -> None:
    """``save(using=…)`` writes to the cluster."""
    author.name = "Bob"
    author.save(using=naming(author))
    assert names(shop) == ["Bob"]


@both()
@namings
def test_a_row_is_locked_in_the_block(shop: EitherShop, author: Author, naming: Naming) -> None:
    """``select_for_update`` through the alias is in the block's transaction."""
    alias = naming(author)
    with transaction.atomic():
        found = Author.objects.using(alias).select_for_update().get()
        rename(found)
    assert names(shop) == ["Bob"]


@both()
def test_an_alias_kept_from_before_a_write_sees_the_write(shop: EitherShop, author: Author) -> None:
    """In the block and behind it, as through any other."""
    alias = Author.objects.all().db
    with secondaries_held(shop):
        with transaction.atomic():
            rename(author)
            assert Author.objects.using(alias).get().name == "Bob"
        assert Author.objects.using(alias).get().name == "Bob"

"""A transaction on the alias that Django names is a transaction, whoever has named it.

A queryset, a manager, an instance and the router name the alias that a read goes to. Today that is
the alias of one node: ``atomic``, ``on_commit`` and others with ``using=`` speak of another
connection than the writes, which go to the cluster's alias in autocommit.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connections, router, transaction

from galera_router.exceptions import ReadOnlyNode
from tests.faults.known import both, fault
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


@fault("S2")
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


@fault("S2")
@namings
def test_a_hook_waits_for_the_commit(shop: EitherShop, author: Author, naming: Naming) -> None:
    """``on_commit(using=…)`` inside a block runs when the block has ended, not at once."""
    ran: list[str] = []
    with transaction.atomic():
        rename(author)
        alias = Author.objects.none().db if naming is None else naming_outside(naming, author)
        transaction.on_commit(lambda: ran.append("hook"), using=alias)
        assert ran == []
    assert ran == ["hook"]

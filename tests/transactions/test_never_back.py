"""What a transaction has seen on the primary is there for the reads behind it, committed or not."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest
from django.db import transaction

from galera_router import causal_token
from galera_router.causality import scope, tokens
from galera_router.cluster.position import Mark, Position
from tests.integration.support import Shop
from tests.shop.models import Author, Shelf, Tag

LAG = 1.0


@pytest.fixture
def lagging(shop: Shop) -> Iterator[Shop]:
    """Reads go to db2, which does not hear of what db1 is about to commit for a moment."""
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port)
    shop.warm()
    Author.objects.create(name="Ann")
    assert list(Tag.objects.all()) == []
    node.hold_applier()
    timer = threading.Timer(LAG, node.release_applier)
    timer.start()
    yield shop
    timer.join()


def test_what_was_locked_in_a_block_that_is_undone(lagging: Shop) -> None:
    lagging.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
    with contextlib.suppress(ValueError), transaction.atomic():
        assert Author.objects.select_for_update().get().name == "Bob"
        raise ValueError
    assert Author.objects.get().name == "Bob"


def test_a_key_that_another_client_has_just_taken(lagging: Shop) -> None:
    """The insert is refused on the primary, and the read behind it must find the row."""
    lagging.galera["db1"].query("INSERT INTO galera_router.shop_shelf VALUES ('taken', 2)")
    shelf, made = Shelf.objects.get_or_create(code="taken", defaults={"room": 1})
    assert (shelf.room, made) == (2, False)


def place_of_token() -> Position | Mark:
    loaded = tokens.load(causal_token(), None)
    assert loaded is not None
    return loaded[1]


@pytest.mark.parametrize("atomic", [True, False])
def test_the_token_of_a_write_that_was_found_is_its_marker(shop: Shop, atomic: bool) -> None:
    """The node on which it was found may not count it yet as its last transaction."""
    with shop.proxied() as proxies, scope.needing({}, request=True):
        Author.objects.create(name="Ann")
        before = place_of_token()
        rule = proxies["db1"].swallow(r"COMMIT(; END)?\Z", cut=True)
        with transaction.atomic() if atomic else contextlib.nullcontext():
            Author.objects.update(name="Bea")
        assert rule.fired == 1
        found = place_of_token()
        assert isinstance(before, Mark)
        assert found == Mark(before.worker, before.seqno + 1)
        Author.objects.update(name="Cleo")
        assert place_of_token() == Mark(before.worker, before.seqno + 2)

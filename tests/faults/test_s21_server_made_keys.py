"""Keys that the server makes in another way than by AUTO_INCREMENT, after a lost answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
from django.db import transaction

from galera_router.exceptions import CommitOutcomeUnknown
from galera_router.testing import Proxy
from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Note

SEQUENCE = [
    "CREATE SEQUENCE galera_router.note_key START WITH 900 NOCACHE",
    "ALTER TABLE galera_router.shop_note"
    " MODIFY id BIGINT NOT NULL DEFAULT NEXTVAL(galera_router.note_key)",
]
NO_SEQUENCE = [
    "ALTER TABLE galera_router.shop_note MODIFY id BIGINT NOT NULL AUTO_INCREMENT",
    "DROP SEQUENCE galera_router.note_key",
]
TRIGGER = [
    "CREATE TRIGGER galera_router.note_key BEFORE INSERT ON galera_router.shop_note"
    " FOR EACH ROW SET NEW.id = 900"
]
NO_TRIGGER = ["DROP TRIGGER galera_router.note_key"]


@pytest.fixture(
    autouse=True,
    params=[(SEQUENCE, NO_SEQUENCE), (TRIGGER, NO_TRIGGER)],
    ids=["sequence", "trigger"],
)
def other_keys(request: pytest.FixtureRequest, shop: EitherShop) -> Iterator[None]:
    """The keys of notes come from the default of their column, or from a trigger."""
    make, undo = request.param
    node = shop.galera.nodes[0]
    try:
        for statement in make:
            node.query(statement)
        yield
    finally:
        node.query("DELETE FROM galera_router.shop_note")
        for statement in undo:
            node.query(statement)
        shop.settle()


@contextmanager
def lost(shop: EitherShop, pattern: str) -> Iterator[None]:
    """Lose the answer to what matches; stock Django, which could only raise, is spared."""
    with shop.proxied() as proxies:
        shop.warm()
        if shop.is_stock:
            yield
            return
        proxy: Proxy = proxies["db1"]
        rule = proxy.swallow(pattern, cut=True)
        yield
        assert rule.fired == 1


def told_is_there(shop: EitherShop, note: Note) -> None:
    assert [note.pk] == [
        key for (key,) in shop.everywhere("SELECT id FROM galera_router.shop_note")
    ]


@both()
def test_the_answer_to_a_create_is_lost(shop: EitherShop) -> None:
    """It is committed; what nobody knows is not made up."""
    told = nullcontext() if shop.is_stock else pytest.raises(CommitOutcomeUnknown)
    with lost(shop, "INSERT INTO .shop_note"), told:
        note = Note.objects.create(text="n", content_type_id=1, object_id=1)
    if shop.is_stock:
        told_is_there(shop, note)
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_note") == [(1,)]


@both()
def test_the_answer_to_a_commit_is_lost(shop: EitherShop) -> None:
    with lost(shop, "^COMMIT"), transaction.atomic():
        note = Note.objects.create(text="n", content_type_id=1, object_id=1)
    told_is_there(shop, note)


@both()
def test_the_connection_is_lost_in_a_transaction(shop: EitherShop) -> None:
    with transaction.atomic():
        note = Note.objects.create(text="n", content_type_id=1, object_id=1)
        shop.lose_primary()
        assert Note.objects.get().pk == note.pk
    told_is_there(shop, note)

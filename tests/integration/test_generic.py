"""Generic relations and content types, which remember aliases: a cluster has one alone."""

from __future__ import annotations

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connections, router, transaction

from tests.integration.support import Shop
from tests.shop.models import Note, Room


@pytest.fixture
def room(shop: Shop) -> Room:
    room = Room.objects.create(name="r")
    for text in "abc":
        room.notes.create(text=text)
    shop.settle()
    shop.forget()
    return room


def test_a_relation_is_read_on_a_secondary(shop: Shop, room: Room) -> None:
    with shop.traffic() as sent:
        assert room.notes.count() == 3
    assert not any("shop_note" in sql for sql in sent["db1"])
    assert router.db_for_read(Note) == "default"


@pytest.mark.parametrize("atomic", [True, False])
def test_a_relation_is_changed_on_the_primary(shop: Shop, room: Room, atomic: bool) -> None:
    connections["default"].set_autocommit(not atomic)
    try:
        assert room.notes.filter(text="a").update(text="d") == 1
        assert room.notes.filter(text="b").delete() == (1, {"shop.Note": 1})
    finally:
        connections["default"].set_autocommit(True)
    assert shop.everywhere("SELECT text FROM galera_router.shop_note ORDER BY id") == [
        ("d",), ("c",),
    ]  # fmt: skip


def test_a_relation_follows_a_write_that_came_after_it_was_made(shop: Shop, room: Room) -> None:
    notes = room.notes.filter(text="new")
    shop.forget()
    with transaction.atomic():
        room.notes.create(text="new")
        assert len(notes) == 1


def test_an_alias_that_was_named_is_kept(shop: Shop, room: Room) -> None:
    assert room.notes.using("default_db3").all().db == "default_db3"
    assert room.notes(manager="objects").db_manager("default_db3").all().db == "default_db3"


def test_content_types_are_met_once_for_all_nodes(shop: Shop) -> None:
    ContentType.objects.clear_cache()
    with shop.traffic() as sent:
        kept = ContentType.objects.get_for_model(Room)
        shop.session.reader.pin = None
        assert ContentType.objects.get_for_model(Room) is kept
    asked = [sql for log in sent.values() for sql in log if "FROM `django_content_type`" in sql]
    assert len(asked) == 1

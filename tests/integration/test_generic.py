"""Generic relations and content types, which remember aliases, know a cluster by one alone."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType, ContentTypeManager
from django.db import connections, router, transaction

from galera_router.compat import generic
from galera_router.transactions.install import role_of
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
    assert router.db_for_read(Note) != "default"


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


@pytest.mark.parametrize("anew", [False, True])
def test_content_types_are_met_once_for_all_nodes(shop: Shop, anew: bool) -> None:
    if anew:
        apps.clear_cache()  # with it the managers, which are copies
    ContentType.objects.clear_cache()
    kept = ContentType.objects.get_for_model(Room)
    assert kept._state.db == "default"
    for alias in ("default", "default_db1", "default_db2", "default_db3"):
        assert ContentType.objects.db_manager(alias).get_for_model(Room) is kept
        assert ContentType.objects.db_manager(alias).get_for_id(kept.pk) is kept
    with shop.traffic() as sent:
        ContentType.objects.clear_cache()
        assert ContentType.objects.get_for_model(Room) == kept
    assert any("django_content_type" in sql for log in sent.values() for sql in log)


def test_a_manager_of_its_own_meets_them_by_itself(shop: Shop) -> None:
    manager = ContentTypeManager()
    manager.model = ContentType
    kept = manager.db_manager("default_db2").get_for_model(Room)
    assert manager.db_manager("default_db3").get_for_model(Room) is kept
    assert ContentType.objects.get_for_model(Room) is not kept


def test_doing_it_twice_is_harmless(shop: Shop, room: Room) -> None:
    generic.follow_router(role_of)
    assert room.notes.count() == 3

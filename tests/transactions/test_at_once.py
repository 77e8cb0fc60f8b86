"""A write that finds nothing unusual begins on the kept connection; the rest is looked at."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction

from galera_router import after
from galera_router.cluster import monitor
from galera_router.transactions import opening
from galera_router.transactions.session import Session
from tests.integration.causality.support import LOOK, SYNC, write
from tests.integration.support import Shop, elsewhere, wait_until
from tests.integration.test_fence import make_primary
from tests.shop.models import Tag


def add(name: str) -> None:
    with transaction.atomic():
        Tag.objects.create(name=name)


@pytest.fixture
def ways(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How each write has come to its connection, in a thread that has written before."""
    found: list[str] = []
    at_once = opening.at_once

    def noted(session: Session) -> object:
        link = at_once(session)
        found.append("at once" if link is not None else "looked at")
        return link

    add("first")
    shop.settle()
    shop.forget()
    monkeypatch.setattr(opening, "at_once", noted)
    return found


def asked(shop: Shop, name: str = "again") -> tuple[int, int]:
    """How often the primary looks for a marker, and waits for the cluster, ahead of a write."""
    with shop.traffic() as sent:
        add(name)
    looks = sum(s.startswith(LOOK) for s in sent["db1"])
    return looks, sum(s.startswith(SYNC) for s in sent["db1"])


def test_the_kept_connection_is_used_at_once(shop: Shop, ways: list[str]) -> None:
    assert asked(shop) == (0, 0)
    assert ways == ["at once"]
    assert shop.session.promoted


def test_outside_a_transaction_too(shop: Shop, ways: list[str]) -> None:
    Tag.objects.create(name="outside")
    Tag.objects.update(name="outside, too")
    assert ways == ["at once"] * 2


def test_what_another_process_has_written_is_looked_for(shop: Shop, ways: list[str]) -> None:
    """This one has a free marker of its own."""
    token = write()
    shop.settle()
    shop.forget_positions()
    ways.clear()
    with after(token):
        assert asked(shop) == (1, 0)
        assert asked(shop) == (0, 0)
    assert ways == ["looked at", "at once"]


def test_what_one_server_has_is_not_known_of_another_behind_its_address(
    shop: Shop, ways: list[str]
) -> None:
    token = write()
    shop.settle()
    shop.forget_positions()
    cluster, link = shop.session.cluster, shop.session.primary
    assert link is not None
    with after(token):
        cluster.note_server(link.node, "another")  # as another thread's connection has met it
        assert opening._has_marks(shop.session, link)
        cluster.note_server(link.node, "another")
        assert shop.session.unmet(link.node)


def test_a_look_at_what_is_not_committed_proves_nothing(shop: Shop, configured: Any) -> None:
    configured(OPTIONS={"isolation_level": "read uncommitted"})
    shop.warm()
    token = write()
    shop.settle()
    shop.forget_positions()
    with after(token):
        assert asked(shop) == (0, 1)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog tells of a new primary soon."""
    monkeypatch.setattr(monitor, "ASK_WELL", 0.2)


def move(shop: Shop, name: str) -> None:
    """Another process makes ``name`` the primary, and this one hears of it."""
    make_primary(shop, name)
    cluster = shop.session.cluster

    def is_there() -> bool:
        usual = cluster.usual()
        return usual is not None and usual.name == name

    wait_until(is_there)


def test_a_primary_that_has_come_back_is_waited_for(
    shop: Shop, ways: list[str], told: None
) -> None:
    """Others have written through another node while this thread's connection was kept."""
    move(shop, "db2")
    elsewhere(lambda: add("on the second"))
    move(shop, "db1")
    ways.clear()
    assert asked(shop) == (0, 1)
    assert ways == ["looked at"]
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(3,)]


def test_a_primary_that_another_thread_has_waited_for_is_used_in_its_new_epoch(
    shop: Shop, ways: list[str], told: None
) -> None:
    move(shop, "db2")
    move(shop, "db1")
    elsewhere(lambda: add("elsewhere"))
    ways.clear()
    with shop.traffic() as sent:
        add("at once")
    assert ways == ["at once"]
    assert sum("UPDATE galera_router_marker" in s for s in sent["db1"]) == 1, "nothing is refused"


def test_who_is_no_primary_any_more_is_sent_nothing(
    shop: Shop, ways: list[str], told: None
) -> None:
    move(shop, "db2")
    ways.clear()
    with shop.traffic() as sent:
        add("on the second")
    assert ways == ["looked at"]
    assert not [s for s in sent["db1"] if "INSERT" in s or "UPDATE" in s], "it would be refused"
    assert shop.writing.name == "db2"


def test_who_takes_no_writes_is_sent_none(shop: Shop, ways: list[str], told: None) -> None:
    cluster, node = shop.session.cluster, shop.galera["db1"]
    node.query("SET GLOBAL read_only = 1")
    try:
        wait_until(lambda: cluster.usual() is None)
        ways.clear()
        with shop.traffic() as sent:
            add("on another")
    finally:
        node.query("SET GLOBAL read_only = 0")
    assert ways == ["looked at"]
    assert not [s for s in sent["db1"] if "INSERT" in s or "UPDATE" in s]
    assert shop.writing.name != "db1"


def test_a_connection_with_state_is_looked_at(shop: Shop, ways: list[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET @own = 1")
    ways.clear()
    add("with state")
    assert ways == ["looked at"]


def test_a_connection_that_was_ended_is_made_anew(shop: Shop, ways: list[str]) -> None:
    shop.writing.kill_connections()
    add("anew")
    assert ways == ["looked at"]
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(2,)]


def test_a_connection_that_is_to_be_checked_is(shop: Shop, ways: list[str]) -> None:
    assert shop.session.primary is not None
    shop.session.primary.unchecked = True
    add("checked")
    assert ways == ["looked at"]
    assert not shop.session.primary.unchecked

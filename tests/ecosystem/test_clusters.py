"""Several clusters and a plain database, among which a router of the user's own chooses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, router, transaction
from django.test import override_settings

from galera_router import expand
from galera_router.transactions.sessions import session_of
from tests.ecosystem.support import watched
from tests.integration.support import OPTIMISTIC, Shop, use_databases
from tests.shop.models import Author, Shelf, Tag, Ticket

REPORTS = "test_reports"  # a database of the same servers
OURS = "galera_router.routers.GaleraRouter"
THEIRS = "tests.ecosystem.test_clusters.ByModel"


class ByModel:
    """A user's own: tags and shelves in the reports, tickets in a file, the rest anywhere."""

    PLACES = {Tag: "reports", Shelf: "reports", Ticket: "file"}  # noqa: RUF012

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self.PLACES.get(model)

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return self.PLACES.get(model)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return None if db == "default" else app_label == "shop"

    def allow_relation(self, obj1: Any, obj2: Any, **hints: Any) -> bool | None:
        return False if {type(obj1), type(obj2)} == {Author, Tag} else None


@pytest.fixture
def several(shop: Shop, tmp_path: Path) -> Iterator[Shop]:
    """The shop with a second cluster and a file, routed by ByModel behind ours."""
    node = shop.galera["db1"]
    node.query(f"CREATE DATABASE {REPORTS}")
    databases = shop.galera.databases(CONN_MAX_AGE=None, OPTIONS=OPTIMISTIC)
    reports = {**databases["default"], "NAME": REPORTS}
    file = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "file")}
    use_databases(expand({**databases, "reports": reports, "file": file}))
    with override_settings(DATABASE_ROUTERS=[OURS, THEIRS]):
        for alias in ("reports", "file"):
            call_command("migrate", verbosity=0, run_syncdb=True, database=alias)
        settle(shop)
        yield shop
    connections.close_all()
    shop.galera.heal()
    node.query(f"DROP DATABASE {REPORTS}")


def settle(shop: Shop) -> None:
    shop.settle()
    for alias in ("default", "reports"):
        session = session_of(alias)
        assert session is not None
        session.new_request()
        session.following.behind.clear()


def read_on(seen: list[tuple[str, str, str]], table: str) -> set[tuple[str, str]]:
    """The nodes and databases in which ``table`` was read (see support.placed)."""
    return {(node, database) for node, database, sql in seen if f"FROM `{table}`" in sql}


def test_reads_of_each_cluster_go_to_its_secondaries(several: Shop) -> None:
    Tag.objects.create(name="new")
    Author.objects.create(name="Ann")
    settle(several)
    with watched(several) as seen:
        for _ in range(14):  # chosen at random
            settle(several)
            connections.close_all()
            assert Tag.objects.get().name == "new"
            assert Author.objects.get().name == "Ann"
    assert read_on(seen, "shop_tag") == {("db2", REPORTS), ("db3", REPORTS)}
    assert {node for node, _ in read_on(seen, "shop_author")} == {"db2", "db3"}
    assert several.everywhere(f"SELECT name FROM {REPORTS}.shop_tag") == [("new",)]
    assert several.everywhere("SELECT name FROM galera_router.shop_tag") == []


def test_a_transaction_of_the_second_cluster(several: Shop) -> None:
    Shelf.objects.create(code="a", room=1)
    settle(several)
    with watched(several) as seen, transaction.atomic(using="reports"):
        shelf = Shelf.objects.get()
        session = session_of("reports")
        assert session is not None
        assert session.snapshot is not None
        shelf.room += 1
        shelf.save()
        several.galera["db1"].kill_connections()
        Shelf.objects.create(code="b", room=Shelf.objects.get().room)
    assert ("db1", REPORTS) in read_on(seen, "shop_shelf"), "what was read is checked"
    rows = several.everywhere(f"SELECT code, room FROM {REPORTS}.shop_shelf ORDER BY code")
    assert rows == [("a", 2), ("b", 2)]
    with transaction.atomic(using="reports"):
        assert Shelf.objects.count() == 2, "the snapshot waits for the write"
        assert session.snapshot is not None


def test_transactions_of_both_are_apart(several: Shop) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        transaction.atomic(),
        transaction.atomic(using="reports"),
    ):
        Author.objects.create(name="Ann")
        Tag.objects.create(name="new")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with transaction.atomic(using="reports"):
            Author.objects.create(name="Ann")
            Tag.objects.create(name="new")
        raise ZeroDivisionError
    assert several.everywhere("SELECT * FROM galera_router.shop_author") == []
    assert several.everywhere(f"SELECT name FROM {REPORTS}.shop_tag") == [("new",)]


def test_the_second_cluster_loses_its_primary(several: Shop) -> None:
    with transaction.atomic(using="reports"):
        tag = Tag.objects.create(name="new")
        several.galera["db1"].kill()
        tag.name = "changed"
        tag.save()
        assert tag._state.db == "reports"
    several.galera["db2"].wait_applied()  # db3 may be the primary
    rows = several.galera["db2"].query(f"SELECT id, name FROM {REPORTS}.shop_tag")
    assert rows == [(tag.pk, "changed")]


def test_a_plain_database_is_left_alone(several: Shop) -> None:
    with watched(several) as seen:
        Ticket.objects.create()
        with transaction.atomic(using="file"):
            assert Ticket.objects.count() == 1
    assert seen == []


def test_an_alias_that_is_named_is_that_alias(several: Shop) -> None:
    """The cluster's alias is routed like any read; a node's is that very node."""
    settle(several)
    with watched(several) as seen:
        assert not Tag.objects.using("reports").exists()
        with transaction.atomic(using="reports"):
            assert not Shelf.objects.using("reports").exists()
        assert not Shelf.objects.using("reports_db2").exists()
    assert "db1" not in {node for node, _ in read_on(seen, "shop_tag")}
    assert "db1" not in {node for node, _ in read_on(seen, "shop_shelf")}


def test_a_router_before_ours_has_the_last_word(several: Shop) -> None:
    settle(several)
    with override_settings(DATABASE_ROUTERS=[THEIRS, OURS]), watched(several) as seen:
        assert router.db_for_write(Tag) == router.db_for_read(Tag) == "reports"
        assert not Tag.objects.exists()
        assert not Author.objects.exists()
    assert {node for node, _ in read_on(seen, "shop_tag")} <= {"db2", "db3"}
    assert {node for node, _ in read_on(seen, "shop_author")} <= {"db2", "db3"}


def test_relations_and_migrations_are_the_users_own(several: Shop) -> None:
    assert not router.allow_relation(Author(), Tag())
    assert not router.allow_migrate("reports", "auth")
    assert not router.allow_migrate("reports_db1", "shop")
    assert router.allow_migrate("reports", "shop")
    assert router.allow_migrate("reports", "galera_router"), "each cluster needs our table"
    assert not router.allow_migrate("file", "galera_router")
    tables = {name for (name,) in several.galera["db1"].query(f"SHOW TABLES FROM {REPORTS}")}
    assert {"galera_router_marker", "shop_tag"} <= tables
    assert "auth_user" not in tables

"""System checks, as ``manage.py check`` runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import transaction
from django.test import override_settings

from tests.integration.support import Shop, durable
from tests.shop.models import Book

MIDDLEWARE = "galera_router.middleware.GaleraMiddleware"


def found(**kwargs: Any) -> set[str | None]:
    return {message.id for message in run_checks(**kwargs) if "galera" in (message.id or "")}


@pytest.fixture(autouse=True)
def safe(shop: Shop) -> Iterator[None]:
    """Servers as they should be; those of the tests are set to be quick."""
    with durable(shop.galera.nodes):
        yield


#: The marker first: it refers to the second one.
TABLES = ("marker", "slot", "epoch")


def drop_tables(shop: Shop, *names: str) -> None:
    """As before migrate has made them."""
    node = shop.galera["db1"]
    for name in names:
        node.query(f"DROP TABLE galera_router.galera_router_{name}")
    node.query("DELETE FROM galera_router.django_migrations WHERE app = 'galera_router'")


@pytest.fixture
def unmarked(shop: Shop) -> Iterator[Shop]:
    drop_tables(shop, *TABLES)
    yield shop
    call_command("migrate", "galera_router", verbosity=0)


def test_nothing_is_wrong_with_the_settings_of_the_readme(shop: Shop) -> None:
    shop.configure(ATOMIC_REQUESTS=True)
    assert found() == set()
    assert found(databases=["default"]) == set()


def test_a_missing_router_is_an_error_without_any_option(shop: Shop) -> None:
    with override_settings(DATABASE_ROUTERS=[]):
        assert found() == {"galera_router.E001"}


@pytest.mark.parametrize(
    ("atomic", "expected"), [(True, {"galera_router.W001"}), (False, {"galera_router.W020"})]
)
def test_the_middleware_is_wanted(shop: Shop, atomic: bool, expected: set[str]) -> None:
    shop.configure(ATOMIC_REQUESTS=atomic)
    with override_settings(MIDDLEWARE=[]):
        assert found() == expected
    with override_settings(MIDDLEWARE=[MIDDLEWARE]):
        assert found() == set()


def test_a_missing_marker_table_is_seen_with_the_database(unmarked: Shop) -> None:
    assert found(databases=["default"]) == {"galera_router.W002"}
    assert found() == set()
    unmarked.configure(OPTIONS={"commit_marker": False})
    assert found(databases=["default"]) == set()


def test_migrate_brings_the_marker_at_once(unmarked: Shop) -> None:
    unmarked.stock()
    count = "SELECT COUNT(*) FROM galera_router.galera_router_marker"
    call_command("migrate", "galera_router", verbosity=0)
    unmarked.empty()
    unmarked.stock()
    assert unmarked.everywhere(count)[0][0] > 0


def test_the_table_is_made_on_clusters_alone(shop: Shop) -> None:
    from django.db import router

    assert router.allow_migrate("default", "galera_router")
    assert not router.allow_migrate("default_db2", "galera_router")
    assert not router.allow_migrate("another", "galera_router")


def test_a_table_that_goes_while_it_is_in_use_is_done_without(shop: Shop) -> None:
    book = shop.stock()
    drop_tables(shop, *TABLES)
    try:
        for _ in range(2):
            with transaction.atomic():
                book.stock += 1
                book.save()
            book.stock += 1
            book.save()
    finally:
        call_command("migrate", "galera_router", verbosity=0)
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(14,)]


def test_missing_tables_of_the_epochs_are_seen(shop: Shop) -> None:
    """As with the tables of an older release, which goes on until migrate has run."""
    book = shop.stock()
    call_command("migrate", "galera_router", "0001", verbosity=0)
    try:
        assert found(databases=["default"]) == {"galera_router.W002"}
        with transaction.atomic():
            Book.objects.filter(pk=book.pk).update(stock=11)
    finally:
        call_command("migrate", "galera_router", verbosity=0)
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(11,)]
    assert found(databases=["default"]) == set()


def test_the_table_can_be_taken_away_again(shop: Shop) -> None:
    """The way back to another backend."""
    table = "SHOW TABLES FROM galera_router LIKE 'galera_router_marker'"
    try:
        call_command("migrate", "galera_router", "zero", verbosity=0)
        assert shop.everywhere(table) == []
        shop.stock()
        assert found(databases=["default"]) == {"galera_router.W002"}
    finally:
        call_command("migrate", "galera_router", verbosity=0)
    assert len(shop.everywhere(table)) == 1

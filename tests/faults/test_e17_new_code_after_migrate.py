"""New code reads a column or a table that a secondary does not have yet.

``migrate`` is done when the primary has the change. A process that begins then has written nothing
itself, so nothing tells it to wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import transaction
from django.db.models.expressions import RawSQL

from tests.faults.known import both
from tests.faults.limits import spared
from tests.faults.support import EitherShop
from tests.shop.models import Author

LAG = 1.0
UNKNOWN_COLUMN, NO_SUCH_TABLE = 1054, 1146


@contextmanager
def _new_process(shop: EitherShop, *migrations: str) -> Iterator[None]:
    """A process that begins right after ``migrations``; the secondaries lag."""
    behind = [shop.galera["db2"], shop.galera["db3"]]
    for node in behind:
        node.hold_applier()
    timers = [threading.Timer(LAG, node.release_applier) for node in behind]
    for statement in migrations:
        shop.galera["db1"].query(statement)
    shop.configure()
    for timer in timers:
        timer.start()
    try:
        with spared(UNKNOWN_COLUMN, NO_SUCH_TABLE):
            yield
    finally:
        for timer in timers:
            timer.join()


@pytest.fixture
def migrating(shop: EitherShop) -> Iterator[EitherShop]:
    shop.stock()
    yield shop
    node = shop.galera["db1"]
    for name in ("db2", "db3"):
        shop.galera[name].release_applier()
    node.query("ALTER TABLE galera_router.shop_author DROP COLUMN IF EXISTS e17")
    node.query("DROP TABLE IF EXISTS galera_router.shop_e17")
    shop.settle()


def _new_column() -> object:
    return Author.objects.annotate(e17=RawSQL("e17", [])).get().e17


def _new_table() -> object:
    return Author.objects.annotate(rows=RawSQL("(SELECT COUNT(*) FROM shop_e17)", [])).get().rows


@both()
def test_a_new_column(migrating: EitherShop) -> None:
    add = "ALTER TABLE galera_router.shop_author ADD COLUMN e17 INT NOT NULL DEFAULT 7"
    with _new_process(migrating, add):
        assert _new_column() == 7


@both()
def test_a_new_table(migrating: EitherShop) -> None:
    create = "CREATE TABLE galera_router.shop_e17 (id INT PRIMARY KEY)"
    with _new_process(migrating, create):
        assert _new_table() == 0


@both()
def test_in_a_block(migrating: EitherShop) -> None:
    create = "CREATE TABLE galera_router.shop_e17 (id INT PRIMARY KEY)"
    with _new_process(migrating, create), transaction.atomic():
        assert Author.objects.count() == 1
        assert _new_table() == 0


@both()
def test_a_table_that_was_given_another_name(migrating: EitherShop) -> None:
    create = "CREATE TABLE galera_router.shop_e17a (id INT PRIMARY KEY)"
    rename = "RENAME TABLE galera_router.shop_e17a TO galera_router.shop_e17"
    with _new_process(migrating, create, rename):
        assert _new_table() == 0

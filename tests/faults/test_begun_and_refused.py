"""A transaction whose marker the server refuses is begun on it, and nobody has it open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from tests.faults.known import both
from tests.faults.server import routines_of, tags
from tests.faults.support import EitherShop
from tests.shop.models import Tag


def run(sql: str) -> tuple[Any, ...]:
    with connection.cursor() as sent:
        sent.execute(sql)
        return tuple(sent.fetchall()) if sent.description else ()


@pytest.fixture
def routines(shop: EitherShop) -> Iterator[None]:
    with routines_of(shop.galera["db1"]):
        yield


#: Both are sent as they are, outside a transaction of ours.
CALL, INSERT = "CALL shop_add('one')", "INSERT INTO shop_tag (name) VALUES (@name)"
IN_A_HURRY = {"init_command": "SET SESSION max_statement_time = 0.3"}


def refused() -> None:
    """A block that fails at its first write."""
    with pytest.raises(OperationalError), transaction.atomic():
        Tag.objects.create(name="refused")


def locked(shop: EitherShop) -> None:
    """It fails because the primary is locked for a moment, as by a backup."""
    shop.galera["db1"].hold_applier()
    refused()
    shop.galera["db1"].release_applier()


@both()
@pytest.mark.parametrize("sql", [CALL, INSERT])
def test_what_is_written_behind_a_block_that_took_too_long(
    shop: EitherShop, routines: None, sql: str
) -> None:
    shop.configure(OPTIONS=IN_A_HURRY)
    shop.warm()
    Tag.objects.create(name="before")
    if sql is INSERT:
        run("SET @name = 'one'")
    locked(shop)
    run(sql)
    connection.close()
    assert tags(shop) == ["before", "one"]


@both()
def test_what_is_written_behind_a_moment_without_writes(shop: EitherShop, routines: None) -> None:
    """What was set keeps the thread on that node."""
    shop.configure(OPTIONS={} if shop.is_stock else {"reconnect_wait_time": 2.0})
    shop.warm()
    Tag.objects.create(name="before")
    run("SET @name = 'one'")
    shop.galera["db1"].query("SET GLOBAL read_only = 1")
    refused()
    shop.galera["db1"].query("SET GLOBAL read_only = 0")
    run(INSERT)
    connection.close()
    assert tags(shop) == ["before", "one"]


@both()
def test_a_session_that_was_read_only(shop: EitherShop, routines: None) -> None:
    shop.configure()
    shop.warm()
    Tag.objects.create(name="before")
    run("SET SESSION TRANSACTION READ ONLY")
    refused()
    run("SET SESSION TRANSACTION READ WRITE")
    run(CALL)
    assert tags(shop) == ["before", "one"]


@both()
def test_what_is_read_behind_it_is_not_old(shop: EitherShop) -> None:
    options: dict[str, Any] = {**IN_A_HURRY, "isolation_level": "repeatable read"}
    shop.configure(OPTIONS=options if shop.is_stock else {**options, "reads": "primary"})
    shop.warm()
    Tag.objects.create(name="before")
    locked(shop)
    assert Tag.objects.count() == 1
    shop.galera["db1"].query("INSERT INTO galera_router.shop_tag (name) VALUES ('x')")
    assert Tag.objects.count() == 2

"""A statement that takes longer than the driver's ``read_timeout``, on nodes that are well."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from django.db import OperationalError, connection, transaction

from galera_router import reads
from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.integration.support import wait_until
from tests.shop.models import Tag

LIMIT, LONG = 1, 2
WAIT = f"SLEEP({LONG})"


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def read() -> None:
    execute(f"SELECT {WAIT} FROM shop_tag")


def read_in_block() -> None:
    with transaction.atomic():
        Tag.objects.count()
        read()


def read_on_primary() -> None:
    with reads("primary"):
        read()


def write() -> None:
    execute(f"UPDATE shop_tag SET name = CONCAT('new', {WAIT})")


def raw_write() -> None:
    execute(f"INSERT INTO shop_tag (name) SELECT CONCAT('new', {WAIT})")


def write_in_block() -> None:
    with transaction.atomic():
        write()


def read_behind_write() -> None:
    with transaction.atomic():
        Tag.objects.update(name="new")
        read()


EACH = [
    read, read_in_block, read_on_primary, write, raw_write, write_in_block, read_behind_write,
]  # fmt: skip


@both()
@pytest.mark.parametrize("work", EACH)
def test_it_is_the_applications_error(shop: EitherShop, work: Callable[[], None]) -> None:
    """It would take as long on each node, and each would go on with it."""
    shop.configure(OPTIONS={"read_timeout": LIMIT})
    Tag.objects.create(name="old")
    if not shop.is_stock:
        shop.warm()
        shop.settle()
    with ExitStack() as stack:
        logs = [stack.enter_context(node.statements()) for node in shop.galera.nodes]
        with pytest.raises(OperationalError, match="2013"):
            work()
    sent = [statement for log in logs for statement in log if WAIT in statement.sql]
    assert 1 <= len(sent) <= 2
    if not shop.is_stock:
        assert all(node.well for node in shop.session.cluster.nodes)

    def ended() -> bool:
        count = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SLEEP(2)%'"
        return all(node.query(count) == [(1,)] for node in shop.galera.nodes)

    wait_until(ended)
    names = shop.everywhere("SELECT name FROM galera_router.shop_tag")
    assert names == [("old",)] or shop.is_stock


@both(stock=False)
def test_a_frozen_node_is_left_all_the_same(shop: EitherShop) -> None:
    shop.configure(OPTIONS={"read_timeout": LIMIT, "watchdog_after": 0})
    Tag.objects.create(name="old")
    shop.warm()
    shop.settle()
    with transaction.atomic():
        assert Tag.objects.count() == 1
        frozen = shop.reading
        frozen.freeze()
        try:
            assert Tag.objects.count() == 1
            assert shop.reading is not frozen
        finally:
            frozen.thaw()

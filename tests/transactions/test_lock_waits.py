"""A read on a secondary that has waited for a lock in vain: its snapshot stands, or is ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
from django.db import DatabaseError, connection, connections, transaction

from galera_router.cluster.nodes import LAG_REMEMBERED
from galera_router.exceptions import ReplayMismatch
from galera_router.testing.admin import open_connection
from tests.integration.support import OPTIMISTIC, Shop
from tests.shop.models import Author, Book, Tag

WAIT = "SET SESSION lock_wait_timeout = 1"


@pytest.fixture
def waiting(shop: Shop) -> Shop:
    """Reads come from db2, where a lock of a table is waited for a second."""
    shop.stock()
    node = shop.galera["db2"]
    shop.configure(
        HOST=node.host,
        PORT=node.port,
        OPTIONS={**OPTIMISTIC, "init_command": WAIT},
    )
    shop.warm()
    return shop


@contextlib.contextmanager
def locked(shop: Shop) -> Iterator[None]:
    """Somebody has the books to himself, on db2."""
    with contextlib.closing(open_connection(shop.galera["db2"].socket)) as other:
        other.query("SET SESSION wsrep_on = 0")
        other.query("SET SESSION lock_wait_timeout = 10")
        other.query("LOCK TABLES galera_router.shop_book WRITE")
        yield


def end_clients(shop: Shop) -> None:
    """End the connections of the application, and not that of who holds the lock."""
    node, sql = shop.galera["db2"], "SELECT id FROM information_schema.processlist WHERE user = "
    for (number,) in node.query(f"{sql} '{shop.galera.user}'"):
        node.query(f"KILL {number}")


def meet_a_lock(shop: Shop) -> None:
    with (
        locked(shop),
        pytest.raises(DatabaseError, match="1205"),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT title FROM shop_book")


def rename(shop: Shop) -> None:
    shop.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bea'")
    shop.settle()


def test_the_snapshot_stands(waiting: Shop) -> None:
    """What is read behind it is as old as what was read before."""
    with transaction.atomic():
        assert Author.objects.get().name == "Ann"
        meet_a_lock(waiting)
        rename(waiting)
        assert Author.objects.get().name == "Ann"
    assert Author.objects.get().name == "Bea"


def test_no_old_snapshot_is_left_behind(waiting: Shop) -> None:
    """Where it was the last statement of its block."""
    with transaction.atomic():
        assert Author.objects.get().name == "Ann"
        meet_a_lock(waiting)
    rename(waiting)
    assert Author.objects.get().name == "Bea"


def test_what_was_read_before_is_compared(waiting: Shop) -> None:
    with pytest.raises(ReplayMismatch), transaction.atomic():
        assert Author.objects.get().name == "Ann"
        meet_a_lock(waiting)
        rename(waiting)
        Tag.objects.create(name="x")
    assert waiting.everywhere("SELECT * FROM galera_router.shop_tag") == []


def test_a_snapshot_that_is_lost_when_it_is_asked_for_is_compared(waiting: Shop) -> None:
    """Its reads are made again on the next connection."""
    with waiting.galera.proxies() as proxies:
        second, options = proxies["db2"], {**OPTIMISTIC, "init_command": WAIT}
        waiting.configure(proxies=proxies, HOST=second.host, PORT=second.port, OPTIONS=options)
        with pytest.raises(ReplayMismatch), transaction.atomic():
            assert Author.objects.get().name == "Ann"
            rule = second.swallow("@@in_transaction", cut=True)
            meet_a_lock(waiting)
            assert rule.fired == 1
            rename(waiting)
            Author.objects.count()
        connections.close_all()


def test_an_inner_block_goes_back_to_its_savepoint(waiting: Shop) -> None:
    hooks: list[int] = []
    with transaction.atomic():
        transaction.on_commit(lambda: hooks.append(1))
        assert Author.objects.get().name == "Ann"
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            meet_a_lock(waiting)
            raise ZeroDivisionError
        Tag.objects.create(name="x")
    assert hooks == [1]
    assert waiting.everywhere("SELECT name FROM galera_router.shop_tag") == [("x",)]


def test_a_replay_that_meets_one_leaves_no_snapshot_behind(waiting: Shop) -> None:
    with transaction.atomic():
        assert Author.objects.get().name == "Ann"
        assert Book.objects.count() == 1
        end_clients(waiting)
        with locked(waiting):
            assert Author.objects.get().name == "Ann"
    rename(waiting)
    time.sleep(LAG_REMEMBERED + 0.1)  # for so long the node is passed by
    assert Author.objects.get().name == "Bea"

"""Galera may abort a transaction between two statements of one packet, and tells nobody.

What follows in the packet then runs outside a transaction: what a block has written is there though
it was rolled back, and on a server that is the primary no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import MySQLdb
import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from galera_router import galera_atomic
from galera_router.connections import packet
from galera_router.connections.packet import Step
from galera_router.recovery import rebuilding
from galera_router.transactions.transaction import Transaction
from tests.faults.server import routines_of
from tests.integration.support import Shop
from tests.shop.models import Author, Tag

BLOCKS, FEW = 3000, 200
ENOUGH = 3  # aborts that are noticed
SECONDS = 60.0
GAP = 100  # statements that do nothing
TOUCH = "UPDATE galera_router.galera_router_marker SET touched = touched + INTERVAL 1 SECOND"


@pytest.fixture
def gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """More time between the marker and the statement that it travels with."""
    original = rebuilding.prepare

    def prepare(transaction: Transaction) -> list[Step]:
        return [*original(transaction), *[Step(b"DO 0")] * GAP]

    monkeypatch.setattr(rebuilding, "prepare", prepare)


@pytest.fixture
def somebody(shop: Shop) -> Iterator[None]:
    """Changes the rows of the markers on another node, as a change of the primary does."""
    done, until = threading.Event(), time.monotonic() + SECONDS

    def touch() -> None:
        while not done.wait(0.002) and time.monotonic() < until:
            with suppress(MySQLdb.OperationalError):
                shop.galera["db2"].query(TOUCH)

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def noticed(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows with each abort that was noticed."""
    found: list[None] = []

    def aborted() -> MySQLdb.OperationalError:
        found.append(None)
        return original()

    original = packet.aborted
    monkeypatch.setattr(packet, "aborted", aborted)
    return found


@pytest.fixture
def routines(shop: Shop) -> Iterator[None]:
    with routines_of(shop.galera["db1"]):
        yield


def run(sql: str) -> tuple[Any, ...]:
    with connection.cursor() as sent:
        sent.execute(sql)
        return tuple(sent.fetchall()) if sent.description else ()


def add() -> None:
    Tag.objects.create(name="x")


def change() -> None:
    Tag.objects.filter(name="there").update(name="x")


def add_by_hand() -> None:
    with connection.cursor() as sent:
        sent.execute("INSERT INTO shop_tag (name) VALUES ('x'), ('x') -- two")


def read_and_add() -> None:
    Author.objects.count()
    add()


def lock_and_add() -> None:
    list(Author.objects.select_for_update())
    add()


def call_and_add() -> None:
    """A function may write, whatever it looks like."""
    with connection.cursor() as sent:
        sent.execute("SELECT shop_tagged('x')")
    add()


def set_and_add() -> None:
    with connection.cursor() as sent:
        sent.execute("SET @x = 1")
    add()


#: A tag of this name is there only if a block was committed, in part or as a whole.
LEFT = "SELECT COUNT(*) FROM galera_router.shop_tag WHERE name = 'x'"


def repeat(
    shop: Shop, block: Callable[[], None], done: Callable[[], bool], blocks: int = BLOCKS
) -> None:
    """Run ``block``, which rolls itself back, until ``done``, within bounds; nothing is left."""
    until = time.monotonic() + SECONDS / 2
    for _ in range(blocks):
        with suppress(DatabaseError):
            block()
        if done() or time.monotonic() > until:
            break
    assert shop.everywhere(LEFT) == [(0,)]


@pytest.mark.usefixtures("gap", "routines", "somebody")
@pytest.mark.parametrize(
    "work", [add, change, add_by_hand, lock_and_add, call_and_add, set_and_add, read_and_add]
)
def test_what_is_rolled_back_is_gone(
    shop: Shop, work: Callable[[], None], noticed: list[None]
) -> None:
    shop.configure(OPTIONS={"optimistic_transactions": False})
    Author.objects.create(name="Ann")
    Tag.objects.create(name="there")

    def block() -> None:
        with transaction.atomic():
            work()
            transaction.set_rollback(True)

    # SET goes alone; what looks like a read begins without a marker, and that goes alone then.
    alone = work in {set_and_add, call_and_add, read_and_add}
    repeat(shop, block, lambda: len(noticed) >= ENOUGH, FEW if alone else BLOCKS)
    assert bool(noticed) != alone


@pytest.mark.usefixtures("gap", "somebody")
def test_where_a_function_nearly_always_writes(shop: Shop, noticed: list[None]) -> None:
    """The marker goes ahead of its first read, of which nobody would notice."""
    shop.configure(OPTIONS={"optimistic_transactions": "auto"})
    Author.objects.create(name="Ann")

    @galera_atomic
    def function() -> None:
        read_and_add()
        transaction.set_rollback(True)

    repeat(shop, function, lambda: len(noticed) >= ENOUGH)
    assert noticed


@pytest.mark.usefixtures("gap", "somebody")
@pytest.mark.parametrize("optimistic", [True, False])
def test_a_temporary_table_is_written_first(shop: Shop, *, optimistic: bool) -> None:
    """That is allowed to who only reads, too, and would not be refused."""
    shop.configure(OPTIONS={"optimistic_transactions": optimistic})
    run("CREATE TEMPORARY TABLE picked (id INT)")

    def block() -> None:
        with transaction.atomic():
            run("INSERT INTO picked VALUES (1)")
            add()
            transaction.set_rollback(True)

    repeat(shop, block, lambda: shop.everywhere(LEFT) != [(0,)], FEW)


@pytest.mark.usefixtures("gap", "somebody")
@pytest.mark.parametrize("sql", ["VALUES (1)", "SELECT id FROM shop_tag"])
@pytest.mark.parametrize("atomic", [True, False])
def test_what_was_committed_is_there(
    shop: Shop, caplog: pytest.LogCaptureFixture, sql: str, *, atomic: bool
) -> None:
    """Its marker says so: a COMMIT outside the transaction is told as one, and counted."""
    shop.configure()
    add()
    run("CREATE TEMPORARY TABLE picked (id INT)")
    for _ in range(FEW):
        with suppress(DatabaseError), transaction.atomic() if atomic else nullcontext():
            run(f"INSERT INTO picked {sql}")
    assert "not there any more" not in caplog.text


@pytest.fixture
def view(shop: Shop, routines: None) -> Iterator[None]:
    """A view that calls a function which writes: by its text a query of it only reads."""
    node = shop.galera["db1"]
    node.query(
        "CREATE OR REPLACE VIEW galera_router.shop_view AS"
        " SELECT galera_router.shop_tagged('x') AS n"
    )
    yield
    node.query("DROP VIEW galera_router.shop_view")


@pytest.mark.usefixtures("gap", "view", "somebody")
def test_a_view_that_writes(shop: Shop) -> None:
    shop.configure()

    def block() -> None:
        with transaction.atomic():
            run("SELECT n FROM shop_view")
            transaction.set_rollback(True)

    repeat(shop, block, lambda: shop.everywhere(LEFT) != [(0,)], BLOCKS // 2)


@pytest.mark.usefixtures("gap", "view", "somebody")
def test_a_view_that_writes_outside_a_block(shop: Shop) -> None:
    """Each query adds one tag."""
    shop.configure()
    answered, until = 0, time.monotonic() + SECONDS / 2
    for _ in range(BLOCKS // 2):
        with suppress(DatabaseError):
            run("SELECT n FROM shop_view")
            answered += 1
        if time.monotonic() > until:
            break
    assert shop.everywhere(LEFT) == [(answered,)]


def test_what_the_server_remembers_of_a_statement_is_of_the_applications(shop: Shop) -> None:
    """The question behind it leaves no trace."""
    shop.configure(OPTIONS={"optimistic_transactions": False})
    Tag.objects.bulk_create([Tag(name=str(number)) for number in range(4)])
    for asked, told in (("SELECT FOUND_ROWS()", 4), ("SELECT ROW_COUNT()", -1)):
        with transaction.atomic():
            assert len(run("SELECT id FROM shop_tag WHERE name < '4' FOR UPDATE")) == 4
            assert run(asked) == ((told,),)
    with transaction.atomic():
        run("SELECT 'a' + 1 FROM shop_tag FOR UPDATE")
        assert len(run("SHOW WARNINGS")) == 4


def test_a_key_is_asked_for_under_a_lock(shop: Shop) -> None:
    """With autocommit turned off the server is in no transaction before the first change."""
    shop.configure()
    add()
    shop.galera["db1"].kill_connections()
    (key,) = run("SELECT LAST_INSERT_ID()")
    run("LOCK TABLES shop_tag WRITE")
    try:
        with transaction.atomic():
            assert run("SELECT LAST_INSERT_ID()") == (key,)
            assert run("SELECT LAST_INSERT_ID()") == (key,)
            add()
    finally:
        run("UNLOCK TABLES")
    assert shop.everywhere(LEFT) == [(2,)]


def test_a_session_that_is_to_write_nothing_is_told_so(shop: Shop) -> None:
    """That error is the application's own, and no abort."""
    shop.configure()
    with connection.cursor() as sent:
        sent.execute("SET SESSION TRANSACTION READ ONLY")
    with pytest.raises(OperationalError, match="READ ONLY"), transaction.atomic():
        add()
    connection.close()
    assert shop.everywhere(LEFT) == [(0,)]


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("optimistic", ["auto", False])
def test_answers_are_those_of_the_statement(
    shop: Shop, *, several: bool, optimistic: str | bool
) -> None:
    shop.configure(OPTIONS={"optimistic_transactions": optimistic, "multi_statements": several})
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    with transaction.atomic():
        assert Tag.objects.update(name="c") == 2
    with transaction.atomic():
        assert Tag.objects.create(name="d").pk
    with transaction.atomic(), connection.cursor() as sent:
        sent.execute("/* ours */ INSERT INTO shop_tag (name) VALUES ('e') RETURNING name; ")
        assert sent.fetchall() == (("e",),)
    with transaction.atomic(), connection.cursor() as sent:
        sent.execute("(SELECT name FROM shop_tag WHERE name = 'e' FOR UPDATE) -- locks")
        assert sent.fetchall() == (("e",),)
        assert sent.nextset() is None
    with transaction.atomic(), connection.cursor() as sent:
        sent.execute("SELECT @@tx_read_only, @@in_transaction, COUNT(*) FROM shop_tag FOR UPDATE")
        assert sent.fetchall() == ((0, 1, 4),)
    with transaction.atomic(), connection.cursor() as sent:
        sent.execute("SELECT name FROM shop_tag WHERE name = 'd' FOR UPDATE;")
        assert sent.fetchall() == (("d",),)
    with transaction.atomic():
        locked = Tag.objects.select_for_update().filter(name="d").iterator()
        assert [tag.name for tag in locked] == ["d"]
    with transaction.atomic():
        assert Tag.objects.all().delete()[0] == 4


def test_a_rollback_that_meets_an_abort_keeps_the_connection(shop: Shop) -> None:
    """The server tells it of the abort; what was to be undone is."""
    shop.configure()
    add()
    Tag.objects.all().delete()
    with connection.cursor() as sent:
        sent.execute("SET @x = 7")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        add()
        shop.galera["db2"].query(TOUCH)
        shop.galera["db1"].wait_applied()
        raise ZeroDivisionError
    with connection.cursor() as sent:
        sent.execute("SELECT @x")
        assert sent.fetchone() == (7,)
    with transaction.atomic():
        add()
    assert shop.everywhere(LEFT) == [(1,)]

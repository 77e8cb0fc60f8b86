"""The rows that tell what became of a COMMIT: made, used, shared by nobody, removed."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import MySQLdb
import pytest
from django.db import connection, transaction
from django.db.models import F

from galera_router.connections.begin import UNHURRIED
from galera_router.exceptions import CommitOutcomeUnknown
from galera_router.recovery import marker as markers
from galera_router.testing import GaleraNode, Proxy, Rule
from galera_router.testing.admin import open_connection
from tests.integration.support import Shop, crowd, elsewhere, wait_until
from tests.shop.models import Author, Book, Tag

TABLE = "galera_router.galera_router_marker"


@pytest.fixture
def proxies(shop: Shop) -> Iterator[dict[str, Proxy]]:
    with shop.proxied() as proxies:
        yield proxies


@pytest.fixture
def no_rows(shop: Shop) -> Shop:
    """The shop with an empty table of markers, and nobody who has one."""
    shop.galera["db1"].query(f"DELETE FROM {TABLE}")
    shop.settle()
    shop.configure()
    return shop


def rows(shop: Shop) -> dict[str, int]:
    return dict(shop.everywhere(f"SELECT worker, seq FROM {TABLE} ORDER BY worker"))


def stocks(shop: Shop) -> list[Any]:
    return shop.everywhere("SELECT DISTINCT stock FROM galera_router.shop_book")


def add() -> int:
    return Book.objects.update(stock=F("stock") + 1)


def add_in_atomic() -> int:
    with transaction.atomic():
        return add()


both = pytest.mark.parametrize("write", [add, add_in_atomic])


# --- who has which ------------------------------------------------------------------------


@both
def test_one_after_the_other_they_have_the_same(no_rows: Shop, write: Callable[[], int]) -> None:
    no_rows.stock()
    (before,) = rows(no_rows).items()
    for _ in range(5):
        assert write() == 1
    assert rows(no_rows) == {before[0]: before[1] + 5}


def test_threads_have_no_more_than_they_are(no_rows: Shop) -> None:
    no_rows.stock()

    def work(number: int, hold: Callable[[], None]) -> None:
        for _ in range(3):
            Tag.objects.create(name=f"t{number}")
        with transaction.atomic():
            Tag.objects.create(name=f"u{number}")
            hold()

    assert crowd(8, work, lambda: None) == [None] * 8
    assert len(rows(no_rows)) == 8
    assert crowd(8, work, lambda: None) == [None] * 8
    assert len(rows(no_rows)) == 8


def test_a_rolled_back_one_is_used_again(no_rows: Shop) -> None:
    no_rows.stock()
    before = rows(no_rows)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            add()
            raise ZeroDivisionError
    assert rows(no_rows) == before


def in_child(function: Callable[[], None]) -> int:
    """Run ``function`` in a forked child; returns its process id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    return child


def test_processes_share_none(no_rows: Shop) -> None:
    """Each has its transaction open while the others do."""
    no_rows.configure(OPTIONS={"init_command": "SET innodb_lock_wait_timeout = 3"})
    no_rows.stock()
    before = rows(no_rows)
    reading, writing = os.pipe()
    go_on, go = os.pipe()

    def child() -> None:
        os.close(go)  # its end in the parent is then told
        with transaction.atomic():
            Tag.objects.create(name=f"child {os.getpid()}")
            os.write(writing, b"x")
            os.close(writing)
            assert os.read(go_on, 1)

    children = [in_child(child) for _ in range(3)]
    os.close(writing)
    try:
        assert [os.read(reading, 1) for _ in range(3)] == [b"x"] * 3
        with transaction.atomic():
            Tag.objects.create(name="parent")
            os.write(go, b"xxx")
            assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    finally:
        for descriptor in (reading, go_on, go):
            os.close(descriptor)
    after = rows(no_rows)
    new = {worker: seq for worker, seq in after.items() if worker not in before}
    assert sorted(new.values()) == [1, 1, 1]
    assert len(after) == 4
    assert no_rows.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(4,)]


# --- rows that go -------------------------------------------------------------------------


def delete(node: GaleraNode) -> None:
    node.query(f"DELETE FROM {TABLE}")


def truncate(node: GaleraNode) -> None:
    node.query(f"TRUNCATE TABLE {TABLE}")


def change(node: GaleraNode) -> None:
    node.query(f"UPDATE {TABLE} SET seq = seq + 1000")


def take_back(node: GaleraNode) -> None:
    """As when a backup has been put in the place of the data."""
    node.query(f"UPDATE {TABLE} SET seq = 0")


meddling = pytest.mark.parametrize("meddle", [delete, truncate, change, take_back])


@meddling
@both
def test_a_row_that_someone_has_changed_before_is_replaced(
    shop: Shop,
    write: Callable[[], int],
    meddle: Callable[[GaleraNode], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop.stock()
    for n in range(3):
        assert add() == 1
        meddle(shop.galera["db1"])
        with caplog.at_level(logging.WARNING, "galera_router"):
            caplog.clear()
            assert write() == 1
            backup = meddle is take_back
            assert ("were committed are not there" if backup else "has gone") in caplog.text
            assert any(record.levelname == "ERROR" for record in caplog.records) == backup
        assert stocks(shop) == [(12 + 2 * n,)]
        assert shop.session.marking.marker is None


@meddling
def test_a_row_that_someone_changes_meanwhile_is_replaced(
    shop: Shop, meddle: Callable[[GaleraNode], None]
) -> None:
    shop.stock()
    for n in range(3):
        with transaction.atomic():
            assert add() == 1
            meddle(shop.galera["db2"])
            shop.settle()
            Tag.objects.create(name="x")
        assert stocks(shop) == [(11 + n,)]
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(3,)]


@pytest.mark.parametrize("meddle", [delete, truncate, change])
@pytest.mark.parametrize("delivered", [True, False])
@both
def test_without_its_row_a_doubt_is_told_and_nothing_done_twice(
    shop: Shop,
    proxies: dict[str, Proxy],
    write: Callable[[], int],
    delivered: bool,
    meddle: Callable[[GaleraNode], None],
) -> None:
    # The connection is to be cut when the row has gone, and not before.
    shop.configure(proxies=proxies, OPTIONS={"watchdog_after": 0.0})
    shop.stock()
    db2, proxy = shop.galera["db2"], proxies["db1"]
    for n in range(3):
        assert add() == 1
        shop.settle()
        rule = (proxy.swallow if delivered else proxy.drop)(r"COMMIT(; END)?\Z")

        def deed(stock: int = 12 + 2 * n) -> None:
            if delivered:  # on the other node as well, or it would come on top
                wait_until(lambda: db2.query(STOCK) == [(stock,)])
            meddle(db2)
            shop.galera["db3"].wait_applied()  # whichever of the two is looked at

        thread = threading.Thread(target=cut_after, args=(rule, proxy, deed))
        thread.start()
        with pytest.raises(CommitOutcomeUnknown, match="marker"):
            write()
        thread.join()
        assert stocks(shop) == [(11 + n + (n + 1) * delivered,)]


STOCK = "SELECT stock FROM galera_router.shop_book"


def cut_after(rule: Rule, proxy: Proxy, deed: Callable[[], None]) -> None:
    assert rule.wait(10)
    deed()  # in the way of a transaction on another node, which it ends
    proxy.cut()


@both
def test_a_table_that_goes_is_done_without(shop: Shop, write: Callable[[], int]) -> None:
    shop.stock()
    db1 = shop.galera["db1"]
    assert add() == 1
    with shop.without_marker_table():
        assert write() == 1
        assert write() == 1
    shop.configure()
    assert write() == 1
    assert len(db1.query(f"SELECT * FROM {TABLE}")) == 1
    assert stocks(shop) == [(14,)]


def test_rows_of_dead_workers_are_removed_and_no_others(no_rows: Shop) -> None:
    ages = {"dead": "2 DAY", "also dead": "25 HOUR", "alive": "23 HOUR", "young": "0 HOUR"}
    for worker, age in ages.items():
        no_rows.galera["db1"].query(
            f"INSERT INTO {TABLE} (worker, seq, found_rows, inserted_key, touched)"
            f" VALUES ('{worker}', 5, 0, 0, UTC_TIMESTAMP() - INTERVAL {age})"
        )
    Tag.objects.create(name="x")
    found = rows(no_rows)
    assert {"alive", "young"} < set(found)
    assert "dead" not in found
    assert "also dead" not in found
    assert len(found) == 3


def test_a_living_worker_whose_row_was_removed_makes_another(no_rows: Shop) -> None:
    no_rows.stock()
    no_rows.galera["db1"].query(f"UPDATE {TABLE} SET touched = touched - INTERVAL 2 DAY")
    (old,) = rows(no_rows)
    context = no_rows.session
    markers._pools.clear()
    elsewhere(lambda: Tag.objects.create(name="cleans"))
    assert old not in rows(no_rows)
    assert context.marking.marker is None
    assert add() == 1
    assert stocks(no_rows) == [(11,)]


@pytest.mark.alone
def test_a_new_worker_does_not_wait_for_the_transactions_of_others(no_rows: Shop) -> None:
    """It removes the rows of dead workers, among which those of living ones are locked."""
    no_rows.stock()
    took: list[float] = []

    def work(number: int, hold: Callable[[], None]) -> None:
        with transaction.atomic():
            Tag.objects.create(name="open")
            hold()

    def start_a_worker() -> None:
        markers._pools.clear()
        started = time.monotonic()
        elsewhere(lambda: Tag.objects.create(name="new"))
        took.append(time.monotonic() - started)

    no_rows.configure(OPTIONS={"init_command": "SET innodb_lock_wait_timeout = 3"})
    assert crowd(2, work, start_a_worker) == [None, None]
    assert took[0] < 1.0


# --- savepoints ---------------------------------------------------------------------------


@pytest.mark.parametrize("delivered", [True, False])
@pytest.mark.parametrize("further", [True, False])
@pytest.mark.parametrize("deep", [True, False])
def test_a_marker_that_was_rolled_back_is_advanced_again(
    shop: Shop, proxies: dict[str, Proxy], delivered: bool, further: bool, deep: bool
) -> None:
    """The transaction has only read on the primary until it comes to the savepoint."""
    shop.configure(proxies=proxies, OPTIONS={"optimistic_transactions": False})
    shop.stock()
    assert add() == 1
    for n in range(20):
        rule = (proxies["db1"].swallow if delivered else proxies["db1"].drop)("^COMMIT", cut=True)
        with transaction.atomic():
            assert Author.objects.count() == 1
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                if deep:
                    with transaction.atomic():
                        Tag.objects.create(name="undone")
                else:
                    Tag.objects.create(name="undone")
                raise ZeroDivisionError
            if further:
                assert add() == 1
        assert rule.fired == 1
        assert stocks(shop) == [(12 + n if further else 11,)]
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(0,)]


# --- reads --------------------------------------------------------------------------------


@pytest.mark.parametrize("delivered", [True, False])
def test_reads_on_the_primary_need_none(
    shop: Shop, proxies: dict[str, Proxy], delivered: bool
) -> None:
    shop.configure(proxies=proxies, OPTIONS={"optimistic_transactions": False})
    shop.stock()
    before = rows(shop)
    for _ in range(20):
        rule = (proxies["db1"].swallow if delivered else proxies["db1"].drop)("^COMMIT", cut=True)
        with transaction.atomic():
            assert Book.objects.get().stock == 10
            assert shop.writing.name == "db1"
        assert rule.fired == 1
    assert rows(shop) == before


def test_a_function_that_writes_in_a_transaction_of_reads_is_not_called_well(
    shop: Shop, proxies: dict[str, Proxy]
) -> None:
    """It looks like a read: without a write beside it, its COMMIT cannot be settled."""
    shop.galera["db1"].query(
        "CREATE OR REPLACE FUNCTION galera_router.shop_tagged(v TEXT) RETURNS INT BEGIN"
        " INSERT INTO galera_router.shop_tag (name) VALUES (v); RETURN 1; END"
    )
    shop.configure(proxies=proxies, OPTIONS={"optimistic_transactions": False})
    Author.objects.count()
    for delivered in (True, False):
        (proxies["db1"].swallow if delivered else proxies["db1"].drop)("^COMMIT", cut=True)
        with (
            pytest.raises(CommitOutcomeUnknown),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT shop_tagged('x')")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(1,)]


@pytest.mark.parametrize(
    "step", [lambda marker: UNHURRIED + marker.fence(), lambda marker: marker.advance(None)]
)
def test_no_other_step_is_made_where_constraints_are_not_checked(
    shop: Shop, step: Callable[[markers.Marker], bytes]
) -> None:
    """Else whoever fences what was committed meanwhile would say that it is not."""
    marker = markers.Marker(shop.session.cluster.nodes[0], seq=3)
    with closing(open_connection(shop.galera["db1"].socket)) as server:
        server.select_db("galera_router")
        server.query("SET check_constraint_checks = 0")
        server.query(marker.create(None))
        marker.seq = 2
        with pytest.raises(MySQLdb.Error) as refused:
            server.query(step(marker))
        assert markers.moved(refused.value)


# --- what it costs ------------------------------------------------------------------------


def packets(shop: Shop, work: Callable[[], Any]) -> list[str]:
    """What the primary is sent meanwhile, a packet each."""
    with shop.galera["db1"].statements() as sent:
        work()
    return [statement.sql for statement in sent if statement.command == "Query"]


def test_it_costs_no_round_trip(shop: Shop) -> None:
    shop.stock()
    shop.warm()
    add()
    begin, commit = packets(shop, add_in_atomic)
    opening, advance, update = begin.split("; ")
    assert (opening, commit) == ("START TRANSACTION", "COMMIT")
    assert advance.startswith("SET STATEMENT foreign_key_checks=1")
    assert "FOR UPDATE galera_router_marker SET seq = " in advance
    assert re.match("SET STATEMENT (tx|transaction)_read_only=1 FOR UPDATE `shop_book`", update)
    assert len(packets(shop, add)) == 1
    assert len(packets(shop, lambda: Tag.objects.create(name="x"))) == 1
    assert len(packets(shop, lambda: Tag.objects.filter(name="x").delete())) == 3
    book = Book.objects.get()
    assert len(packets(shop, book.save)) == 1


def test_raw_and_several_cost_one_more(shop: Shop) -> None:
    shop.stock()
    shop.warm()
    add()

    def raw() -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO shop_tag (name) VALUES ('x')")

    assert len(packets(shop, raw)) == 2
    assert len(packets(shop, lambda: Tag.objects.bulk_create([Tag(name="y"), Tag(name="z")]))) == 2

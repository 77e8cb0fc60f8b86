"""Nodes die for real, in the middle of transactions; the application must not notice."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import MySQLdb
import pytest
from django.db import OperationalError, ProgrammingError, connection, connections, transaction
from django.db.models import F
from MySQLdb.cursors import SSCursor

from galera_router import expand, galera_atomic, reads
from galera_router.cluster import nodes as registry
from galera_router.exceptions import (
    CommitOutcomeUnknown,
    FailoverImpossible,
    NoNodeAvailable,
    ReplayMismatch,
)
from galera_router.signals import Failover, failover
from galera_router.testing import GaleraNode
from tests.integration.support import Shop, use_databases
from tests.shop.models import Author, Book, Shelf, Tag, Ticket


def kill(node: GaleraNode) -> None:
    node.kill()


def terminate(node: GaleraNode) -> None:
    node.stop()


def cut(node: GaleraNode) -> None:
    node.kill_connections()


losses = pytest.mark.parametrize("lose", [kill, terminate, cut])


@losses
def test_the_secondary_is_lost_between_two_reads(
    shop: Shop, lose: Callable[[GaleraNode], None], caplog: pytest.LogCaptureFixture
) -> None:
    shop.stock(3)
    with transaction.atomic():
        assert Book.objects.count() == 3
        first = shop.reading
        lose(first)
        with caplog.at_level(logging.WARNING, "galera_router"):
            assert [book.title for book in Book.objects.order_by("pk")] == ["t0", "t1", "t2"]
        assert not shop.session.transaction_begun, "reads must not have gone to the primary"
        Book.objects.create(author=Author.objects.get(), title="t3")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_book") == [(4,)]
    if lose is not cut:
        assert f"failover from {first.name} to " in caplog.text


def test_a_secondary_that_lags_is_waited_for_when_it_takes_over(shop: Shop) -> None:
    shop.stock()
    first, second = shop.galera["db2"], shop.galera["db3"]
    shop.configure(HOST=first.host, PORT=first.port)
    second.hold_applier()
    shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 5")
    first.wait_applied()
    with transaction.atomic():
        assert Book.objects.get().stock == 5
        assert shop.reading is first
        first.kill()
        release = threading.Timer(1.0, second.release_applier)
        release.start()
        assert Book.objects.get().stock == 5
        assert shop.reading is second
    release.join()


def test_a_snapshot_that_differs_is_not_left_open(shop: Shop) -> None:
    shop.stock()
    first, second = shop.galera["db2"], shop.galera["db3"]
    shop.configure(HOST=first.host, PORT=first.port)
    with pytest.raises(ReplayMismatch), transaction.atomic():
        assert Book.objects.get().stock == 10
        shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 5")
        second.wait_applied()
        first.kill()
        Book.objects.get()
    assert second.query("SELECT COUNT(*) FROM information_schema.innodb_trx") == [(0,)]


@losses
def test_the_primary_is_lost_between_writes(shop: Shop, lose: Callable[[GaleraNode], None]) -> None:
    shop.stock()
    with transaction.atomic():
        book = Book.objects.get()
        book.stock -= 1
        book.save()
        new = Author.objects.create(name="Bea")
        lose(shop.writing)
        Book.objects.create(author=new, title="after")
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book ORDER BY id") == [(9,), (0,)]
    assert shop.everywhere("SELECT id FROM galera_router.shop_author WHERE name = 'Bea'") == [
        (new.pk,)
    ]


@losses
def test_the_primary_is_lost_after_the_last_write(
    shop: Shop, lose: Callable[[GaleraNode], None]
) -> None:
    with transaction.atomic():
        Author.objects.create(name="Bea")
        lose(shop.writing)
        time.sleep(0.2)  # the end of the connection arrives before COMMIT is sent
    assert shop.everywhere("SELECT name FROM galera_router.shop_author") == [("Bea",)]


@losses
def test_the_primary_is_lost_before_the_first_write(
    shop: Shop, lose: Callable[[GaleraNode], None]
) -> None:
    shop.stock()
    shop.warm()
    with transaction.atomic():
        assert Book.objects.count() == 1
        lose(shop.galera["db1"])
        Author.objects.create(name="Bea")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


def test_both_are_lost_at_once(shop: Shop) -> None:
    shop.stock()
    with transaction.atomic():
        assert Book.objects.count() == 1
        reading = shop.reading
        reading.stop()
        shop.galera["db1"].stop()
        Author.objects.create(name="Bea")
        assert Author.objects.count() == 2
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


def test_the_primary_is_dead_before_the_first_connect(shop: Shop) -> None:
    shop.galera["db1"].kill()
    Author.objects.create(name="Bea")
    with transaction.atomic():
        Author.objects.create(name="Cid")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


def test_reads_go_on_without_the_primary_and_without_delay(shop: Shop) -> None:
    shop.stock()
    shop.configure()
    shop.galera["db1"].kill()
    time.sleep(2.0)
    with shop.traffic() as sent:
        for _ in range(3):
            with transaction.atomic():
                assert Author.objects.count() == 1
    assert shop.session.primary is None
    assert sum("shop_author" in sql for log in sent.values() for sql in log) == 3


def write_until_primary_is(shop: Shop, name: str) -> None:
    deadline = time.monotonic() + 10
    while shop.writing.name != name and time.monotonic() < deadline:
        time.sleep(0.1)
        Tag.objects.create(name="x")
    assert shop.writing.name == name


def test_the_node_that_comes_back_is_used_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galera_router.cluster.nodes.Cluster.failback_delay", 0.2)
    monkeypatch.setattr("galera_router.cluster.nodes.LONGEST_PAUSE", 0.2)
    shop.galera["db1"].kill()
    Author.objects.create(name="Bea")
    assert shop.writing.name != "db1"
    shop.galera["db1"].start()
    write_until_primary_is(shop, "db1")


@pytest.mark.parametrize(
    "overrides", [{"HOST": "db3"}, {"OPTIONS": {"optimistic_transactions": False}}]
)
def test_it_comes_back_where_nothing_is_read_from_it(
    shop: Shop, overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galera_router.cluster.nodes.Cluster.failback_delay", 0.2)
    monkeypatch.setattr("galera_router.cluster.nodes.LONGEST_PAUSE", 0.2)
    if "HOST" in overrides:
        node = shop.galera[overrides["HOST"]]
        overrides = {"HOST": node.host, "PORT": node.port}
    shop.configure(**overrides)
    shop.galera["db1"].kill()
    Tag.objects.create(name="x")
    assert shop.writing.name != "db1"
    shop.galera["db1"].start()
    write_until_primary_is(shop, "db1")


def test_an_idle_connection_that_the_server_closed_does_not_condemn_its_node(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.stock()
    shop.warm()
    for name in ("db2", "db3"):
        shop.galera[name].kill_connections()
    with caplog.at_level(logging.WARNING, "galera_router"), transaction.atomic():
        assert Author.objects.count() == 1
    assert not caplog.text


def test_savepoints_are_replayed_as_they_were(shop: Shop) -> None:
    with transaction.atomic():
        Author.objects.create(name="kept")
        with transaction.atomic():
            Author.objects.create(name="released")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Author.objects.create(name="rolled back")
            raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Author.objects.create(name="open at the loss")
            shop.writing.kill()
            Author.objects.create(name="after the loss")
            raise ZeroDivisionError
        with transaction.atomic():
            Author.objects.create(name="later")
    assert shop.everywhere("SELECT name FROM galera_router.shop_author ORDER BY name") == [
        ("kept",), ("later",), ("released",),
    ]  # fmt: skip


def test_savepoints_set_before_the_promotion_exist_after_it(shop: Shop) -> None:
    shop.stock()
    with transaction.atomic():
        Author.objects.count()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Author.objects.count()
            with transaction.atomic():
                Author.objects.create(name="undone")
            raise ZeroDivisionError
        Author.objects.create(name="kept")
    assert shop.everywhere("SELECT name FROM galera_router.shop_author ORDER BY name") == [
        ("Ann",), ("kept",),
    ]  # fmt: skip


def _bulk_authors() -> list[Any]:
    return Author.objects.bulk_create([Author(name=f"bulk {n}") for n in range(5)])


def _bulk_tickets() -> list[Any]:
    return Ticket.objects.bulk_create([Ticket() for _ in range(4)])


def _one_ticket() -> list[Any]:
    return [Ticket.objects.create()]


def _shelves() -> list[Any]:
    return Shelf.objects.bulk_create([Shelf(code=f"s{n}", room=n) for n in range(3)])


def _explicit() -> list[Any]:
    return [Author.objects.create(pk=77_777, name="own key"), Author.objects.create(name="next")]


@pytest.mark.parametrize("insert", [_bulk_authors, _bulk_tickets, _one_ticket, _shelves, _explicit])
def test_keys_that_the_application_has_seen_stay(
    shop: Shop, insert: Callable[[], list[Any]]
) -> None:
    with transaction.atomic():
        Tag.objects.create(name="first")
        objects = insert()
        shop.writing.kill()
        Tag.objects.create(name="second")
        assert type(objects[0]).objects.filter(pk__in=[o.pk for o in objects]).count() == len(
            objects
        )
    table = type(objects[0])._meta.db_table
    keys = shop.everywhere(f"SELECT * FROM galera_router.{table} ORDER BY 1")
    assert sorted(row[0] for row in keys) == sorted(o.pk for o in objects)


def test_a_raw_insert_keeps_its_key(shop: Shop) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_tag (name) VALUES (%s)", ["raw"])
        key = cursor.lastrowid
        shop.writing.kill()
        cursor.execute("INSERT INTO shop_tag (name) VALUES (%s)", ["more"])
    rows = shop.everywhere("SELECT id FROM galera_router.shop_tag WHERE name = 'raw'")
    assert rows == [(key,)]


def test_hooks_run_once_after_the_commit_and_are_not_copied(shop: Shop) -> None:
    class Hook:
        calls = 0

        def __call__(self) -> None:
            self.calls += 1

    hook = Hook()
    with transaction.atomic():
        Author.objects.create(name="Bea")
        transaction.on_commit(hook)
        shop.writing.kill()
        Author.objects.create(name="Cid")
        assert hook.calls == 0
    assert hook.calls == 1


def test_an_error_of_the_application_is_replayed_as_the_error_that_it_was(shop: Shop) -> None:
    shop.stock()
    with transaction.atomic():
        with pytest.raises(Exception, match="Duplicate"), transaction.atomic():
            Author.objects.create(name="Ann")
        shop.writing.kill()
        Author.objects.create(name="Bea")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


def test_a_replay_that_differs_is_an_error_and_nothing_is_written(shop: Shop) -> None:
    shop.stock()
    with pytest.raises(ReplayMismatch), transaction.atomic():
        Author.objects.create(name="Bea")
        assert Book.objects.get().stock == 10
        shop.writing.kill()
        shop.galera["db2"].query("UPDATE galera_router.shop_book SET stock = 3")
        shop.galera["db3"].query(
            "SET STATEMENT wsrep_dirty_reads=0, wsrep_sync_wait=1 FOR SELECT 1"
        )
        Author.objects.create(name="Cid")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(1,)]
    Author.objects.create(name="afterwards all is well")


def test_a_function_is_run_again_where_a_replay_differs(shop: Shop) -> None:
    shop.stock()
    runs: list[int] = []

    @galera_atomic
    def sell() -> int:
        Author.objects.create(name=f"run {len(runs)}")
        book = Book.objects.get()
        runs.append(book.stock)
        if len(runs) == 1:
            shop.writing.kill()
            shop.galera["db2"].query("UPDATE galera_router.shop_book SET stock = 3")
            shop.galera["db3"].query(
                "SET STATEMENT wsrep_dirty_reads=0, wsrep_sync_wait=1 FOR SELECT 1"
            )
        book.stock -= 1
        book.save()
        return book.stock

    assert sell() == 2
    assert runs == [10, 3]
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(2,)]
    assert shop.everywhere("SELECT name FROM galera_router.shop_author ORDER BY id") == [
        ("Ann",), ("run 1",),
    ]  # fmt: skip


def test_more_statements_than_the_limit_are_not_replayed(shop: Shop) -> None:
    shop.configure(OPTIONS={"failover_history_limit": 3})
    with pytest.raises(FailoverImpossible, match="failover_history_limit"), transaction.atomic():
        for n in range(4):
            Author.objects.create(name=f"a{n}")
        shop.writing.kill()
        Author.objects.create(name="too late")
    Author.objects.create(name="afterwards all is well")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(1,)]


def test_reads_beyond_the_limit_are_still_checked_at_the_promotion(shop: Shop) -> None:
    shop.configure(OPTIONS={"failover_history_limit": 3})
    shop.stock()
    with pytest.raises(ReplayMismatch), transaction.atomic():
        for _ in range(6):
            Book.objects.get()
        shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 3")
        Author.objects.create(name="Bea")


def test_failover_can_be_turned_off(shop: Shop) -> None:
    shop.configure(OPTIONS={"failover_enable": False})
    with pytest.raises(OperationalError) as caught, transaction.atomic():
        Author.objects.create(name="Bea")
        shop.writing.kill()
        Author.objects.create(name="Cid")
    assert caught.value.args[0] in {2006, 2013}
    Author.objects.create(name="Dan")
    assert shop.everywhere("SELECT name FROM galera_router.shop_author") == [("Dan",)]


@pytest.mark.alone
def test_no_node_left_names_each_node_and_waits_no_longer_than_told(shop: Shop) -> None:
    shop.configure(OPTIONS={"reconnect_wait_time": 1})
    for node in shop.galera.nodes:
        node.reject_queries()
    started = time.monotonic()
    with pytest.raises(NoNodeAvailable) as caught, transaction.atomic():
        Author.objects.create(name="Bea")
    assert time.monotonic() - started < 6
    assert all(node.name in str(caught.value) for node in shop.galera.nodes)
    for node in shop.galera.nodes:
        node.accept_queries()
    Author.objects.create(name="Cid")
    assert shop.everywhere("SELECT name FROM galera_router.shop_author") == [("Cid",)]


def test_a_node_that_refuses_queries_is_not_called_well(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.stock()
    shop.galera["db2"].reject_queries()
    with caplog.at_level(logging.WARNING, "galera_router"):
        for _ in range(20):
            assert Author.objects.count() == 1
            shop.session.new_request()
            time.sleep(0.1)
    assert caplog.text.count("db2 is down") == 1
    assert "db2 is up again" not in caplog.text


def test_a_failover_waits_for_a_node_to_become_well(shop: Shop) -> None:
    for node in shop.galera.nodes[1:]:
        node.reject_queries()
    with transaction.atomic():
        Author.objects.create(name="Bea")
        shop.writing.reject_queries(kind="ALL")
        threading.Timer(1.0, shop.galera["db3"].accept_queries).start()
        Author.objects.create(name="Cid")
    for node in shop.galera.nodes:
        node.accept_queries()
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


def test_an_autocommit_read_is_made_again_elsewhere(shop: Shop) -> None:
    shop.stock()
    assert Author.objects.count() == 1
    assert shop.session.reader.pin is not None
    shop.galera[shop.session.reader.pin.name].kill()
    assert Author.objects.count() == 1


def test_an_autocommit_read_on_the_primary_is_made_again(shop: Shop) -> None:
    Author.objects.create(name="Ann")
    shop.writing.kill()
    assert Author.objects.count() == 1


@pytest.mark.parametrize("within", [True, False])
def test_what_was_committed_is_seen_on_the_next_primary(shop: Shop, within: bool) -> None:
    Tag.objects.count()
    followers = shop.galera.nodes[1:]
    for node in followers:
        node.hold_applier()
    Author.objects.create(name="Ann")
    shop.writing.kill()
    releases = [threading.Timer(1.0, node.release_applier) for node in followers]
    for release in releases:
        release.start()
    if within:
        with transaction.atomic():
            assert len(Author.objects.select_for_update()) == 1
    else:
        assert Author.objects.count() == 1
    for release in releases:
        release.join()


def test_an_idle_connection_that_died_is_replaced_before_an_autocommit_write(shop: Shop) -> None:
    Author.objects.create(name="Ann")
    shop.writing.kill_connections()
    time.sleep(0.2)
    Author.objects.create(name="Bea")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


def test_a_connection_lost_in_an_autocommit_write_is_never_blindly_resent(shop: Shop) -> None:
    shop.configure(OPTIONS={"commit_marker": False})
    shop.stock()
    shop.warm()
    threading.Timer(0.5, shop.galera["db1"].kill_connections).start()
    with pytest.raises(CommitOutcomeUnknown), connection.cursor() as cursor:
        cursor.execute("UPDATE shop_book SET stock = stock + 1 + SLEEP(2)")
    time.sleep(2.5)
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book")[0][0] in {10, 11}


def test_a_connection_lost_in_an_autocommit_write_is_settled(shop: Shop) -> None:
    shop.stock()
    shop.warm()
    threading.Timer(0.5, shop.galera["db1"].kill_connections).start()
    with connection.cursor() as cursor:
        assert cursor.execute("UPDATE shop_book SET stock = stock + 1 + SLEEP(1)") == 1
        assert cursor.rowcount == 1
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(11,)]


def test_rollback_on_a_lost_primary_is_no_error(shop: Shop) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Author.objects.create(name="Bea")
        shop.writing.kill()
        raise ZeroDivisionError
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(0,)]


def test_a_failover_is_signalled(shop: Shop) -> None:
    events: list[Failover] = []

    def receive(event: Failover, **kwargs: Any) -> None:
        events.append(event)

    failover.connect(receive)
    try:
        with transaction.atomic():
            Author.objects.create(name="Bea")
            lost = shop.writing
            lost.kill()
            Author.objects.create(name="Cid")
            taken = shop.writing
    finally:
        failover.disconnect(receive)
    assert [(e.alias, e.lost, e.taken_over_by, e.replayed) for e in events] == [
        ("default", lost.name, taken.name, 1)
    ]


def test_a_lost_read_on_the_primary_is_not_made_again_if_it_writes(shop: Shop) -> None:
    shop.stock()
    shop.galera["db1"].query(
        "CREATE OR REPLACE FUNCTION galera_router.shop_slow(v TEXT) RETURNS INT BEGIN"
        " INSERT INTO galera_router.shop_tag (name) VALUES (v); DO SLEEP(2); RETURN 1; END"
    )
    shop.warm()
    for sql, outcome in (
        ("SELECT shop_slow('x')", CommitOutcomeUnknown),
        ("SELECT SLEEP(2) + COUNT(*) FROM shop_book", None),
    ):
        threading.Timer(0.5, shop.galera["db1"].kill_connections).start()
        with contextlib.ExitStack() as stack:
            if outcome is not None:
                stack.enter_context(pytest.raises(outcome))
            stack.enter_context(reads("primary"))
            cursor = stack.enter_context(connection.cursor())
            cursor.execute(sql)
            assert cursor.fetchall() == ((1,),)
    time.sleep(2.0)
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag")[0][0] in {0, 1}


def test_an_error_beyond_the_limit_does_not_lose_the_reads(shop: Shop) -> None:
    shop.configure(OPTIONS={"failover_history_limit": 2})
    shop.stock()
    with pytest.raises(ReplayMismatch), transaction.atomic():
        for _ in range(3):
            Book.objects.get()
        with pytest.raises(ProgrammingError), connection.cursor() as cursor:
            cursor.execute("SELECT FROM shop_book")
        shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 3")
        Author.objects.create(name="Bea")


def test_state_on_the_connection_is_never_silently_dropped(shop: Shop) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE shop_scratch (id INT)")
    shop.writing.kill_connections()
    time.sleep(0.2)
    with pytest.raises(FailoverImpossible, match="state"), connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_scratch VALUES (1)")
    with pytest.raises(FailoverImpossible, match="state"), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET @shop = 1")
        shop.writing.kill_connections()
        Author.objects.create(name="Bea")
    Author.objects.create(name="Cid")
    assert shop.everywhere("SELECT name FROM galera_router.shop_author") == [("Cid",)]


def test_unbuffered_cursors_read_on_the_primary(shop: Shop) -> None:
    shop.configure(OPTIONS={"cursorclass": SSCursor})
    shop.stock(3)
    with transaction.atomic():
        assert Book.objects.count() == 3
        assert shop.session.transaction_begun
        assert [book.title for book in Book.objects.order_by("pk")] == ["t0", "t1", "t2"]


def test_reads_wait_for_a_cluster_that_forms_anew(shop: Shop) -> None:
    shop.stock()
    for within in (True, False):
        for node in shop.galera.nodes:
            node.reject_queries()
        back = threading.Timer(1.5, shop.accept_queries)
        back.start()
        shop.forget()
        with transaction.atomic() if within else contextlib.nullcontext():
            assert Author.objects.count() == 1
        back.join()


def test_ddl_on_another_node_does_not_break_a_transaction_that_reads(shop: Shop) -> None:
    shop.stock(2)
    for index in range(2):
        with transaction.atomic():
            assert Book.objects.count() == 2
            shop.galera["db1"].query(
                f"ALTER TABLE galera_router.shop_book ADD INDEX shop_extra_{index} (stock)"
            )
            shop.settle()
            assert Author.objects.count() == 1 + index
            if index:
                shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = stock + 1")
            Author.objects.create(name=f"a{index}")
        shop.forget()
    shop.galera["db1"].query("ALTER TABLE galera_router.shop_book DROP INDEX shop_extra_0")
    shop.galera["db1"].query("ALTER TABLE galera_router.shop_book DROP INDEX shop_extra_1")


def test_a_snapshot_broken_by_ddl_is_still_checked_at_the_promotion(shop: Shop) -> None:
    shop.stock()
    with pytest.raises(ReplayMismatch), transaction.atomic():
        Book.objects.get()
        shop.galera["db1"].query("ALTER TABLE galera_router.shop_book ADD INDEX shop_more (stock)")
        shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 3")
        shop.settle()
        Author.objects.count()
        Author.objects.create(name="Bea")
    shop.galera["db1"].query("ALTER TABLE galera_router.shop_book DROP INDEX shop_more")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(1,)]


def test_idle_connections_that_have_gone_cost_no_read_its_tries(shop: Shop) -> None:
    shop.stock()
    with shop.galera.proxies() as proxies:
        first = {"HOST": proxies["db1"].host, "PORT": proxies["db1"].port}
        use_databases(expand(shop.galera.databases(proxies=proxies, CONN_MAX_AGE=None, **first)))
        shop.warm()
        proxies["db1"].refuse()
        for proxy in proxies.values():
            proxy.cut()
        with transaction.atomic():
            assert Author.objects.count() == 1
        assert [node.up for node in shop.session.cluster.nodes] == [False, True, True]
        connections.close_all()


def test_a_function_that_has_only_read_runs_again_on_a_secondary(shop: Shop) -> None:
    shop.stock()
    where: list[bool] = []
    runs: list[int] = []

    @galera_atomic
    def read() -> int:
        runs.append(1)
        first = Author.objects.count()
        if len(runs) == 1:
            shop.galera["db1"].query("INSERT INTO galera_router.shop_author (name) VALUES ('x')")
            shop.settle()
            shop.reading.kill_connections()
        Book.objects.count()
        where.append(shop.session.snapshot is not None)
        return first

    assert read() == 2
    assert (len(runs), where) == (2, [True])


@pytest.mark.parametrize("fault", [GaleraNode.isolate, GaleraNode.reject_queries])
def test_a_commit_that_its_node_refuses_is_made_elsewhere(
    shop: Shop, fault: Callable[[GaleraNode], None]
) -> None:
    """1047 or 1180 at COMMIT: whether it was carried out is found out on another node."""
    shop.stock()
    with transaction.atomic():
        Book.objects.update(stock=F("stock") + 1)
        lost = shop.writing
        fault(lost)
    for node in shop.galera.nodes:
        if node is not lost:
            node.wait_applied()
            assert node.query("SELECT stock FROM galera_router.shop_book") == [(11,)]
    shop.galera.heal()
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(11,)]


def test_a_node_that_does_not_catch_up_is_passed_by_and_not_taken_for_dead(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "LAG_REMEMBERED", 0.0)
    shop.stock()
    node = shop.galera["db2"]
    options = {"wsrep_sync_timeout": 0.6}
    shop.configure(HOST=node.host, PORT=node.port, OPTIONS=options)
    node.query("SET GLOBAL wsrep_provider_options = 'repl.causal_read_timeout=PT0.3S'")
    try:
        with node.hold_applier():
            Author.objects.create(name="Bea")
            with transaction.atomic():
                assert Author.objects.count() == 2
                assert shop.reading is shop.galera["db3"]
            assert all(known.up for known in shop.session.cluster.nodes)
            with transaction.atomic():
                assert Author.objects.count() == 2
        shop.session.new_request()
        with transaction.atomic():
            assert Author.objects.count() == 2
            assert shop.reading is node
    finally:
        node.query("SET GLOBAL wsrep_provider_options = 'repl.causal_read_timeout=PT30S'")


def test_a_statement_that_locks_is_replayed_in_a_packet_of_its_own(shop: Shop) -> None:
    """An abort between two statements of one packet would go unnoticed."""
    shop.stock()
    with transaction.atomic():
        Author.objects.count()
        Book.objects.update(stock=1)
        Tag.objects.create(name="a")
        Book.objects.select_for_update().get()
        node = shop.writing
        with node.statements() as sent:
            node.kill_connections()
            Tag.objects.create(name="b")
    packets = [statement.sql for statement in sent if statement.command == "Query"]
    locking = [sql for sql in packets if re.search("UPDATE `shop|INTO `shop|FOR UPDATE$", sql)]
    assert len(locking) == 4
    assert not [sql for sql in locking if ";" in sql]
    opening = next(sql for sql in packets if "START TRANSACTION\n" in sql)
    assert [part.split()[0] for part in opening.split(";")] == [
        "START", "SET", "SELECT", "SELECT",
    ]  # fmt: skip
    assert opening.endswith("SELECT @@in_transaction")


def test_what_the_time_was_is_no_obstacle(shop: Shop) -> None:
    """It is later when the transaction is replayed, and that is nobody's change."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT NOW(6), RAND()")
            before = cursor.fetchone()
        Tag.objects.create(name="one")
        shop.writing.kill()
        Tag.objects.create(name="two")
    assert before is not None
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(2,)]


def victim(shop: Shop) -> Any:
    """A connection of the same user's, with a lower number than the next one of ours."""
    node = shop.galera["db1"]
    return MySQLdb.connect(
        host=node.host, port=node.port, user=shop.galera.user, password=shop.galera.password
    )


@pytest.mark.parametrize(
    ("server", "age", "ended"), [("", 0, True), ("another", 0, False), ("", 1e6, False)]
)
def test_only_a_connection_of_ones_own_is_ended(
    shop: Shop, server: str, age: float, ended: bool
) -> None:
    """Not one of another server behind the address, nor of one that was started anew since."""
    Tag.objects.create(name="before")
    session, other = shop.session, victim(shop)
    left = session.primary
    assert left is not None
    session.lose_primary()
    left.thread_id, left.born = other.thread_id(), left.born - age
    left.server = server or left.server
    Tag.objects.create(name="after")
    with pytest.raises(MySQLdb.Error) if ended else contextlib.nullcontext():
        other.query("SELECT 1")
    other.close()

"""What lives on one connection alone is lost with it: that is told, never passed over."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, ProgrammingError, connection, transaction
from django.db.models import F

from galera_router.exceptions import CommitOutcomeUnknown, FailoverImpossible
from galera_router.recovery import failover
from galera_router.testing import GaleraNode
from galera_router.transactions import waiting
from galera_router.transactions.session import Session
from tests.differential.interrupts import Interrupted
from tests.faults.server import AfterAnswer
from tests.integration.support import Shop
from tests.shop.models import Author, Book, Shelf, Tag


def run(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


def tags(shop: Shop) -> list[str]:
    rows = shop.everywhere("SELECT name FROM galera_router.shop_tag ORDER BY id")
    return [name for (name,) in rows]


def kill(node: GaleraNode) -> None:
    node.kill()


def cut(node: GaleraNode) -> None:
    node.kill_connections()
    time.sleep(0.1)


losses = pytest.mark.parametrize("lose", [kill, cut])

LEFT = [
    "CREATE TEMPORARY TABLE shop_scratch (id INT)",
    "SELECT GET_LOCK('shop', 1)",
    "SET @shop = 1",
    "SELECT @shop := 1",
    "SELECT name INTO @shop FROM shop_author LIMIT 1",
    "SET SESSION sql_mode = ''",
    "SET SESSION max_statement_time = 5",
    "PREPARE shop_prepared FROM 'SELECT 1'",
]
leaving = pytest.mark.parametrize("sql", LEFT)


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("sql", ["SELECT COUNT(*) FROM shop_tag", "UPDATE shop_tag SET name = 'x'"])
def test_what_is_set_for_one_statement_is_not_left(shop: Shop, sql: str, atomic: bool) -> None:
    """The next transaction is moved as any other."""
    with transaction.atomic() if atomic else nullcontext():
        run(f"SET STATEMENT max_statement_time = 5 FOR {sql}")
    with transaction.atomic():
        Tag.objects.create(name="one")
        cut(shop.writing)
        Tag.objects.create(name="two")
    assert tags(shop) == ["one", "two"]


# --- left on the connection ---------------------------------------------------------------


@leaving
@pytest.mark.parametrize("then", ["autocommit", "transaction", "read"])
def test_what_was_left_is_missed_once(shop: Shop, sql: str, then: str) -> None:
    """The first statement is told; with the next the application has begun anew."""

    def use() -> None:
        if then == "transaction":
            with transaction.atomic():
                Tag.objects.create(name="x")
        elif then == "read":
            run("SELECT 1")
        else:
            Tag.objects.create(name="x")

    shop.stock()
    for n in range(3):
        run(sql)
        cut(shop.writing)
        with pytest.raises(FailoverImpossible, match=sql.split()[0]):
            use()
        use()
        assert tags(shop) == ["x"] * ((n + 1) if then != "read" else 0)


def test_what_was_left_is_missed_when_the_node_dies(shop: Shop) -> None:
    shop.stock()
    run(LEFT[0])
    kill(shop.writing)
    with pytest.raises(FailoverImpossible, match="CREATE"):
        Tag.objects.create(name="x")
    Tag.objects.create(name="y")
    assert tags(shop) == ["y"]


@leaving
def test_it_is_kept_from_one_statement_to_the_next(shop: Shop, sql: str) -> None:
    """Transactions, failures and reads of ours do not touch it."""
    shop.stock()
    run(sql)
    before = shop.session.primary
    with transaction.atomic():
        Author.objects.count()
        Tag.objects.create(name="x")
    Tag.objects.create(name="y")
    with pytest.raises(ProgrammingError):
        run("SELECT 1 FROM no_such_table")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Tag.objects.create(name="undone")
        raise ZeroDivisionError
    assert shop.session.primary is before
    assert tags(shop) == ["x", "y"]


def test_a_lost_lock_is_told(shop: Shop) -> None:
    """Two that each hold a lock: the one who has lost it is not let into what it guards."""
    shop.stock()
    run("SELECT GET_LOCK('shop', 1)")
    cut(shop.writing)
    with pytest.raises(FailoverImpossible, match="SELECT"), transaction.atomic():
        Book.objects.update(stock=F("stock") + 1)
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(10,)]


def test_nothing_is_missed_where_the_connection_was_closed(shop: Shop) -> None:
    run("SET @shop = 1")
    connection.close()
    Tag.objects.create(name="x")
    assert tags(shop) == ["x"]


# --- in a transaction ---------------------------------------------------------------------


lost = pytest.mark.parametrize(("sql", "lose"), [(LEFT[1], kill), *((sql, cut) for sql in LEFT)])


@lost
def test_a_transaction_that_has_some_is_not_moved(
    shop: Shop, sql: str, lose: Callable[[GaleraNode], None]
) -> None:
    shop.stock()
    with pytest.raises(FailoverImpossible, match=sql.split()[0]), transaction.atomic():
        Tag.objects.create(name="before")
        run(sql)
        lose(shop.writing)
        Tag.objects.create(name="after")
    Tag.objects.create(name="anew")
    assert tags(shop) == ["anew"]


@lost
def test_nor_where_it_was_there_before_it(
    shop: Shop, sql: str, lose: Callable[[GaleraNode], None]
) -> None:
    shop.stock()
    run(sql)
    with pytest.raises(FailoverImpossible, match=sql.split()[0]), transaction.atomic():
        Tag.objects.create(name="before")
        lose(shop.writing)
        Tag.objects.create(name="after")
    Tag.objects.create(name="anew")
    assert tags(shop) == ["anew"]


@leaving
@pytest.mark.parametrize("delivered", [True, False])
def test_an_answer_to_commit_is_lost_with_it(shop: Shop, sql: str, delivered: bool) -> None:
    """The change is there or not, as is told; and that the rest is gone is told as well."""
    shop.stock()
    with shop.proxied() as proxies:
        Tag.objects.create(name="first")
        (proxies["db1"].swallow if delivered else proxies["db1"].drop)("^COMMIT", cut=True)
        told = []
        try:
            with transaction.atomic():
                Tag.objects.create(name="in doubt")
                run(sql)
        except (FailoverImpossible, CommitOutcomeUnknown) as error:
            told.append(error)
        there = "in doubt" in tags(shop)
        assert there == delivered
        if there:
            assert not any(isinstance(error, FailoverImpossible) for error in told)
        else:
            assert told
        if not told:  # the loss of what was left is told by the next statement
            with pytest.raises(FailoverImpossible):
                run("SELECT 1")
        Tag.objects.create(name="anew")
        assert tags(shop)[-1] == "anew"


def test_a_temporary_table_is_used_and_never_silently_empty(shop: Shop) -> None:
    run("CREATE TEMPORARY TABLE shop_scratch (id INT)")
    run("INSERT INTO shop_scratch VALUES (1)")
    with transaction.atomic():
        Tag.objects.create(name="x")
        run("INSERT INTO shop_scratch VALUES (2)")
        assert run("SELECT COUNT(*) FROM shop_scratch") == ((2,),)
    cut(shop.writing)
    with pytest.raises(FailoverImpossible):
        run("SELECT COUNT(*) FROM shop_scratch")
    with pytest.raises(ProgrammingError):
        run("SELECT COUNT(*) FROM shop_scratch")
    assert tags(shop) == ["x"]


# --- lost where nothing else is amiss -----------------------------------------------------


def test_the_answer_to_a_rollback_is_lost_with_it(shop: Shop) -> None:
    """That of the application's own block; the transaction itself is as it should be."""
    with shop.proxied() as proxies:
        run("SET @shop = 1")
        proxies["db1"].swallow("^ROLLBACK", cut=True)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Tag.objects.create(name="undone")
            raise ZeroDivisionError
        missed_once()
    assert tags(shop) == ["x"]


def test_the_end_of_a_block_that_only_read_is_lost_with_it(shop: Shop) -> None:
    """Nothing was to be committed, so that its reads are made again, and the block is well."""
    with shop.proxied() as proxies:
        run("SET @shop = 1")
        rule = proxies["db1"].swallow("^COMMIT", cut=True)
        with transaction.atomic():
            assert Author.objects.count() == 0
        assert rule.fired == 1
        missed_once()


def test_the_answer_to_our_own_rollback_is_lost_with_it(shop: Shop) -> None:
    """Behind a statement that has failed by itself, as it would have on stock Django."""
    with shop.proxied() as proxies:
        shelf = Shelf.objects.create(code="s", room=1)
        run("SET @shop = 1")
        proxies["db1"].swallow("^ROLLBACK", cut=True)
        with pytest.raises(IntegrityError):
            Shelf.objects.create(code=shelf.code, room=2)
        missed_once()


def test_the_answer_to_our_own_question_is_lost_with_it(shop: Shop) -> None:
    """The error of the application is the one of its statement; what is gone is told as well."""
    with shop.proxied(OPTIONS={"wsrep_sync_use_gtid": True}) as proxies:
        Tag.objects.create(name="first")
        run("SET @shop = 1")
        proxies["db1"].swallow("WSREP_LAST_SEEN_GTID", cut=True)
        link = shop.session.primary
        assert link is not None
        assert waiting.ask_gtid(shop.session, link) is None
        missed_once()


def test_what_was_interrupted_takes_it_along(shop: Shop) -> None:
    run("SET @shop = 1")
    with suppress(Interrupted), AfterAnswer(1):
        run("SELECT @shop")
    missed_once()


def test_a_marker_that_has_gone_takes_it_along(shop: Shop) -> None:
    """Somebody has flushed the table: the packet with the marker leaves answers behind."""
    Tag.objects.create(name="first")
    run("SET @shop = 1")
    shop.galera["db1"].query("DELETE FROM galera_router.galera_router_marker")
    with pytest.raises(FailoverImpossible, match="SET"), transaction.atomic():
        Tag.objects.create(name="lost")
    Tag.objects.create(name="x")
    assert tags(shop) == ["first", "x"]


def test_a_connection_that_ends_just_before_its_use(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the look whether it is still good."""
    run("SET @shop = 1")
    keep_state = failover._keep_state

    def then_cut(session: Session) -> None:
        keep_state(session)
        monkeypatch.setattr(failover, "_keep_state", keep_state)
        cut(shop.writing)

    monkeypatch.setattr(failover, "_keep_state", then_cut)
    missed_once()


def missed_once() -> None:
    with pytest.raises(FailoverImpossible, match="SET"):
        Tag.objects.create(name="missed")
    Tag.objects.create(name="x")


# --- LOCK TABLES --------------------------------------------------------------------------


def locked_for_others(shop: Shop) -> bool:
    """Whether somebody else would have to wait for the table."""
    rows = shop.galera["db1"].query("SHOW OPEN TABLES FROM galera_router LIKE 'shop_tag'")
    return any(in_use > 0 for _, _, in_use, _ in rows)


@pytest.mark.parametrize("within", [True, False])
def test_locked_tables_stay_locked(shop: Shop, within: bool) -> None:
    """As on stock Django, where no START TRANSACTION is sent."""
    Tag.objects.create(name="x")
    if within:
        with transaction.atomic():
            run("LOCK TABLES shop_tag WRITE")
            Tag.objects.create(name="y")
            assert locked_for_others(shop)
            assert Tag.objects.count() == 2
            assert locked_for_others(shop)
            run("UNLOCK TABLES")
            assert not locked_for_others(shop)
    else:
        run("LOCK TABLES shop_tag WRITE")
        with transaction.atomic():
            Tag.objects.create(name="y")
            assert locked_for_others(shop)
        assert locked_for_others(shop)
        Tag.objects.create(name="z")
        assert locked_for_others(shop)
        run("UNLOCK TABLES")
        assert not locked_for_others(shop)
    assert tags(shop) == ["x", "y"] if within else ["x", "y", "z"]


@pytest.mark.parametrize("within", [True, False])
def test_locks_that_are_lost_are_told(shop: Shop, within: bool) -> None:
    Tag.objects.create(name="x")
    if within:
        with pytest.raises((FailoverImpossible, CommitOutcomeUnknown)), transaction.atomic():
            run("LOCK TABLES shop_tag WRITE")
            Tag.objects.create(name="y")
            cut(shop.writing)
            Tag.objects.create(name="z")
    else:
        run("LOCK TABLES shop_tag WRITE")
        cut(shop.writing)
        with pytest.raises(FailoverImpossible, match="LOCK"):
            Tag.objects.create(name="z")
    Tag.objects.create(name="anew")
    assert tags(shop) == ["x", "anew"]


# --- implicit commits ---------------------------------------------------------------------


@pytest.fixture
def table(shop: Shop) -> Any:
    """The name of a table that is not there yet, and will not be there afterwards."""
    yield "shop_extra"
    shop.galera.heal()
    shop.galera["db1"].query("DROP TABLE IF EXISTS galera_router.shop_extra")


@losses
def test_what_ddl_has_committed_is_not_replayed(
    shop: Shop, table: str, lose: Callable[[GaleraNode], None]
) -> None:
    with transaction.atomic():
        Tag.objects.create(name="first")
        run(f"CREATE TABLE {table} (id INT)")
        Tag.objects.create(name="second")
        lose(shop.writing)
        Tag.objects.create(name="third")
    assert tags(shop) == ["first", "second", "third"]
    shop.everywhere(f"SELECT COUNT(*) FROM galera_router.{table}")


def test_what_came_before_ddl_stays_when_the_rest_is_undone(shop: Shop, table: str) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Tag.objects.create(name="first")
        run(f"CREATE TABLE {table} (id INT)")
        Tag.objects.create(name="second")
        cut(shop.writing)
        Tag.objects.create(name="third")
        raise ZeroDivisionError
    assert tags(shop) == ["first"]


@pytest.mark.parametrize("delivered", [True, False])
def test_the_answer_to_ddl_is_lost(shop: Shop, table: str, delivered: bool) -> None:
    """Whatever is told, nothing is there twice, and nothing told to be undone is there."""
    with shop.proxied() as proxies:
        Tag.objects.create(name="x")
        (proxies["db1"].swallow if delivered else proxies["db1"].drop)("CREATE TABLE", cut=True)
        errors = (FailoverImpossible, CommitOutcomeUnknown)
        with pytest.raises(errors) as caught, transaction.atomic():
            Tag.objects.create(name="first")
            run(f"CREATE TABLE {table} (id INT)")
            Tag.objects.create(name="second")
        assert tags(shop) == (["x", "first"] if delivered else ["x"])
        assert isinstance(caught.value, CommitOutcomeUnknown) == delivered
        Tag.objects.create(name="anew")


@pytest.mark.parametrize("pattern", ["^COMMIT", "second"])
@pytest.mark.parametrize("delivered", [True, False])
def test_an_answer_behind_ddl_is_lost(
    shop: Shop, table: str, pattern: str, delivered: bool
) -> None:
    with shop.proxied() as proxies:
        for n in range(5):
            Tag.objects.create(name=f"x{n}")
            fault = proxies["db1"].swallow if delivered else proxies["db1"].drop
            rule = fault(pattern, cut=True)
            with transaction.atomic():
                Tag.objects.create(name=f"first{n}")
                run(f"CREATE TABLE {table} (id INT)")
                Tag.objects.create(name=f"second{n}")
            assert rule.fired == 1
            run(f"DROP TABLE {table}")
    expected = [name for n in range(5) for name in (f"x{n}", f"first{n}", f"second{n}")]
    assert tags(shop) == expected


@pytest.mark.parametrize("delivered", [True, False])
def test_ddl_outside_a_transaction_is_in_doubt(shop: Shop, table: str, delivered: bool) -> None:
    with shop.proxied() as proxies:
        Tag.objects.create(name="x")
        (proxies["db1"].swallow if delivered else proxies["db1"].drop)("CREATE TABLE", cut=True)
        with pytest.raises(CommitOutcomeUnknown):
            run(f"CREATE TABLE {table} (id INT)")
        Tag.objects.create(name="anew")
        there = shop.galera["db1"].query(f"SHOW TABLES FROM galera_router LIKE '{table}'")
        assert bool(there) == delivered


def test_a_frozen_node_takes_its_state_with_it(shop: Shop) -> None:
    shop.stock()
    run("SET @shop = 1")
    shop.galera["db1"].freeze()
    with pytest.raises((FailoverImpossible, CommitOutcomeUnknown)):
        Tag.objects.create(name="x")
    Tag.objects.create(name="anew")
    assert shop.galera["db1"].frozen


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN NOT ATOMIC DO GET_LOCK('shop', 0); SIGNAL SQLSTATE '45000'; END",
        "SELECT GET_LOCK('shop', 0), (SELECT 1 UNION SELECT 2)",
        "DO GET_LOCK('shop', 0), EXTRACTVALUE('<', '/')",
    ],
)
def test_a_lock_of_what_has_failed_is_kept_and_missed(shop: Shop, sql: str, atomic: bool) -> None:
    shop.stock()
    with suppress(DatabaseError), transaction.atomic() if atomic else nullcontext():
        run(sql)
    assert shop.galera["db1"].query("SELECT IS_FREE_LOCK('shop')") == [(0,)]
    cut(shop.writing)
    with pytest.raises(FailoverImpossible, match=sql.split()[0]):
        Tag.objects.create(name="x")

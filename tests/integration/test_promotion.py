"""The first write moves the transaction to the primary, and what was read is checked there."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from galera_router import galera_atomic
from galera_router.exceptions import FailoverImpossible, ReadOnlyNode, ReplayMismatch
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author, Book, Tag


def sell_one(shop: Shop) -> None:
    shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = stock - 1")


def stock_everywhere(shop: Shop) -> int:
    rows = shop.everywhere("SELECT stock FROM galera_router.shop_book")
    assert len(rows) == 1
    return int(rows[0][0])


def test_a_changed_row_is_never_overwritten_in_a_block(shop: Shop) -> None:
    shop.stock()
    with pytest.raises(ReplayMismatch), transaction.atomic():
        book = Book.objects.get()
        sell_one(shop)
        book.stock -= 1
        book.save()
    assert stock_everywhere(shop) == 9
    with transaction.atomic():
        book = Book.objects.get()
        book.stock -= 1
        book.save()
    assert stock_everywhere(shop) == 8


def test_an_error_of_the_promotion_cannot_be_swallowed(shop: Shop) -> None:
    shop.stock()
    with pytest.raises(ReplayMismatch), transaction.atomic():
        Book.objects.get()
        sell_one(shop)
        for name in ("x", "y"):
            with contextlib.suppress(ReplayMismatch), connection.cursor() as cursor:
                cursor.execute("INSERT INTO shop_tag (name) VALUES (%s)", [name])
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(0,)]


def test_a_decorated_function_is_run_again(shop: Shop) -> None:
    shop.stock()
    seen: list[int] = []
    hooks: list[int] = []

    @galera_atomic
    def sell() -> None:
        book = Book.objects.get()
        seen.append(book.stock)
        transaction.on_commit(lambda: hooks.append(len(seen)))
        if len(seen) == 1:
            sell_one(shop)
        book.stock -= 1
        book.save()

    sell()
    assert seen == [10, 9]
    assert hooks == [2]
    assert stock_everywhere(shop) == 8


def test_the_attempts_are_bounded(shop: Shop) -> None:
    shop.stock()
    runs: list[int] = []

    @galera_atomic(attempts=1)
    def sell() -> None:
        runs.append(Book.objects.get().stock)
        sell_one(shop)
        Tag.objects.create(name="x")

    with pytest.raises(ReplayMismatch):
        sell()
    assert len(runs) == 1


def test_a_function_that_has_committed_something_is_not_run_again(shop: Shop) -> None:
    shop.stock()
    runs: list[int] = []

    @galera_atomic
    def sell() -> None:
        runs.append(1)
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS side (id INT PRIMARY KEY)")
        raise ReplayMismatch("as if")

    with pytest.raises(ReplayMismatch):
        sell()
    assert runs == [1]


def test_nested_functions_leave_the_repetition_to_the_outermost(shop: Shop) -> None:
    shop.stock()
    runs: list[str] = []

    @galera_atomic
    def inner() -> None:
        runs.append("inner")
        book = Book.objects.get()
        if len(runs) == 2:
            sell_one(shop)
        book.stock -= 1
        book.save()

    @galera_atomic
    def outer() -> None:
        runs.append("outer")
        inner()

    outer()
    assert runs == ["outer", "inner", "outer", "inner"]
    assert stock_everywhere(shop) == 8


def test_a_deadlock_runs_the_function_again(shop: Shop) -> None:
    shop.stock(2)
    first, second = Book.objects.order_by("pk")
    runs: list[int] = []

    @galera_atomic
    def change() -> None:
        runs.append(1)
        Book.objects.filter(pk=first.pk).update(stock=1)
        if len(runs) == 1:  # certification: the write of another node wins
            shop.galera["db2"].query(
                "UPDATE galera_router.shop_book SET stock = 5 WHERE id = %s", [first.pk]
            )
        Book.objects.filter(pk=second.pk).update(stock=2)

    change()
    assert runs == [1]  # it read nothing: its replay on the spot is exact
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book ORDER BY id") == [(1,), (2,)]


def test_a_deadlock_in_what_has_been_read_runs_the_function_again(shop: Shop) -> None:
    shop.stock(2)
    first, second = Book.objects.order_by("pk")
    runs: list[int] = []

    @galera_atomic
    def change() -> None:
        runs.append(1)
        stock = Book.objects.select_for_update().get(pk=first.pk).stock
        Book.objects.filter(pk=first.pk).update(stock=stock + 1)
        if len(runs) == 1:
            shop.galera["db2"].query(
                "UPDATE galera_router.shop_book SET stock = 50 WHERE id = %s", [first.pk]
            )
        Book.objects.filter(pk=second.pk).update(stock=2)

    change()
    assert runs == [1, 1]
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book ORDER BY id") == [(51,), (2,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM shop_book FOR UPDATE",
        "select id from shop_book for update nowait",
        "SELECT id FROM shop_book FOR UPDATE SKIP LOCKED",
        "SELECT id FROM shop_book\n FOR /* now */ \n UPDATE",
        "SELECT id FROM shop_book LOCK IN SHARE MODE",
        "  /* hello */ (SELECT id FROM shop_book lock in share mode)",
    ],
)
def test_locking_reads_lock_on_the_primary(shop: Shop, sql: str) -> None:
    shop.stock()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
        assert len(cursor.fetchall()) == 1
        assert shop.session.transaction_begun
        rows = shop.galera["db1"].query(
            "SELECT trx_rows_locked FROM information_schema.innodb_trx WHERE trx_rows_locked > 0"
        )
        assert rows, "nothing is locked on the primary"


HIDDEN = [
    "SELECT shop_log('x')",
    "select shop_log('x')",
    "  /* a comment */ SELECT shop_log('x')",
    "(SELECT shop_log('x'))",
    "WITH c AS (SELECT shop_log('x') AS v) SELECT v FROM c",
    "VALUES (shop_log('x'))",
    "CALL shop_logs()",
    "SELECT 1; INSERT INTO shop_tag (name) VALUES ('x')",
    "INSERT INTO shop_tag (name) SELECT 'x' FROM DUAL",
]


@pytest.fixture
def routines(shop: Shop) -> Any:
    node = shop.galera["db1"]
    node.query(
        "CREATE OR REPLACE FUNCTION galera_router.shop_log(v TEXT) RETURNS INT BEGIN"
        " INSERT INTO galera_router.shop_tag (name) VALUES (v); RETURN 1; END"
    )
    node.query(
        "CREATE OR REPLACE PROCEDURE galera_router.shop_logs()"
        " INSERT INTO galera_router.shop_tag (name) VALUES ('x')"
    )
    node.query("CREATE SEQUENCE IF NOT EXISTS galera_router.shop_sequence NOCACHE")
    shop.settle()
    return node


@pytest.mark.parametrize("sql", HIDDEN)
def test_hidden_writes_are_undone_by_a_rollback(shop: Shop, routines: Any, sql: str) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Tag.objects.count()
            with connection.cursor() as cursor:
                cursor.execute(sql)
                while cursor.nextset():
                    pass
            assert Tag.objects.count() == 1
            raise ZeroDivisionError
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(0,)]


@pytest.mark.parametrize("sql", HIDDEN)
def test_hidden_writes_outside_a_transaction_happen_once(
    shop: Shop, routines: Any, sql: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        while cursor.nextset():
            pass
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(1,)]


def test_a_hidden_write_through_the_orm_runs_on_the_primary(shop: Shop, routines: Any) -> None:
    shop.stock()
    rows = list(Author.objects.raw("SELECT a.*, shop_log('x') AS logged FROM shop_author a"))
    assert len(rows) == 1
    with transaction.atomic():
        list(Author.objects.raw("SELECT a.*, shop_log('y') AS logged FROM shop_author a"))
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag ORDER BY id") == [
        ("x",),
        ("y",),
    ]


def test_sequences_advance_on_the_primary(shop: Shop, routines: Any) -> None:
    values = []
    for _ in range(3):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT NEXTVAL(shop_sequence)")
            values.append(cursor.fetchone()[0])
    assert len(set(values)) == 3


def test_session_functions_speak_to_the_connection_that_wrote(shop: Shop) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET @shop := 5")
        cursor.execute("SELECT @shop")
        assert cursor.fetchone() == (5,)
        cursor.execute("INSERT INTO shop_tag (name) VALUES ('x')")
        key = cursor.lastrowid
        cursor.execute("SELECT LAST_INSERT_ID()")
        assert cursor.fetchone() == (key,)
        cursor.execute("SELECT GET_LOCK('shop', 1)")
        assert cursor.fetchone() == (1,)
        assert elsewhere(_lock_is_free) == 0
        cursor.execute("SELECT RELEASE_LOCK('shop')")


def _lock_is_free() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT IS_FREE_LOCK('shop')")
        return cursor.fetchone()[0]


def test_show_and_explain_work(shop: Shop) -> None:
    shop.stock()
    assert "shop_book" in connection.introspection.table_names()
    assert Book.objects.explain()
    with transaction.atomic():
        assert Book.objects.explain()
        assert "shop_book" in connection.introspection.table_names()


def test_ddl_commits_what_came_before_as_on_one_server(shop: Shop) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic(), connection.cursor() as cursor:
        Tag.objects.create(name="before")
        cursor.execute("CREATE OR REPLACE TABLE side (id INT PRIMARY KEY)")
        Tag.objects.create(name="after")
        raise ZeroDivisionError
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == [("before",)]


def test_only_what_follows_ddl_is_replayed(shop: Shop) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        Tag.objects.create(name="before")
        cursor.execute("CREATE OR REPLACE TABLE side (id INT PRIMARY KEY)")
        Tag.objects.create(name="after")
        shop.writing.kill()
        Tag.objects.create(name="later")
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag ORDER BY id") == [
        ("before",), ("after",), ("later",),
    ]  # fmt: skip


def test_a_node_alias_is_read_only(shop: Shop) -> None:
    with pytest.raises(ReadOnlyNode, match="'default'"):
        Tag.objects.using("default_db2").create(name="x")
    with pytest.raises(ReadOnlyNode), connections["default_db3"].cursor() as cursor:
        cursor.execute("CREATE TABLE nonsense (id INT)")
    assert Tag.objects.using("default_db2").count() == 0
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(0,)]


def test_a_node_alias_reads_that_node(shop: Shop) -> None:
    with shop.traffic() as sent:
        for name in ("db1", "db2", "db3"):
            assert Tag.objects.using(f"default_{name}").count() == 0
    assert all(any("shop_tag" in sql for sql in log) for log in sent.values())


def test_what_a_savepoint_undid_is_on_no_node(shop: Shop) -> None:
    """MariaDB replicates it from a connection that has only read; see ``links.PRIME``."""
    for n in range(3):
        shop.configure()
        with transaction.atomic():
            assert Tag.objects.select_for_update().count() == n
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                Tag.objects.create(name="undone")
                raise ZeroDivisionError
            Tag.objects.create(name="kept")
        shop.forget()
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == [("kept",)] * 3


def test_an_older_savepoint_of_the_same_name_is_gone(shop: Shop) -> None:
    """As on a server, also if no server has been told of them before the first write."""
    shop.stock()
    shop.warm()

    def raw(*statements: str) -> None:
        with connection.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)

    with transaction.atomic():
        raw("SAVEPOINT a", "SELECT stock FROM shop_book", "SAVEPOINT a", "RELEASE SAVEPOINT a")
        Tag.objects.create(name="kept")
        with pytest.raises(OperationalError, match="1305"):
            raw("ROLLBACK TO SAVEPOINT a")
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == [("kept",)]


def conflict(shop: Shop, stock: int) -> None:
    """What another node commits wins against what is open on the primary."""
    shop.galera["db2"].query("UPDATE galera_router.shop_book SET stock = %s", [stock])
    shop.galera["db1"].query("SET STATEMENT wsrep_dirty_reads=0, wsrep_sync_wait=1 FOR SELECT 1")


def test_a_conflict_noticed_at_a_savepoint_is_replayed(shop: Shop) -> None:
    shop.stock()
    with transaction.atomic():
        Tag.objects.create(name="kept")
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            Book.objects.update(stock=1)
            conflict(shop, 5)
            raise ZeroDivisionError
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == [("kept",)]
    assert stock_everywhere(shop) == 5


@pytest.mark.parametrize("more", [False, True])
def test_a_conflict_that_django_swallows_is_raised_in_the_end(shop: Shop, more: bool) -> None:
    shop.stock()

    def change() -> None:
        book = Book.objects.select_for_update().get()
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            Book.objects.update(stock=book.stock + 1)
            if book.stock == 10:
                conflict(shop, 5)
            raise ZeroDivisionError
        if more:
            Book.objects.update(stock=book.stock + 1)

    with pytest.raises(OperationalError, match="1213"), transaction.atomic():
        change()
    assert connection.get_autocommit()
    assert stock_everywhere(shop) == 5
    shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 10")
    galera_atomic(change)()
    assert stock_everywhere(shop) == (6 if more else 5)


def test_the_snapshot_ends_with_the_promotion(shop: Shop) -> None:
    shop.stock()
    with transaction.atomic():
        Author.objects.count()
        node = shop.reading
        Tag.objects.create(name="x")
        assert shop.session.snapshot is None
        shop.drain()
        assert node.query("SELECT COUNT(*) FROM information_schema.innodb_trx") == [(0,)]


def test_a_transaction_with_a_procedure_is_not_replayed(shop: Shop, routines: Any) -> None:
    with pytest.raises(FailoverImpossible, match="procedure"), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.callproc("shop_logs")
        shop.writing.kill_connections()
        Tag.objects.create(name="y")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(0,)]

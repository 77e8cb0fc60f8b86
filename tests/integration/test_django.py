"""Django as its documentation has it: objects, raw cursors, hooks, threads, commands, admin."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any, cast

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    connection,
    connections,
    reset_queries,
    router,
    transaction,
)
from django.db.models import Count, F, Prefetch
from django.db.transaction import TransactionManagementError
from django.test import Client
from django.test.utils import CaptureQueriesContext

from galera_router.exceptions import CommitOutcomeUnknown
from galera_router.transactions.session import PinnedAlias
from tests.integration.support import Shop, elsewhere
from tests.integration.test_conflicts import HUNDRED, insist
from tests.shop.models import Author, Book, Tag


def test_objects_from_a_secondary_are_of_the_one_database(shop: Shop) -> None:
    shop.stock()
    with shop.traffic() as sent:
        book = Book.objects.get()
        author = Author.objects.get()
    assert not any("shop_" in sql for sql in sent["db1"])
    assert book._state.db == author._state.db == "default"
    book.author = author
    book.save()
    book.tags.add(Tag.objects.create(name="new"))
    author.books.add(book)
    author.books.create(title="second")
    assert book == Book.objects.using("default").get(pk=book.pk)
    book.refresh_from_db()
    assert book._state.db == "default"
    author.delete()
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_book") == [(0,)]


def test_a_deferred_object_saves_only_what_it_has_loaded(shop: Shop) -> None:
    shop.stock()
    shop.warm()
    book = Book.objects.only("stock").get()
    shop.galera["db1"].query("UPDATE galera_router.shop_book SET title = 'changed elsewhere'")
    book.stock = 3
    book.save()
    assert shop.everywhere("SELECT title, stock FROM galera_router.shop_book") == [
        ("changed elsewhere", 3)
    ]


def test_relations_prefetch_and_subqueries(shop: Shop) -> None:
    shop.stock(3)
    tag = Tag.objects.create(name="t")
    for book in Book.objects.all():
        book.tags.add(tag)
    for _ in range(2):
        with transaction.atomic():
            author = Author.objects.prefetch_related(
                Prefetch("books", Book.objects.prefetch_related("tags"))
            ).get()
            assert {t.name for b in author.books.all() for t in b.tags.all()} == {"t"}
            assert Book.objects.filter(author__in=Author.objects.filter(name="Ann")).count() == 3
            assert Author.objects.annotate(n=Count("books")).get().n == 3
            assert Book.objects.select_related("author").first().author == author  # type: ignore[union-attr]
            author.books.update(stock=F("stock") + 1)
    assert shop.everywhere("SELECT DISTINCT stock FROM galera_router.shop_book") == [(12,)]


def test_get_or_create_and_update_or_create(shop: Shop) -> None:
    author, _ = Author.objects.get_or_create(name="Ann")
    assert Author.objects.get_or_create(name="Ann") == (author, False)
    assert Author.objects.update_or_create(name="Ann", defaults={"name": "Ann"}) == (author, False)
    with transaction.atomic():
        same, created = Author.objects.get_or_create(name="Ann")
    assert (same.pk, created) == (author.pk, False)


def test_raw_cursors(shop: Shop) -> None:
    shop.stock(5)
    for within in (True, False):
        connection.close()
        with transaction.atomic() if within else connection.execute_wrapper(_pass):  # noqa: SIM117
            with connection.cursor() as one, connection.cursor() as two:
                one.execute("SELECT title FROM shop_book ORDER BY id")
                assert one.fetchone() == ("t0",)
                two.execute("SELECT stock FROM shop_book WHERE stock = %(n)s", {"n": 10})
                assert one.fetchmany(2) == (("t1",), ("t2",))
                assert two.rowcount == 5
                assert [row[0] for row in one] == ["t3", "t4"]
                assert len(two.fetchall()) == 5
                assert one.description[0][0] == "title"
                two.executemany("INSERT INTO shop_tag (name) VALUES (%s)", [("a",), ("b",), ("c",)])
                assert two.rowcount == 3
                one.execute("SELECT COUNT(*) FROM shop_tag")
                assert one.fetchone() == (3,)
                keys: Any = ([name] for name in "abc")
                two.executemany("DELETE FROM shop_tag WHERE name = %s", keys)
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(0,)]


def _pass(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
    return execute(sql, params, many, context)


def test_callproc(shop: Shop) -> None:
    shop.galera["db1"].query(
        "CREATE OR REPLACE PROCEDURE galera_router.shop_add(IN v TEXT)"
        " BEGIN INSERT INTO galera_router.shop_tag (name) VALUES (v);"
        " SELECT COUNT(*) FROM galera_router.shop_tag; END"
    )
    for expected in (1, 2):
        with connection.cursor() as cursor:
            cursor.callproc("shop_add", ["x"])
            assert cursor.fetchone() == (expected,)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Tag.objects.count()
        with connection.cursor() as cursor:
            cursor.callproc("shop_add", ["x"])
            assert cursor.fetchall() == ((3,),)
        Tag.objects.create(name="y")
        raise ZeroDivisionError
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(2,)]


def test_a_closed_or_unused_cursor_errs_as_in_stock_django(shop: Shop) -> None:
    cursor = connection.cursor()
    with pytest.raises(Exception, match="execute"):
        cursor.fetchone()
    cursor.close()
    with pytest.raises(Exception, match="closed"):
        cursor.execute("SELECT 1")


def test_user_execute_wrappers_see_the_statements_as_written(shop: Shop) -> None:
    seen: list[str] = []
    shop.warm()

    def wrapper(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM shop_tag")
        cursor.execute("INSERT INTO shop_tag (name) VALUES ('x')")
    assert seen == ["SELECT 1 FROM shop_tag", "INSERT INTO shop_tag (name) VALUES ('x')"]


def test_user_execute_wrappers_see_what_the_router_sends_to_a_node(shop: Shop) -> None:
    """They are installed on the cluster's alias, by code that knows of no other."""
    seen: list[str] = []
    shop.warm()

    def wrapper(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        seen.append(sql.split()[0])
        return execute(f"{sql} /* seen */", params, many, context)

    with shop.traffic() as sent, connection.execute_wrapper(wrapper):
        Author.objects.count()
        with transaction.atomic():
            Author.objects.count()
    assert seen == ["SELECT", "SELECT"]
    assert sum("/* seen */" in sql for log in (sent["db2"], sent["db3"]) for sql in log) == 2


def test_queries_of_the_router_are_captured_on_the_clusters_alias(shop: Shop) -> None:
    """As ``assertNumQueries`` does it; those of a node's alias can be captured by themselves."""
    for warm in (False, True):
        if warm:
            shop.warm()
        with CaptureQueriesContext(connection) as captured:
            Author.objects.count()
            with transaction.atomic():
                list(Author.objects.filter(name="Ann"))
                Author.objects.create(name=f"Ann {warm}")
            connection.close()
        shown = [query["sql"] for query in captured]
        assert [sql.split()[0] for sql in shown] == [
            "SELECT",
            "BEGIN",
            "SELECT",
            "INSERT",
            "COMMIT",
        ]
        assert shown[2].endswith("`name` = 'Ann'")
    shop.forget()
    node = cast(PinnedAlias, router.db_for_read(Author)).node
    assert node in {"default_db2", "default_db3"}
    with CaptureQueriesContext(connections[node]) as of_the_node:
        Author.objects.count()
    assert not of_the_node.captured_queries


def test_a_read_in_a_thread_that_may_not_use_the_connection(shop: Shop) -> None:
    def read(wrapper: Any) -> Any:
        connections["default"] = wrapper
        try:
            return Author.objects.count()
        finally:
            del connections["default"]

    wrapper = connections["default"]
    with pytest.raises(DatabaseError, match="thread"):
        elsewhere(lambda: read(wrapper))
    wrapper.inc_thread_sharing()
    try:
        assert elsewhere(lambda: read(wrapper)) == 0
    finally:
        wrapper.dec_thread_sharing()


def test_errors_are_those_of_stock_django(shop: Shop) -> None:
    shop.stock()
    with pytest.raises(IntegrityError):
        Author.objects.create(name="Ann")
    with pytest.raises(TransactionManagementError), transaction.atomic():
        with pytest.raises(IntegrityError):
            Author(name="Ann").save()
        Author.objects.count()
    with transaction.atomic():
        with pytest.raises(IntegrityError), transaction.atomic():
            Author.objects.create(name="Ann")
        Author.objects.create(name="Bea")
    nested = pytest.raises(RuntimeError, match="durable")
    with nested, transaction.atomic(), transaction.atomic(durable=True):
        pass
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


def test_manual_transaction_management(shop: Shop) -> None:
    transaction.set_autocommit(False)
    try:
        Tag.objects.count()
        Tag.objects.create(name="kept")
        transaction.commit()
        Tag.objects.create(name="undone")
        transaction.rollback()
        savepoint = transaction.savepoint()
        Tag.objects.create(name="undone too")
        transaction.savepoint_rollback(savepoint)
        Tag.objects.create(name="also kept")
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag ORDER BY id") == [
        ("kept",), ("also kept",),
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["unknown", "conflict"])
def test_work_that_is_done_again_behind_a_commit_that_failed_is_there_once(
    shop: Shop, how: str
) -> None:
    """Without autocommit what follows it is another transaction, as with stock Django."""
    shop.stock()
    with shop.proxied(OPTIONS={"commit_marker": False, "conflict_retries": 0}) as proxies:
        transaction.set_autocommit(False)
        try:
            Book.objects.update(stock=1)
            Tag.objects.create(name="work")
            if how == "unknown":
                proxies["db1"].swallow("^COMMIT", cut=True)
                with pytest.raises(CommitOutcomeUnknown):
                    transaction.commit()
            else:
                insist(shop.galera["db2"], HUNDRED)
                with pytest.raises(OperationalError):
                    transaction.commit()
            there = Tag.objects.count()
            assert there == (1 if how == "unknown" else 0)
            if not there:
                Tag.objects.create(name="work")
            transaction.commit()
        finally:
            transaction.set_autocommit(True)
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == [("work",)]


def test_closing_the_connection_inside_a_block(shop: Shop) -> None:
    with pytest.raises(Exception, match="atomic"), transaction.atomic():
        Tag.objects.create(name="x")
        connection.close()
        Tag.objects.count()
    Tag.objects.create(name="y")
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == [("y",)]


def test_a_connection_that_was_closed_is_not_usable(shop: Shop) -> None:
    """As far as ``is_usable`` can tell before it is opened again."""
    connection.ensure_connection()
    assert connection.is_usable()
    connection._close()  # type: ignore[attr-defined]
    assert not connection.is_usable()
    connection.close()
    assert Author.objects.using("default").count() == 0
    assert connection.is_usable()


def test_the_set_up_of_a_lazy_connection_is_not_among_the_queries(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With DEBUG everything is noted; Django connects before the first query of the application."""
    monkeypatch.setattr(settings, "DEBUG", True)
    reset_queries()
    connections.close_all()
    Author.objects.count()
    Author.objects.using("default").count()
    shown = [query["sql"] for wrapper in connections.all() for query in wrapper.queries]
    assert [sql.split()[0] for sql in shown] == ["SELECT", "SELECT"]


def test_two_threads_of_mixed_transactions(shop: Shop) -> None:
    shop.stock(4)
    keys = list(Book.objects.values_list("pk", flat=True))
    from galera_router import galera_atomic

    def work(seed: int) -> dict[int, int]:
        rng = random.Random(seed)
        done = dict.fromkeys(keys, 0)

        @galera_atomic(attempts=20)
        def step(key: int, how: int) -> int:
            if how == 0:
                list(Book.objects.order_by("pk"))
                return 0
            if how == 1:
                Book.objects.filter(pk=key).update(stock=F("stock") + 1)
                return 1
            book = Book.objects.select_for_update().get(pk=key)
            book.stock += 1
            book.save()
            Tag.objects.create(name=f"{seed}")
            return 1

        for _ in range(100):
            key = rng.choice(keys)
            done[key] += step(key, rng.randrange(3))
        return done

    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda seed: elsewhere(lambda: work(seed)), (1, 2)))
    expected = [(10 + sum(result[key] for result in results),) for key in keys]
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book ORDER BY id") == expected


def test_commands(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("check")
    out = io.StringIO()
    call_command("migrate", database="default_db2", stdout=out)
    assert "No migrations to apply" in out.getvalue()
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "secret")
    call_command(
        "createsuperuser", interactive=False, username="root", email="r@example.com", verbosity=0
    )
    shop.stock(2)
    dump = tmp_path / "dump.json"
    call_command("dumpdata", "shop", "auth.user", output=str(dump))
    assert len(json.loads(dump.read_text())) == 4
    shop.empty()
    call_command("loaddata", str(dump), verbosity=0)
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_book") == [(2,)]
    assert User.objects.get().check_password("secret")


def test_the_admin_adds_changes_and_deletes(shop: Shop) -> None:
    shop.configure(ATOMIC_REQUESTS=True)
    User.objects.create_superuser("root", password="secret")
    shop.settle()
    client = Client()
    assert (
        client.post("/admin/login/", {"username": "root", "password": "secret"}).status_code == 302
    )
    shop.settle()
    assert client.post("/admin/shop/author/add/", {"name": "Ann"}).status_code == 302
    shop.settle()
    author = Author.objects.get()
    url = f"/admin/shop/author/{author.pk}/"
    assert b"Ann" in client.get(f"{url}change/").content
    assert client.post(f"{url}change/", {"name": "Bea"}).status_code == 302
    shop.settle()
    assert b"Bea" in client.get("/admin/shop/author/").content
    assert client.post(f"{url}delete/", {"post": "yes"}).status_code == 302
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(0,)]


def test_options_of_the_user_on_the_connection(shop: Shop) -> None:
    shop.configure(OPTIONS={"init_command": "SET SESSION sort_buffer_size = 524288"})
    for alias in ("default", "default_db2"):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT @@sort_buffer_size, @@tx_isolation, @@tx_read_only")
            size, isolation, read_only = cursor.fetchone()
        assert size == 524288
        assert (isolation, read_only) == (
            ("READ-COMMITTED", 0) if alias == "default" else ("REPEATABLE-READ", 1)
        )


def test_a_wrong_password_on_every_node_is_told_at_once(shop: Shop) -> None:
    shop.configure(PASSWORD="wrong")
    with pytest.raises(OperationalError, match=r"db1: .*1045"):
        Tag.objects.create(name="x")

"""The alias that Django names for a read is the cluster's, and so there is one database.

``tests/faults/test_s02_aliases.py`` has the transaction that is opened on such an alias with
``using=``. Here are its other side, what code does that opens the transaction on it and then
names no alias, and what else is kept, compared, packed or asked by alias.
"""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, router, transaction
from django.db.models import QuerySet
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from tests.integration.support import Shop
from tests.shop.models import Author, Book, Tag


@pytest.fixture
def author(shop: Shop) -> Author:
    """An author with a book, read by a thread that has not written."""
    shop.stock()
    return Author.objects.get()


@pytest.fixture
def alias(author: Author) -> str:
    """What a package finds when it asks where to go."""
    return Author.objects.all().db


def names(shop: Shop) -> list[str]:
    rows = shop.everywhere("SELECT name FROM galera_router.shop_author ORDER BY id")
    return [name for (name,) in rows]


def rename(author: Author) -> None:
    author.name = "Bob"
    author.save()


# --- a transaction on it, and Django's functions without an alias -----------------------------


def test_the_connection_is_in_the_transaction(shop: Shop, alias: str) -> None:
    with transaction.atomic(using=alias):
        assert connection.in_atomic_block
        assert not transaction.get_autocommit()
    assert transaction.get_autocommit()


def test_an_error_of_the_database_leaves_nothing(shop: Shop, author: Author, alias: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic(using=alias):
        rename(author)
        Author.objects.create(name="Bob")
    assert names(shop) == ["Ann"]


def test_an_inner_block_is_undone_alone(shop: Shop, author: Author, alias: str) -> None:
    with transaction.atomic():
        Author.objects.create(name="Cleo")
        with pytest.raises(ValueError, match="undo"), transaction.atomic(using=alias):
            rename(author)
            raise ValueError("undo")
    assert names(shop) == ["Ann", "Cleo"]


def test_an_inner_block_without_an_alias_is_undone_alone(
    shop: Shop, author: Author, alias: str
) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias):
        Author.objects.create(name="Cleo")
        with pytest.raises(ValueError, match="undo"), transaction.atomic():
            rename(author)
            raise ValueError("undo")
        assert Author.objects.filter(name="Cleo").exists()
        raise ZeroDivisionError
    assert names(shop) == ["Ann"]


def test_a_hook_waits_for_its_commit(shop: Shop, author: Author, alias: str) -> None:
    ran: list[str] = []
    with transaction.atomic(using=alias):
        rename(author)
        transaction.on_commit(lambda: ran.append("hook"))
        assert ran == []
    assert ran == ["hook"]


def test_a_durable_block_inside_it_is_refused(shop: Shop, alias: str) -> None:
    with (
        transaction.atomic(using=alias),
        pytest.raises(RuntimeError, match="durable"),
        transaction.atomic(durable=True),
    ):
        pass


def test_set_rollback_undoes_it(shop: Shop, author: Author, alias: str) -> None:
    with transaction.atomic(using=alias):
        rename(author)
        transaction.set_rollback(True)
        assert transaction.get_rollback(using=alias)
    assert names(shop) == ["Ann"]


def test_a_savepoint_is_one_of_it(shop: Shop, author: Author, alias: str) -> None:
    with transaction.atomic(using=alias):
        savepoint = transaction.savepoint()
        assert savepoint is not None
        rename(author)
        transaction.savepoint_rollback(savepoint)
    assert names(shop) == ["Ann"]


def test_a_row_is_locked_in_it(shop: Shop, author: Author, alias: str) -> None:
    with transaction.atomic(using=alias):
        rename(Author.objects.select_for_update().get())
    assert names(shop) == ["Bob"]


@pytest.mark.parametrize("end", [transaction.rollback, transaction.commit])
def test_a_transaction_by_hand(
    shop: Shop, author: Author, alias: str, end: Callable[..., None]
) -> None:
    transaction.set_autocommit(False, using=alias)
    try:
        rename(author)
        assert not connection.get_autocommit()
    finally:
        end(using=alias)
        transaction.set_autocommit(True, using=alias)
    assert names(shop) == ["Ann" if end is transaction.rollback else "Bob"]


def test_the_alias_of_an_instance_names_the_transaction(shop: Shop, author: Author) -> None:
    """So it was before, because an instance says the cluster's alias."""
    with pytest.raises(ValueError, match="undo"), transaction.atomic(using=author._state.db):
        assert connection.in_atomic_block
        rename(author)
        raise ValueError("undo")
    assert names(shop) == ["Ann"]


# --- kept from before an own write ------------------------------------------------------------


def _held(shop: Shop) -> ExitStack:
    """No secondary gets what is written."""
    with ExitStack() as stack:
        for name in ("db2", "db3"):
            stack.enter_context(shop.galera[name].hold_applier())
        return stack.pop_all()


def _found(cursor: Any) -> list[str]:
    cursor.execute("SELECT name FROM shop_author")
    return [name for (name,) in cursor.fetchall()]


@pytest.mark.parametrize("named", [False, True])
def test_a_cursor_sees_the_write(shop: Shop, author: Author, alias: str, named: bool) -> None:
    wrapper = connections[alias] if named else connection
    with _held(shop), transaction.atomic(), wrapper.cursor() as cursor:
        assert _found(cursor) == ["Ann"]
        rename(author)
        assert _found(cursor) == ["Bob"]


def test_a_queryset_that_names_it_sees_the_write(shop: Shop, author: Author, alias: str) -> None:
    books = Book.objects.using(alias).select_related("author")
    authors = Author.objects.using(alias)
    with _held(shop), transaction.atomic():
        assert authors.count() == books.count() == 1
        rename(author)
        assert books.get().author.name == authors.all().get().name == "Bob"


def test_an_instance_is_refreshed_with_the_write(shop: Shop, author: Author, alias: str) -> None:
    other = Author.objects.get()
    with _held(shop), transaction.atomic():
        rename(author)
        other.refresh_from_db(using=alias)
        assert other.name == "Bob"


def test_a_relation_of_an_instance_sees_the_write(shop: Shop, author: Author) -> None:
    books = author.books.all()
    with _held(shop), transaction.atomic():
        assert books.count() == 1
        Book.objects.create(author=author, title="new")
        assert books.all().count() == author.books.count() == 2


# --- written to -------------------------------------------------------------------------------

WRITES: dict[str, Callable[[str, Author], Any]] = {
    "create": lambda alias, author: Author.objects.using(alias).create(name="Bob"),
    "bulk_create": lambda alias, author: Author.objects.using(alias).bulk_create(
        [Author(name="Bob")]
    ),
    "get_or_create": lambda alias, author: Author.objects.using(alias).get_or_create(name="Bob"),
    "update": lambda alias, author: Author.objects.using(alias).update(name="Bob"),
    "delete": lambda alias, author: Author.objects.using(alias).all().delete(),
    "instance": lambda alias, author: author.delete(using=alias),
    "related": lambda alias, author: author.books.using(alias).update(stock=3),
    "manager": lambda alias, author: Author.objects.db_manager(alias).create(name="Bob"),
    "many to many": lambda alias, author: _tag(Book.objects.using(alias).get()),
}


def _tag(book: Book) -> None:
    with transaction.atomic():
        book.tags.add(Tag.objects.create(name="new"))


@pytest.mark.parametrize(
    "write",
    [pytest.param(write, id=name) for name, write in WRITES.items()],
)
def test_a_write_that_names_it_is_one_of_the_cluster(
    shop: Shop, author: Author, alias: str, write: Callable[[str, Author], Any]
) -> None:
    tables = ("author", "book", "book_tags")
    before = [shop.everywhere(f"SELECT * FROM galera_router.shop_{table}") for table in tables]
    write(alias, author)
    after = [shop.everywhere(f"SELECT * FROM galera_router.shop_{table}") for table in tables]
    assert after != before


def test_a_raw_write_that_names_it(shop: Shop, author: Author, alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("UPDATE shop_author SET name = 'Bob'")
    assert names(shop) == ["Bob"]


def test_the_signal_of_a_write_names_the_cluster(shop: Shop, author: Author, alias: str) -> None:
    told: list[str] = []

    def note(using: str, **rest: Any) -> None:
        told.append(using)

    post_save.connect(note, sender=Author)
    try:
        rename(author)
        author.save(using=alias)
    finally:
        post_save.disconnect(note, sender=Author)
    assert told == ["default", "default"]


# --- joined with the other name ---------------------------------------------------------------


@pytest.mark.parametrize("naming", ["manager", "filtered", "router"])
def test_a_subquery_that_names_it(shop: Shop, author: Author, naming: str) -> None:
    """In a query that names the cluster; the other way round is fault E7."""
    alias = {
        "manager": Author.objects.db,
        "filtered": Author.objects.filter(name="Ann").db,
        "router": router.db_for_read(Author),
    }[naming]
    anns = Author.objects.using(alias).filter(name="Ann")
    books = Book.objects.using("default")
    assert books.filter(author__in=anns).count() == 1
    assert books.exclude(author__in=anns.values("pk")).count() == 0


LOADS: dict[str, Callable[[str], Author]] = {
    "using": lambda alias: Author.objects.using(alias).get(),
    "raw": lambda alias: Author.objects.raw("SELECT * FROM shop_author")[0],
    "raw, using": lambda alias: Author.objects.raw("SELECT * FROM shop_author", using=alias)[0],
    "related": lambda alias: Book.objects.using(alias).get().author,
    "select_related": lambda alias: Book.objects.select_related("author").using(alias).get().author,
    "prefetch": lambda alias: Book.objects.prefetch_related("author").using(alias).get().author,
    "in_bulk": lambda alias: next(iter(Author.objects.using(alias).in_bulk().values())),
    "iterator": lambda alias: next(Author.objects.using(alias).iterator()),
    "deferred": lambda alias: Author.objects.using(alias).only("pk").get(),
    "union": lambda alias: Author.objects.using(alias).union(Author.objects.all())[0],
    "copied": lambda alias: copy.deepcopy(Author.objects.using(alias).get()),
}


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_an_instance_is_of_the_cluster(
    shop: Shop, author: Author, alias: str, load: Callable[[str], Author]
) -> None:
    """It is saved, and put into relations, without another word."""
    found = load(alias)
    assert found._state.db == "default"
    assert router.allow_relation(found, author)
    found.name = "Bob"
    found.save()
    Book.objects.update(author=found)
    assert names(shop) == ["Bob"]


# --- as a word --------------------------------------------------------------------------------


def test_it_is_the_clusters_alias(shop: Shop, alias: str) -> None:
    """To whoever compares it, keeps by it, or prints it."""
    assert alias == "default"
    assert alias in {"default"}
    assert {alias: 1}["default"] == 1
    assert f"{alias} {alias:s}" == str(alias) + " default" == "default default"
    assert json.dumps({alias: alias}) == '{"default": "default"}'
    assert connections[alias] is connections["default"]
    assert list(connections).count(alias) == 1


def test_it_is_so_in_every_phase_of_a_transaction(shop: Shop, author: Author) -> None:
    found = [Author.objects.all().db]
    with transaction.atomic():
        found.append(Author.objects.all().db)
        Author.objects.count()
        found.append(Author.objects.all().db)
        rename(author)
        found.append(Author.objects.all().db)
    found.append(Author.objects.all().db)
    assert found == ["default"] * 5


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_packed_as_a_plain_string(shop: Shop, alias: str, protocol: int) -> None:
    """For a process that does not have this package, or other nodes."""
    for packed in (alias, {"using": alias}["using"], copy.deepcopy(alias)):
        data = pickle.dumps(packed, protocol)
        assert b"galera_router" not in data
        assert type(pickle.loads(data)) is str
        assert pickle.loads(data) == "default"


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_an_instance_is_packed_with_a_plain_string(
    shop: Shop, author: Author, alias: str, load: Callable[[str], Author]
) -> None:
    """As in a cache."""
    data = pickle.dumps(load(alias))
    assert b"galera_router" not in data
    unpacked = pickle.loads(data)
    assert type(unpacked._state.db) is str
    assert unpacked._state.db == "default"


@pytest.mark.parametrize("named", [False, True])
def test_a_queryset_is_packed_with_a_plain_string(
    shop: Shop, author: Author, alias: str, named: bool
) -> None:
    books: QuerySet[Book] = Book.objects.using(alias) if named else Book.objects.all()
    data = pickle.dumps(books.select_related("author"))
    assert b"galera_router" not in data
    assert b"default_db" not in data
    assert pickle.loads(data).get().author == author


# --- what watches a connection ----------------------------------------------------------------


def test_reads_and_writes_are_captured_together(shop: Shop, author: Author, alias: str) -> None:
    with CaptureQueriesContext(connections[alias]) as queries:
        Author.objects.get()
        author.save()
        Author.objects.get()
    words = [query["sql"].split()[0] for query in queries]
    assert words == ["SELECT", "UPDATE", "SELECT"]


def test_a_wrapper_sees_reads_and_writes(shop: Shop, author: Author, alias: str) -> None:
    seen: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        seen.append(sql.split()[0])
        return execute(sql, *rest)

    with connections[alias].execute_wrapper(note), transaction.atomic():
        Author.objects.get()
        author.save()
        Author.objects.get()
    assert seen == ["SELECT", "UPDATE", "SELECT"]

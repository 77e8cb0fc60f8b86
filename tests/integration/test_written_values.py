"""Values are written into a statement for one node; a node of another kind is sent none of it.

How they are written depends on the character set and on NO_BACKSLASH_ESCAPES. Where nodes differ in
that, a value would be another one on the next node, or be read as SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.backends.signals import connection_created

from galera_router import expand
from galera_router.connections.connection import NodeConnection
from galera_router.exceptions import FailoverImpossible
from tests.integration.support import OPTIMISTIC, Shop, use_databases
from tests.shop.models import Author, Book, Tag

NAME = "a\\b"
#: Written without backslashes and read with them it ends early, and what follows is SQL.
EVIL = "\\' OR 1=1 -- "
STACKED = "\\'; DELETE FROM shop_book; COMMIT; -- "
REFUSED = "is not sent to (db.), which would read its values otherwise"
MODE = "NO_BACKSLASH_ESCAPES"
#: Seen by any reader: it needs no escape.
AUTHORS = "SELECT HEX(name) FROM galera_router.shop_author"


@contextmanager
def without_backslashes(shop: Shop, *names: str, mode: str = MODE) -> Iterator[None]:
    """These nodes have a sql_mode of their own, as by their my.cnf; all connections are new."""
    nodes = [shop.galera[name] for name in names]
    before = nodes[0].query("SELECT @@GLOBAL.sql_mode")[0][0]
    for node in nodes:
        node.query(f"SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, ',{mode}')")
    try:
        shop.configure()
        shop.warm()
        yield
    finally:
        for node in nodes:
            node.query("SET GLOBAL sql_mode = %s", [before])


def execute(sql: str, *args: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, args)
        return cursor.fetchall() if cursor.description else None


def write_raw() -> None:
    execute("UPDATE shop_book SET stock = 0 WHERE title = %s", EVIL)


def write_many() -> None:
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE shop_book SET stock = 0 WHERE title = %s", [("x",), (EVIL,)])


def insert_many() -> None:
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO shop_tag (name) VALUES (%s)", [(NAME,), (NAME,)])


def call() -> None:
    with connection.cursor() as cursor:
        cursor.callproc("no_such_procedure", [EVIL])


def write_model() -> None:
    Book.objects.filter(title=EVIL).update(stock=0)


def lock() -> None:
    list(Book.objects.select_for_update().filter(title=STACKED))


WRITES = pytest.mark.parametrize(
    "write", [write_raw, write_many, insert_many, call, write_model, lock], ids=lambda f: f.__name__
)
#: Either the secondaries or the primary.
ODD = pytest.mark.parametrize("odd", [("db2", "db3"), ("db1",)], ids="+".join)


@pytest.fixture
def untouched(shop: Shop) -> Iterator[None]:
    """Two books, which nothing changes."""
    shop.stock(2)
    yield
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(10,), (10,)]
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == []


# --- refused ------------------------------------------------------------------------------


@ODD
@WRITES
def test_a_write_outside_a_transaction(
    shop: Shop, untouched: None, write: Callable[[], None], odd: tuple[str, ...]
) -> None:
    with without_backslashes(shop, *odd), shop.traffic() as sent:
        with pytest.raises(FailoverImpossible, match=REFUSED) as caught, transaction.atomic():
            execute("SELECT COUNT(*) FROM shop_book")
            write()
        assert "Give all nodes of 'default' the same sql_mode and character set." in str(caught)
        assert not caught.value.again
    assert not [sql for sql in sent["db1"] if "shop_" in sql]


@ODD
@WRITES
def test_a_write_without_a_read_before_it(
    shop: Shop, untouched: None, write: Callable[[], None], odd: tuple[str, ...]
) -> None:
    """It is written for the secondary's connection, which is open."""
    with without_backslashes(shop, *odd):
        Book.objects.count()
        with pytest.raises(FailoverImpossible, match=REFUSED), transaction.atomic():
            write()


@ODD
@pytest.mark.parametrize("write", [write_raw, write_model, insert_many])
def test_a_write_of_its_own(
    shop: Shop, untouched: None, write: Callable[[], None], odd: tuple[str, ...]
) -> None:
    with without_backslashes(shop, *odd):
        Book.objects.count()
        with pytest.raises(FailoverImpossible, match=REFUSED):
            write()


@ODD
def test_a_read_that_is_repeated_on_the_primary(
    shop: Shop, untouched: None, odd: tuple[str, ...]
) -> None:
    """The whole transaction fails, whatever is caught in it."""
    with (
        without_backslashes(shop, *odd),
        pytest.raises(FailoverImpossible, match=REFUSED),
        transaction.atomic(),
    ):
        assert not Book.objects.filter(title=STACKED)
        with pytest.raises(FailoverImpossible, match=REFUSED):
            execute("INSERT INTO shop_tag (name) VALUES ('plain')")
        execute("SELECT 1")


def test_a_read_that_is_repeated_on_the_other_secondary(shop: Shop, untouched: None) -> None:
    with (
        without_backslashes(shop, "db2"),
        pytest.raises(FailoverImpossible, match=REFUSED),
        transaction.atomic(),
    ):
        assert not Book.objects.filter(title=STACKED)
        leave_only(shop, {"db2": "db3", "db3": "db2"}[shop.reading.name])
        assert not Book.objects.filter(title=STACKED)


def leave_only(shop: Shop, name: str) -> None:
    """Lose the snapshot; only this node is left to read from."""
    session = shop.session
    for node in session.cluster.nodes:
        if node.name not in (name, "db1"):
            session.cluster.mark_down(node, OSError("lost by the test"))
    session.reader.pin = None
    lost = session.snapshot
    assert lost is not None
    lost.cut()


def test_a_read_that_is_sent_to_another_node(shop: Shop, untouched: None) -> None:
    """The node that it was written for is found to be down."""
    with without_backslashes(shop, "db2"):
        Book.objects.count()
        pin = shop.session.reader.pin
        assert pin is not None
        shop.session.cluster.mark_down(pin, OSError("lost by the test"))
        with pytest.raises(FailoverImpossible, match=REFUSED):
            execute("SELECT COUNT(*) FROM shop_book WHERE title = %s", STACKED)


def test_the_primary_is_lost_and_the_next_one_reads_otherwise(shop: Shop, untouched: None) -> None:
    with (
        without_backslashes(shop, "db2", "db3"),
        pytest.raises(FailoverImpossible, match=REFUSED),
        transaction.atomic(),
    ):
        shop.session.primary_only = True
        execute("SELECT 1 FOR UPDATE")
        Tag.objects.create(name=NAME)
        shop.writing.kill()
        Tag.objects.create(name="more")


# --- as ever ------------------------------------------------------------------------------


def use(shop: Shop) -> None:
    """Writes and reads that go from node to node."""
    with transaction.atomic():
        assert not Author.objects.filter(name=NAME)
        Author.objects.create(name=NAME)
    Author.objects.create(name=EVIL)
    assert Author.objects.get(name=NAME).name == NAME
    found = shop.everywhere(AUTHORS)
    assert sorted(found) == sorted([(name.encode().hex().upper(),) for name in (NAME, EVIL)])


def test_nodes_that_are_alike(shop: Shop) -> None:
    use(shop)


def test_nodes_that_are_all_without_backslashes(shop: Shop) -> None:
    with without_backslashes(shop, "db1", "db2", "db3"):
        use(shop)


def test_nodes_that_differ_in_another_mode(shop: Shop) -> None:
    with without_backslashes(shop, "db2", mode="NO_ZERO_DATE"):
        use(shop)


def test_the_cluster_has_a_mode_of_its_own(shop: Shop) -> None:
    """OPTIONS of the cluster hold on all nodes, whatever the servers have."""
    with without_backslashes(shop, "db2"):
        for mode in ("STRICT_TRANS_TABLES", f"STRICT_TRANS_TABLES,{MODE}"):
            shop.configure(OPTIONS={"sql_mode": mode})
            Author.objects.all().delete()
            shop.settle()
            shop.warm()
            use(shop)


def by_cursor(connection: Any, **kwargs: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET sql_mode = '{MODE}'")


def by_driver(connection: Any, **kwargs: Any) -> None:
    connection.connection.query(f"SET sql_mode = '{MODE}'".encode())


@pytest.mark.parametrize("receiver", [by_cursor, by_driver])
def test_a_receiver_sets_the_mode_of_each_connection(
    shop: Shop, receiver: Callable[..., None]
) -> None:
    connection_created.connect(receiver)
    try:
        shop.configure()
        shop.warm()
        assert {link.way for link in links(shop)} == {("utf8mb4", b"\\''")}
        assert {link.state for link in links(shop)} == {None}
    finally:
        connection_created.disconnect(receiver)


def links(shop: Shop) -> list[NodeConnection]:
    session = shop.session
    kept = [session.reader.alias(node).link for node in session.cluster.nodes]
    found = [link for link in (session.primary, *kept) if link is not None]
    assert len(found) == 4
    return found


def test_the_application_sets_the_mode(shop: Shop) -> None:
    """What was set stays on that connection, and so do the values that are written for it."""
    shop.warm()
    execute(f"SET SESSION sql_mode = '{MODE}'")
    use(shop)


def test_the_application_sets_the_mode_in_a_block(shop: Shop) -> None:
    shop.warm()
    with transaction.atomic():
        assert not Author.objects.filter(name=EVIL)
        execute(f"SET SESSION sql_mode = '{MODE}'")
        Author.objects.create(name=NAME)
        assert Author.objects.get(name=NAME).name == NAME
    assert shop.everywhere(AUTHORS) == [(NAME.encode().hex().upper(),)]


@pytest.mark.parametrize("set_mode", [by_cursor, by_driver])
def test_the_mode_is_set_on_the_alias_of_a_node(
    shop: Shop, untouched: None, set_mode: Callable[[Any], None]
) -> None:
    """Its connection is the one that reads go through, and that writes are written for."""
    shop.warm()
    Book.objects.count()
    pin = shop.session.reader.pin
    assert pin is not None
    set_mode(connections[pin.alias])
    assert not Book.objects.filter(title=EVIL)
    with pytest.raises(FailoverImpossible, match=REFUSED):
        write_model()


def test_a_node_has_another_character_set(shop: Shop, untouched: None) -> None:
    """``expand`` makes none; its result was changed."""
    databases = expand(shop.galera.databases(OPTIONS=OPTIMISTIC))
    for name in ("db2", "db3"):
        databases[f"default_{name}"]["OPTIONS"]["charset"] = "latin1"
    use_databases(databases)
    Book.objects.count()
    with pytest.raises(FailoverImpossible, match=REFUSED):
        write_model()

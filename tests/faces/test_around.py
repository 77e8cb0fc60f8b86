"""A function in a transaction of another database, which nobody undoes with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, connections, transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from galera_router import expand, galera_atomic
from tests.faces.test_atomic_given import changes_once
from tests.integration.support import Shop, use_databases
from tests.shop.models import Book, Tag


@pytest.fixture
def several(shop: Shop, tmp_path: Path) -> Iterator[Shop]:
    """Beside the cluster a second one, and SQLite."""
    lite = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "lite"}
    cluster = {**shop.galera.databases()["default"], "CONN_MAX_AGE": None}
    plain = {**shop.galera.databases()["default"], "HOST": "127.0.0.1"}
    nodes = plain.pop("NODES")
    plain["PORT"] = nodes["db1"]["PORT"]
    use_databases(
        {**settings.DATABASES, **expand({"other": cluster}), "lite": lite, "plain": plain}
    )
    sql("CREATE TABLE log (name TEXT)")
    shop.stock()
    yield shop
    known = {n: s for n, s in settings.DATABASES.items() if n.startswith("default")}
    use_databases(known)


def sql(text: str) -> Any:
    with connections["lite"].cursor() as cursor:
        return cursor.execute(text).fetchall()


def rows(shop: Shop) -> list[Any]:
    return shop.everywhere("SELECT name FROM galera_router.shop_tag")


def test_a_row_in_the_open_transaction_of_a_plain_database(several: Shop) -> None:
    look = changes_once(several)

    @galera_atomic
    def work() -> None:
        look()
        sql("INSERT INTO log VALUES ('x')")
        Book.objects.update(stock=F("stock") + 1)

    with contextlib.suppress(DatabaseError), transaction.atomic("lite"):
        work()
    assert len(sql("SELECT * FROM log")) <= 1


def test_a_row_in_the_open_transaction_of_another_cluster(several: Shop) -> None:
    look = changes_once(several)

    @galera_atomic
    def work() -> None:
        look()
        Tag.objects.using("other").create(name="x")
        Book.objects.update(stock=F("stock") + 1)

    with contextlib.suppress(DatabaseError), transaction.atomic("other"):
        work()
    assert len(rows(several)) <= 1


def test_a_hook_of_the_open_transaction(several: Shop) -> None:
    look = changes_once(several)
    mails: list[str] = []

    @galera_atomic
    def work() -> None:
        look()
        transaction.on_commit(lambda: mails.append("mail"), using="lite")
        Book.objects.update(stock=F("stock") + 1)

    with contextlib.suppress(DatabaseError), transaction.atomic("lite"):
        work()
    assert len(mails) <= 1


def test_a_hook_outside_any_transaction(several: Shop) -> None:
    """Django runs it at once."""
    look = changes_once(several)
    mails: list[str] = []

    @galera_atomic
    def work() -> None:
        look()
        transaction.on_commit(lambda: mails.append("mail"), using="lite")
        Book.objects.update(stock=F("stock") + 1)

    with contextlib.suppress(DatabaseError):
        work()
    assert len(mails) <= 1


_look: list[Callable[[], None]] = []


@galera_atomic
def _pay() -> None:
    _look[0]()
    Tag.objects.using("other").create(name="x")
    Book.objects.update(stock=F("stock") + 1)


def view(request: HttpRequest) -> HttpResponse:
    _pay()
    return HttpResponse("done")


urlpatterns = [path("pay/", view)]


@override_settings(ROOT_URLCONF=__name__)
def test_a_view_that_is_atomic_on_another_cluster(several: Shop) -> None:
    connections.settings["other"]["ATOMIC_REQUESTS"] = True
    _look[:] = [changes_once(several)]
    Client(raise_request_exception=False).post("/pay/")
    assert len(rows(several)) <= 1


def test_what_a_plain_database_has_rolled_back(several: Shop) -> None:
    """Its own deadlock has undone all that the outer block had done there."""
    runs: list[int] = []

    def execute(text: str) -> None:
        with connections["plain"].cursor() as cursor:
            cursor.execute(text)

    @galera_atomic
    def work() -> None:
        runs.append(1)
        execute("UPDATE shop_book SET stock = stock + 1")
        if len(runs) == 1:
            several.galera["db2"].query("UPDATE galera_router.shop_book SET stock = 50")
            several.settle()
        execute("INSERT INTO shop_tag (name) VALUES ('second')")

    with contextlib.suppress(DatabaseError), transaction.atomic("plain"):
        execute("INSERT INTO shop_tag (name) VALUES ('first')")
        work()
    assert len(rows(several)) in (0, 2)


def test_what_was_only_read_there_is_read_again(several: Shop) -> None:
    look = changes_once(several)
    sql("INSERT INTO log VALUES ('before')")
    runs: list[int] = []

    @galera_atomic
    def work() -> None:
        look()
        runs.append(len(sql("SELECT * FROM log")))
        Book.objects.update(stock=F("stock") + 1)

    with transaction.atomic("lite"):
        sql("INSERT INTO log VALUES ('in the block')")
        work()
    assert runs == [2, 2]


# --- what a run sets on the connection


def conflicting(shop: Shop, runs: list[int], tag: str = "x") -> None:
    Book.objects.update(stock=F("stock") + 1)
    if len(runs) == 1:
        shop.galera["db2"].query("UPDATE galera_router.shop_book SET stock = 50")
        shop.settle()
    Tag.objects.create(name=tag)


def execute(text: str) -> Any:
    with connections["default"].cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()


def test_a_lock_that_is_taken_in_each_run(several: Shop) -> None:
    """The run that is undone has taken it, the one that counts too, and it is released once."""
    runs: list[int] = []

    @galera_atomic
    def work() -> None:
        runs.append(1)
        assert execute("SELECT GET_LOCK('job', 0)") == (1,)
        conflicting(several, runs)
        execute("SELECT RELEASE_LOCK('job')")

    work()
    assert len(runs) == 2
    assert several.galera["db1"].query("SELECT IS_FREE_LOCK('job')") == [(1,)]


def test_a_temporary_table_is_made_in_each_run(several: Shop) -> None:
    runs: list[int] = []

    @galera_atomic
    def work() -> None:
        runs.append(1)
        execute("CREATE TEMPORARY TABLE shop_seen (id INT)")
        conflicting(several, runs)

    work()
    assert len(runs) == 2
    assert rows(several) == [("x",)]


def test_what_was_set_before_stays(several: Shop) -> None:
    execute("SET @shop = 1")
    runs: list[int] = []

    @galera_atomic
    def work() -> None:
        runs.append(1)
        execute("SET @shop = @shop + 1")
        conflicting(several, runs)

    work()
    assert len(runs) == 2
    assert execute("SELECT @shop") == (3,), "as on stock Django: nobody undoes a variable"

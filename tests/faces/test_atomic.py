"""A function is run again where that can succeed, and nothing else was done."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, ProgrammingError, connections, transaction

from galera_router import galera_atomic
from galera_router.exceptions import ConfigurationError, ReplayMismatch
from galera_router.recovery import turns
from tests.integration.support import Shop, elsewhere, use_databases
from tests.shop.models import Author, Tag

DEADLOCK = (1213, "Deadlock found when trying to get lock")


@pytest.fixture
def lite(shop: Shop, tmp_path: Path) -> Iterator[Shop]:
    """A database beside the cluster: SQLite, with one table."""
    plain = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "lite"}
    use_databases({**settings.DATABASES, "lite": plain})
    run("CREATE TABLE log (name TEXT)")
    yield shop
    use_databases({name: s for name, s in settings.DATABASES.items() if name != "lite"})


def run(sql: str) -> Any:
    with connections["lite"].cursor() as cursor:
        return cursor.execute(sql).fetchall()


def insert() -> None:
    run("INSERT INTO log VALUES ('x')")


def in_a_transaction() -> None:
    with transaction.atomic("lite"):
        insert()


def undone() -> None:
    with transaction.atomic("lite"):
        insert()
        transaction.set_rollback(True, "lite")


def in_a_job() -> None:
    def job() -> None:
        insert()
        connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(job).result()


def committed_hook() -> None:
    with transaction.atomic("lite"):
        transaction.on_commit(lambda: None, using="lite")


def fails_once(deed: Callable[[], Any]) -> list[int]:
    """Do something in a function that then meets a deadlock; how often it ran."""
    runs: list[int] = []

    @galera_atomic
    def function() -> None:
        runs.append(1)
        Author.objects.count()
        deed()
        if len(runs) == 1:
            raise OperationalError(*DEADLOCK)

    with contextlib.suppress(OperationalError):
        function()
    return runs


@pytest.mark.parametrize(
    "deed",
    [insert, in_a_transaction, in_a_job, lambda: elsewhere(insert), committed_hook],
    ids=["autocommit", "transaction", "job", "thread", "hook"],
)
def test_what_was_committed_on_another_database_is_done_once(
    lite: Shop, deed: Callable[[], Any]
) -> None:
    assert len(fails_once(deed)) == 1
    assert len(run("SELECT * FROM log")) == (deed is not committed_hook)


@pytest.mark.parametrize(
    "deed",
    [lambda: run("SELECT * FROM log"), undone, lambda: elsewhere(lambda: run("SELECT 1"))],
    ids=["read", "rolled back", "read in a thread"],
)
def test_what_was_not_is_in_nobodys_way(lite: Shop, deed: Callable[[], Any]) -> None:
    assert len(fails_once(deed)) == 2


def test_a_commit_of_others_is_in_nobodys_way(shop: Shop) -> None:
    """A worker of the same process that has nothing to do with the function."""
    ready, end = threading.Event(), threading.Event()

    def work() -> None:
        while not end.is_set():
            Tag.objects.create(name="other")
            ready.set()
        connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert ready.wait(10)
        ready.clear()
        assert len(fails_once(lambda: ready.wait(10))) == 2
    finally:
        end.set()
        worker.join()


def test_an_inner_function_that_has_committed_is_not_run_twice(lite: Shop) -> None:
    """It ran in another thread, so in a transaction of its own."""
    inner = galera_atomic(lambda: Tag.objects.create(name="inner"))
    assert len(fails_once(lambda: elsewhere(inner))) == 1
    assert lite.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(1,)]


def test_an_altered_table_is_read_in_a_new_run(shop: Shop) -> None:
    runs: list[int] = []

    @galera_atomic
    def function() -> int:
        runs.append(1)
        if len(runs) == 1:
            raise OperationalError(1412, "Table definition has changed, please retry transaction")
        return Author.objects.count()

    assert function() == 0
    assert len(runs) == 2


@pytest.mark.parametrize("number", [1054, 1146])
def test_what_a_secondary_does_not_know_is_asked_of_the_primary_once(
    shop: Shop, number: int
) -> None:
    places: list[bool] = []

    @galera_atomic
    def function() -> None:
        places.append(shop.session.primary_only)
        Author.objects.count()
        raise ProgrammingError(number, "it is not there")

    with pytest.raises(ProgrammingError):
        function()
    assert places == [False, True]


def test_what_the_primary_does_not_know_is_an_error_at_once(shop: Shop) -> None:
    runs: list[int] = []

    @galera_atomic
    def function() -> None:
        runs.append(1)
        Tag.objects.create(name="x")
        raise ProgrammingError(1054, "it is not there")

    with pytest.raises(ProgrammingError):
        function()
    assert len(runs) == 1


def test_runs_are_logged_with_their_reason(lite: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "galera_router")
    fails_once(lambda: None)
    fails_once(insert)
    name = "tests.faces.test_atomic.fails_once.<locals>.function"
    assert [message for message in caplog.messages if "again" in message] == [
        f"running {name} again (run 2 of at most 10): OperationalError: {DEADLOCK}",
        f"not running {name} again after OperationalError, because something was committed on"
        f" 'lite': {DEADLOCK}",
    ]


def test_from_the_third_run_on_a_function_queues(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves the queue before its hooks run, which may take their time."""
    monkeypatch.setattr(turns, "_hot", {})
    free: list[bool] = []

    def ask() -> None:
        question = "SELECT IS_FREE_LOCK('galera_router galera_router')"
        free.append(shop.galera["db1"].query(question) == [(1,)])

    @galera_atomic
    def function() -> None:
        ask()
        Tag.objects.create(name="x")
        if len(free) < 4:
            raise ReplayMismatch("another one was faster")
        transaction.on_commit(ask)

    function()
    assert free == [True, True, False, False, True]


def test_a_function_that_only_reads_does_not_queue(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_hot", {})
    runs: list[int] = []

    @galera_atomic
    def function() -> None:
        Author.objects.count()
        runs.append(1)
        if len(runs) < 4:
            raise OperationalError(1412, "Table definition has changed, please retry transaction")

    with shop.galera["db1"].statements() as sent:
        function()
    assert [statement.sql for statement in sent if "LOCK" in statement.sql] == []
    assert len(runs) == 4


def test_messages_say_what_to_do() -> None:
    async def coroutine() -> None: ...
    def generator() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="Decorate a function, and call it with sync_to_async"):
        galera_atomic(coroutine)
    with pytest.raises(TypeError, match="Decorate the function that consumes it"):
        galera_atomic(generator)
    with pytest.raises(ValueError, match="attempts must be at least 1, not 0"):
        galera_atomic(attempts=0)


def test_a_nodes_alias_is_refused(shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match="Use the cluster's alias 'default'"):
        galera_atomic(using="default_db2")(int)()

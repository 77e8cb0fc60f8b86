"""What a database that is no cluster makes final is seen, through what Django keeps private."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction

from galera_router.compat import commits
from tests.integration.support import use_databases

SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


@pytest.fixture
def seen() -> Iterator[list[str]]:
    """What is noted of the database ``plain``, which has a table ``t``."""
    before = connections.settings
    use_databases({"default": SQLITE, "plain": SQLITE})
    found: list[str] = []
    wrapper = connections["plain"]
    _unwatch(wrapper)
    run("CREATE TABLE t (name TEXT UNIQUE)")
    commits.watch(
        wrapper,
        committed=lambda alias: found.append(f"commit of {alias}"),
        hooks=lambda alias: found.append(f"hooks of {alias}"),
        at_once=lambda alias: found.append(f"a hook of {alias} at once"),
        statements=True,
    )
    yield found
    use_databases(before)


def _unwatch(wrapper: Any) -> None:
    """The running app watches every wrapper."""
    names = ("galera_watched", "galera_dirty", "commit", "rollback", "set_autocommit", "on_commit")
    for name in names:
        vars(wrapper).pop(name, None)
    wrapper.execute_wrappers.clear()


def run(sql: str, *params: str) -> None:
    with connections["plain"].cursor() as cursor:
        cursor.execute(sql, params)


def insert(name: str = "a") -> None:
    run("INSERT INTO t (name) VALUES (%s)", name)


COMMIT, HOOKS = "commit of plain", "hooks of plain"


def test_a_write_outside_a_transaction(seen: list[str]) -> None:
    insert()
    assert seen == [COMMIT]


def test_one_that_fails_may_have_done_something(seen: list[str]) -> None:
    insert()
    with pytest.raises(IntegrityError):
        insert()
    assert seen == [COMMIT, COMMIT]


def test_reads_are_nothing(seen: list[str]) -> None:
    run("SELECT * FROM t")
    with transaction.atomic("plain"), transaction.atomic("plain"):
        run("WITH x AS (SELECT 1) SELECT * FROM x")
    assert seen == []


def test_a_transaction(seen: list[str]) -> None:
    with transaction.atomic("plain"):
        insert()
        with transaction.atomic("plain"):
            insert("b")
        assert seen == []
    assert seen == [COMMIT]


def test_one_that_is_rolled_back(seen: list[str]) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic("plain"):
        insert()
        raise ZeroDivisionError
    with transaction.atomic("plain"):
        run("SELECT * FROM t")
    assert seen == []


def test_hooks_of_one_that_has_only_read(seen: list[str]) -> None:
    with transaction.atomic("plain"):
        transaction.on_commit(lambda: seen.append("hook"), using="plain")
    assert seen == [HOOKS, "hook"]


def test_transactions_by_hand(seen: list[str]) -> None:
    transaction.set_autocommit(False, "plain")
    insert()
    assert seen == []
    transaction.commit("plain")
    assert seen == [COMMIT]
    insert("b")
    transaction.rollback("plain")
    transaction.set_autocommit(True, "plain")
    assert seen == [COMMIT]


def test_autocommit_that_is_turned_on_commits(seen: list[str]) -> None:
    transaction.set_autocommit(False, "plain")
    insert()
    transaction.set_autocommit(True, "plain")
    assert seen == [COMMIT]


def test_definitions_may_end_the_transaction(seen: list[str]) -> None:
    """They do on MySQL."""
    with transaction.atomic("plain"):
        run("CREATE TABLE IF NOT EXISTS u (id INT)")
        assert seen == [COMMIT]


def test_a_procedure(seen: list[str]) -> None:
    commits.watch_cursors()
    missing = pytest.raises(AttributeError, match="callproc")  # on SQLite
    with connections["plain"].cursor() as cursor, missing:
        cursor.callproc("p")
    assert seen == [COMMIT]


def test_a_method_of_the_drivers_cursor(seen: list[str]) -> None:
    """It may commit, and no statement of it passes through Django."""
    commits.watch_cursors()
    commits.watch_cursors()  # harmless
    with connections["plain"].cursor() as cursor:
        script = cursor.executescript
        assert seen == [], "it was only looked at"
        script("INSERT INTO t (name) VALUES ('a')")
        assert seen == [COMMIT]
        with pytest.raises(AttributeError, match="copy_expert"):
            cursor.copy_expert  # noqa: B018
    assert seen == [COMMIT]
    _unwatch(connections["default"])
    with connections["default"].cursor() as cursor:
        cursor.executescript("SELECT 1")


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        ("SELECT 1", ""),
        ("  /* c */ (SELECT 1)", ""),
        ("-- INSERT\nSELECT 1", "SELECT"),  # in doubt
        ("SELECT * FROM t FOR UPDATE", ""),
        ("SELECT * FROM t FOR NO KEY UPDATE OF t", ""),
        ("SELECT REPLACE(a, 'b', 'c') FROM t", ""),
        ("SELECT * INTO u FROM t", "SELECT"),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT * FROM x", "WITH"),
        ("SET autocommit = 1", "SET"),
        ("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", ""),
        ("SAVEPOINT s", ""),
        ("BEGIN", ""),
        ("COMMIT", "COMMIT"),
        ("update t set name = 1", "UPDATE"),
        ("CALL p()", "CALL"),
        ("", "?"),
    ],
)
def test_verbs(sql: str, verb: str) -> None:
    assert commits.written(sql) == verb


def test_watching_twice_is_harmless(seen: list[str]) -> None:
    told = {"committed": print, "hooks": print, "at_once": print}
    commits.watch(connections["plain"], **told, statements=True)
    insert()
    assert seen == [COMMIT]


def test_a_hook_without_a_transaction(seen: list[str]) -> None:
    """Django runs it at once."""
    transaction.on_commit(lambda: seen.append("the hook"), using="plain")
    assert seen == ["a hook of plain at once", "the hook"]


def test_what_was_done_in_a_transaction_is_counted(seen: list[str]) -> None:
    plain = connections["plain"]
    with transaction.atomic("plain"):
        before = commits.writes_in(plain)
        run("SELECT * FROM t")
        assert commits.writes_in(plain) == before
        insert()
        assert commits.writes_in(plain) == before + 1

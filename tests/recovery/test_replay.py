"""Replays on a real node of what another one has answered."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import MySQLdb
import pytest
from django.db import transaction
from MySQLdb.cursors import Cursor, DictCursor

from galera_router.exceptions import ReplayMismatch
from galera_router.recovery import replay
from galera_router.recovery.journal import Answer, Entry
from tests.integration.support import Shop
from tests.recovery.support import Away, tables
from tests.shop.models import Author, Tag

ITEM = (
    "id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60) UNIQUE, n INT NOT NULL DEFAULT 7,"
    " at DATETIME(6) NOT NULL DEFAULT NOW(6), uuid CHAR(36) NOT NULL DEFAULT UUID(),"
    " double_n INT AS (n * 2) STORED, chance DOUBLE NOT NULL DEFAULT RAND()"
)
OTHER = (
    "id INT AUTO_INCREMENT PRIMARY KEY, item_id INT, score DOUBLE, rate FLOAT, title VARCHAR(60)"
)


@pytest.fixture
def away(shop: Shop) -> Iterator[Away]:
    with tables(shop, item=ITEM, other=OTHER):
        shop.galera.nodes[0].query(
            "INSERT INTO galera_router.item (id, name, n)"
            " VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 1)"
        )
        shop.galera.nodes[0].query(
            "INSERT INTO galera_router.other (id, item_id, score, title)"
            " VALUES (10, 1, 0.1, 'x'), (20, 2, 0.2, 'y'), (30, 3, 0.3, 'z')"
        )
        shop.settle()
        away = Away(shop)
        yield away
        away.close()


@pytest.fixture
def sell(away: Away) -> Iterator[None]:
    """A function that writes."""
    node = away.shop.galera.nodes[0]
    node.query(
        "CREATE OR REPLACE FUNCTION galera_router.sell(pk INT) RETURNS INT BEGIN"
        " UPDATE item SET n = n + 1 WHERE id = pk; RETURN 1; END"
    )
    away.shop.settle()
    yield
    for link in (away.first, away.second):
        link.query(b"ROLLBACK")
    node.query("DROP FUNCTION galera_router.sell")


def differs(away: Away, text: str) -> None:
    with pytest.raises(ReplayMismatch) as caught:
        away.replay(phrase="Look")
    assert str(caught.value) == f"Look: {text}."


class Stop(BaseException):
    """What a signal's handler raises, say."""


def test_what_interrupts_a_replay_comes_through(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's complaint of what is left unread does not take its place."""

    class Interrupted(Cursor):  # type: ignore[misc]
        def execute(self, query: Any, args: Any = None) -> Any:
            raise Stop

        def close(self) -> None:
            raise MySQLdb.ProgrammingError(2014, "Commands out of sync")

    away.run("SELECT name FROM item")
    monkeypatch.setattr(replay, "Cursor", Interrupted)
    with pytest.raises(Stop):
        away.replay()


@pytest.fixture
def packets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a replay sends, packet by packet."""
    sent: list[str] = []

    class Noting(Cursor):  # type: ignore[misc]
        def execute(self, query: Any, args: Any = None) -> Any:
            sent.append(bytes(query).decode())
            return super().execute(query, args)

    monkeypatch.setattr(replay, "Cursor", Noting)
    return sent


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM item WHERE id = 3 RETURNING name",
        "SELECT name FROM item WHERE id = 3 FOR UPDATE",
        "SELECT name FROM item WHERE id = 3 LOCK IN SHARE MODE",
        "INSERT INTO item (name) VALUES ('d') RETURNING id",
        "UPDATE item SET n = 5 WHERE id = 3",
        "SELECT sell(3)",
        "SET @a = 1",
    ],
)
def test_what_may_lock_or_write_travels_alone(
    away: Away, sell: None, packets: list[str], sql: str
) -> None:
    """In a packet of several it would run outside the transaction if Galera has aborted that."""
    away.run("SELECT id FROM item WHERE id = 1")
    away.run(sql)
    away.run("SELECT id FROM item WHERE id = 2")
    away.run("SELECT n FROM item WHERE id = 2")
    away.replay()
    verb = sql.split()[0]
    (alone,) = [sent for sent in packets if sql.split(" id = 3")[0].split(" (")[0] in sent]
    assert (alone.split()[0], alone.count(";")) == (verb, 0)
    assert any("id = 2\n;\nSELECT n" in sent for sent in packets), "plain reads share one"


def test_reads_of_the_fast_lane_share_a_packet(shop: Shop, packets: list[str]) -> None:
    shop.stock()
    shop.warm()
    with transaction.atomic():
        for _ in range(3):
            assert Author.objects.count() == 1
        Tag.objects.create(name="x")
    assert [sent.count("COUNT(*)") for sent in packets] == [3]


# --- inserts --------------------------------------------------------------------------------


def test_the_first_of_several_keys_is_kept(away: Away) -> None:
    told = away.run("INSERT INTO item (name) VALUES ('it''s'), ('), ('), (%s)", "\\'(")
    away.replay()
    rows = away.ask("SELECT id, name FROM item WHERE id > 3 ORDER BY id")
    assert rows[0] == (told.lastrowid, "it's")
    assert [name for _, name in rows] == ["it's", "), (", "\\'("]
    assert away.ask("SELECT LAST_INSERT_ID()") == [(told.lastrowid,)]


@pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES", "ANSI_QUOTES"])
def test_another_sql_mode(away: Away, mode: str) -> None:
    for link in (away.first, away.second):
        link.query(f"SET sql_mode = '{mode}'".encode())
    told = away.run("INSERT INTO item (name) VALUES (%s), (%s) RETURNING id, name", "a\\", "'(`\"")
    away.replay()
    assert away.ask("SELECT id, name FROM item WHERE id > 3 ORDER BY id") == list(told.rows or ())


def test_what_was_returned_is_kept(away: Away) -> None:
    told = away.run("INSERT INTO item (name) VALUES ('d'), (UUID()) RETURNING *")
    away.replay()
    rows = away.ask("SELECT * FROM item WHERE id > 3 ORDER BY id")
    assert rows == list(told.rows or ())


def test_without_a_list_of_columns(away: Away) -> None:
    told = away.run("INSERT INTO other VALUES (NULL, 1, RAND(), RAND(), 'w') RETURNING id, score")
    away.replay()
    assert away.ask("SELECT id, score FROM other WHERE title = 'w'") == list(told.rows or ())


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO item SET name = 'd'",
        "INSERT INTO item (name) SELECT 'd'",
        "INSERT INTO item (name) SELECT title FROM other ORDER BY id",
    ],
)
def test_a_key_that_can_only_be_pinned(away: Away, sql: str) -> None:
    told = away.run(sql)
    away.replay()
    (first,) = away.ask("SELECT id FROM item WHERE id > 3 ORDER BY id LIMIT 1")
    assert first == (told.lastrowid,)
    assert away.ask("SELECT @@insert_id") == [(0,)]


def test_nothing_is_left_of_a_pinned_key(away: Away) -> None:
    away.run("INSERT INTO item SET id = 500, name = 'd'")
    away.replay()
    assert away.ask("SELECT @@insert_id") == [(0,)]
    away.second.query(b"INSERT INTO other (title) VALUES ('w')")
    assert away.ask("SELECT id < 100 FROM other WHERE title = 'w'") == [(1,)]


def test_nothing_is_left_of_a_pinned_key_where_the_insert_fails(away: Away) -> None:
    away.run("INSERT INTO item SET id = 500, name = 'd'")
    away.lose()
    away.shop.galera.nodes[0].query("INSERT INTO galera_router.item (name) VALUES ('d')")
    away.shop.settle()
    differs(away, "a statement on item now fails with error 1062")
    away.second.query(b"ROLLBACK")
    assert away.ask("SELECT @@insert_id") == [(0,)]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT IGNORE INTO item (name) VALUES ('a'), ('d'), ('e')",
        "INSERT INTO item (name) VALUES ('a'), ('d') ON DUPLICATE KEY UPDATE n = n + 1",
        "INSERT INTO item (name) VALUES ('a') ON DUPLICATE KEY UPDATE n = n + 1",
        "INSERT INTO item (name) VALUES ('d') ON DUPLICATE KEY UPDATE n = n + 1",
        "INSERT INTO item (name) VALUES ('a'), ('d') ON DUPLICATE KEY UPDATE n = 8 RETURNING id",
        "INSERT IGNORE INTO item (name) VALUES ('d'), ('e') RETURNING id, name",
        "REPLACE INTO item (name, n) VALUES ('d', 1), ('e', 1) RETURNING id",
        "REPLACE INTO item (name, n) VALUES ('a', 9)",
        "REPLACE INTO item SET name = 'a', n = 9",
        "INSERT INTO item (name) VALUES ('d'), ('e')",
    ],
)
def test_inserts_that_may_meet_rows(away: Away, sql: str) -> None:
    told = away.run(sql)
    before = away.run("SELECT name, n FROM item ORDER BY name")
    away.entries.pop()
    away.replay()
    assert away.ask("SELECT name, n FROM item ORDER BY name") == list(before.rows or ())
    if told.rows is not None:
        keys = {row[0] for row in away.ask("SELECT id FROM item")}
        assert {row[0] for row in told.rows} <= keys


def test_an_upsert_does_not_meet_another_row_than_it_did(away: Away) -> None:
    away.run("INSERT INTO item (name) VALUES ('a') ON DUPLICATE KEY UPDATE n = 5 RETURNING id")
    away.lose()
    away.shop.galera.nodes[0].query("UPDATE galera_router.item SET name = 'other' WHERE id = 1")
    away.shop.settle()
    differs(away, "the key of a row inserted into item is not to be had any more")
    assert away.ask("SELECT name, n FROM item WHERE id = 1") == [("other", 1)]


@pytest.mark.parametrize("returning", ["", " RETURNING id", " RETURNING *", " RETURNING id, at"])
def test_keys_of_a_table_with_invisible_columns(away: Away, returning: str) -> None:
    """They stand before the key and behind it, and INSERT … VALUES does not set them."""
    columns = (
        "secret INT INVISIBLE DEFAULT 0, id INT AUTO_INCREMENT PRIMARY KEY, note INT NULL,"
        " at CHAR(36) INVISIBLE NOT NULL DEFAULT 'x'"
    )
    with tables(away.shop, hidden=columns):
        away.run(f"INSERT INTO hidden VALUES (NULL, NULL), (NULL, NULL){returning}")
        told = away.run("SELECT id, secret, note, at FROM hidden ORDER BY id").rows
        if not returning:  # of several keys the application is told the first
            away.entries.pop()
        away.replay()
        rows = away.ask("SELECT id, secret, note, at FROM hidden ORDER BY id")
        assert rows[0] == (told or ())[0]
        assert returning == "" or rows == list(told or ())
        away.lose()
        away.second.query(b"ROLLBACK")


@pytest.mark.parametrize("column", ["n", "id, n", "*"])
def test_an_upsert_is_not_given_the_values_of_the_row_that_it_updates(
    away: Away, column: str
) -> None:
    """What is returned is what the row had, not what the insert has named."""
    away.run(
        "INSERT INTO item (name, n) VALUES ('a', 1 + 1)"
        f" ON DUPLICATE KEY UPDATE uuid = VALUES(n) RETURNING {column}"
    )
    before = away.run("SELECT n, uuid FROM item WHERE name = 'a'")
    assert before.rows == ((1, "2"),)
    away.replay()
    assert away.ask("SELECT n, uuid FROM item WHERE name = 'a'") == list(before.rows)


def test_a_row_that_replaces_another_is_given_what_was_told_of_it(away: Away) -> None:
    told = away.run("REPLACE INTO item (name, n) VALUES ('a', 1 + 1) RETURNING n, uuid")
    away.replay()
    assert away.ask("SELECT n, uuid FROM item WHERE name = 'a'") == list(told.rows or ())


def test_a_row_that_has_taken_the_key_is_not_replaced(away: Away) -> None:
    told = away.run("REPLACE INTO item (name) VALUES ('d')")
    away.lose()
    away.shop.galera.nodes[0].query(
        f"INSERT INTO galera_router.item (id, name) VALUES ({told.lastrowid}, 'other')"
    )
    away.shop.settle()
    differs(away, "the key of a row inserted into item is not to be had any more")
    assert away.ask(f"SELECT name FROM item WHERE id = {told.lastrowid}") == [("other",)]


def test_a_key_that_is_taken(away: Away) -> None:
    told = away.run("INSERT INTO item (name) VALUES ('d')")
    away.lose()
    away.shop.galera.nodes[0].query(
        f"INSERT INTO galera_router.item (id, name) VALUES ({told.lastrowid}, 'other')"
    )
    away.shop.settle()
    differs(away, "a statement on item now fails with error 1062")


def test_a_sequence_does_not_give_a_key_twice(away: Away) -> None:
    node = away.shop.galera.nodes[0]
    node.query("CREATE SEQUENCE galera_router.numbers START WITH 900 NOCACHE")
    column = "id BIGINT NOT NULL PRIMARY KEY DEFAULT NEXTVAL(galera_router.numbers), a INT"
    try:
        with tables(away.shop, numbered=column):
            told = away.run("INSERT INTO numbered (a) VALUES (1), (2) RETURNING id")
            assert told.rows is not None
            away.replay()
            away.second.query(b"INSERT INTO numbered (a) VALUES (3)")
            keys = [key for (key,) in away.ask("SELECT id FROM numbered ORDER BY a")]
            assert keys[:2] == [key for (key,) in told.rows]
            assert keys[2] > keys[1]
            away.second.query(b"ROLLBACK")
    finally:
        node.query("DROP SEQUENCE galera_router.numbers")


@pytest.mark.parametrize("value", ["NEXTVAL(numbers)", "next value for galera_router.`numbers`"])
def test_a_sequence_that_a_statement_names_does_not_give_a_number_twice(
    away: Away, value: str
) -> None:
    node = away.shop.galera.nodes[0]
    node.query("CREATE SEQUENCE galera_router.numbers START WITH 900 NOCACHE")
    away.shop.settle()
    try:
        told = away.run(f"INSERT INTO item (n) VALUES ({value}), (5), ({value}) RETURNING n")
        assert told.rows is not None
        away.replay()
        assert away.ask("SELECT n FROM item WHERE id > 3 ORDER BY id") == list(told.rows)
        ((after,),) = away.ask("SELECT NEXTVAL(numbers)")
        assert after > told.rows[2][0]
    finally:
        away.second.query(b"ROLLBACK")
        node.query("DROP SEQUENCE galera_router.numbers")


@pytest.mark.parametrize("returning", ["RETURNING id, n", "RETURNING n"])
@pytest.mark.parametrize(
    "value", ["(SELECT MAX(score) * 100 FROM other)", "1 + (SELECT COUNT(*) FROM other)"]
)
def test_a_number_that_was_made_of_other_rows(away: Away, value: str, returning: str) -> None:
    """It is told once more, and is another one where they have changed."""
    away.run(f"INSERT INTO item (name, n) VALUES ('d', {value}) {returning}")
    away.replay()
    away.second.query(b"ROLLBACK")
    away.shop.galera.nodes[0].query("INSERT INTO galera_router.other (score) VALUES (0.7)")
    away.shop.settle()
    differs(away, "the key of a row inserted into item is not to be had any more")


@pytest.mark.parametrize("returning", ["RETURNING id, item_id", "RETURNING item_id", ""])
@pytest.mark.usefixtures("sell")
def test_a_value_of_a_function_that_writes(away: Away, returning: str) -> None:
    """What it writes is written again."""
    away.run(f"INSERT INTO other (title, item_id) VALUES ('new', 10 + sell(2)) {returning}")
    away.replay()
    assert away.ask("SELECT n FROM item WHERE id = 2") == [(3,)]
    assert away.ask("SELECT item_id FROM other WHERE title = 'new'") == [(11,)]


@pytest.mark.usefixtures("sell")
def test_a_key_of_a_function_that_writes(away: Away) -> None:
    away.run("INSERT INTO other (id, title) VALUES (50000 + galera_router.sell(2), 'new')")
    away.replay()
    assert away.ask("SELECT n FROM item WHERE id = 2") == [(3,)]
    assert away.ask("SELECT id FROM other WHERE title = 'new'") == [(50001,)]


def test_the_number_of_rows(away: Away) -> None:
    away.run("UPDATE item SET n = 3 WHERE n = 1")
    away.lose()
    away.shop.galera.nodes[0].query("UPDATE galera_router.item SET n = 1")
    away.shop.settle()
    differs(away, "a statement on item now changes another number of rows")


# --- errors ---------------------------------------------------------------------------------


def test_an_error_that_was_told_is_expected(away: Away) -> None:
    away.entries.append(Entry(b"INSERT INTO item (name) VALUES ('a')", insert=True, error=1062))
    away.replay()
    away.entries[0].error = 1048
    differs(away, "a statement on item now fails with error 1062, and with another one before")
    away.second.query(b"ROLLBACK")
    away.entries[0] = Entry(b"INSERT INTO item (name) VALUES ('new')", insert=True, error=1062)
    differs(away, "a statement on item that failed with error 1062 now succeeds")


@pytest.mark.parametrize("given", [1, 2, 3])
def test_missing_results_are_a_lost_connection(
    away: Away, monkeypatch: pytest.MonkeyPatch, given: int
) -> None:
    """Not a difference, and not an answer without rows."""
    left, more = iter(range(given - 1)), Cursor.nextset

    def nextset(cursor: Cursor) -> Any:
        return more(cursor) if next(left, None) is not None else None

    away.run("SELECT id FROM item ORDER BY id")
    away.run("SELECT n FROM item ORDER BY id")
    monkeypatch.setattr(Cursor, "nextset", nextset)
    with pytest.raises(MySQLdb.OperationalError) as caught:
        away.replay()
    assert caught.value.args[0] == 2013
    with pytest.raises(MySQLdb.OperationalError):
        away.second.connection.ping()  # it was cut


def test_an_answer_without_rows_in_the_place_of_rows_is_a_lost_connection(away: Away) -> None:
    away.note(b"DO 0", Answer(((1,),), 1, 0))
    with pytest.raises(MySQLdb.OperationalError) as caught:
        away.replay()
    assert caught.value.args[0] == 2013


# --- the session ----------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1])
def test_a_replay_that_differs_leaves_the_session_as_it_was(away: Away, before: int) -> None:
    away.second.query(b"SET foreign_key_checks = %d" % before)
    away.run("SET SESSION foreign_key_checks = %s, unique_checks = 0", 1 - before)
    away.saw("SELECT id FROM item", [(99,)])
    away.run("SET foreign_key_checks = 1")
    differs(away, "a row read from item has changed")
    assert away.ask("SELECT @@foreign_key_checks, @@unique_checks") == [(before, 1)]


def test_a_second_replay_begins_with_the_session_as_it_was(away: Away) -> None:
    away.run("SELECT @@foreign_key_checks")
    away.run("SET foreign_key_checks = 0")
    away.replay()
    assert away.ask("SELECT @@foreign_key_checks") == [(0,)]
    away.second.query(b"ROLLBACK")
    away.replay()
    away.second.query(b"ROLLBACK")
    away.saw("SELECT id FROM item", [(99,)])
    differs(away, "a row read from item has changed")
    assert away.ask("SELECT @@foreign_key_checks") == [(1,)]


@pytest.mark.parametrize("forgotten", [True, False])
def test_rows_that_are_dictionaries(away: Away, forgotten: bool) -> None:
    for link in (away.first, away.second):
        link.connection.cursorclass = DictCursor
    away.run("SELECT id, name, n FROM item")
    told = away.run("INSERT INTO item (name) VALUES ('d') RETURNING id, at")
    away.run("REPLACE INTO item (name) VALUES ('e') RETURNING id")
    if forgotten:
        away.entries[0].forget_rows()
    away.replay()
    assert away.ask("SELECT id, at FROM item WHERE name = 'd'") == [
        tuple(row.values()) for row in told.rows or ()
    ]


# --- reads ----------------------------------------------------------------------------------

BY_N = "SELECT id, name FROM item ORDER BY n"
JOINED = (
    "SELECT other.id, other.title FROM other JOIN item ON item.id = other.item_id ORDER BY item.n"
)
A, B, C = (1, "a"), (2, "b"), (3, "c")
X, Y, Z = (10, "x"), (20, "y"), (30, "z")


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (BY_N, [A, C, B]),
        (BY_N, [C, A, B]),
        (f"{BY_N} LIMIT 1", [A]),
        (f"{BY_N} LIMIT 1", [C]),
        (f"{BY_N} DESC LIMIT 2", [B, C]),
        (f"{BY_N} DESC LIMIT 2", [B, A]),
        (f"{BY_N} LIMIT 1 OFFSET 1", [A]),
        (f"{BY_N} LIMIT 1 OFFSET 1", [C]),
        (f"{JOINED} LIMIT 1", [X]),
        (f"{JOINED} LIMIT 1", [Z]),
        (JOINED, [Z, X, Y]),
        ("SELECT n, COUNT(*) AS c FROM item GROUP BY n ORDER BY COUNT(*) * 0 LIMIT 1", [(1, 2)]),
        ("SELECT n, COUNT(*) AS c FROM item GROUP BY n ORDER BY COUNT(*) * 0 LIMIT 1", [(2, 1)]),
        ("SELECT DISTINCT n * 0, n FROM item ORDER BY n * 0 LIMIT 1", [(0, 1)]),
        ("SELECT DISTINCT n * 0, n FROM item ORDER BY n * 0 LIMIT 1", [(0, 2)]),
        ("SELECT * FROM other ORDER BY score * 0", None),
        ("SELECT id, name FROM item LIMIT 1", [C]),
        ("SELECT id, name FROM item ORDER BY RAND() LIMIT 2", [C, B]),
        (
            "(SELECT n, name FROM item) UNION (SELECT 1, 'd') ORDER BY (1) LIMIT 2",
            [(1, "d"), (1, "c")],
        ),
        ("SELECT id, name FROM item ORDER BY name COLLATE utf8mb4_bin, n; -- c", [A, B, C]),
    ],
)
def test_what_the_other_node_might_have_said(away: Away, sql: str, rows: Any) -> None:
    if rows is None:
        rows = list(reversed(away.run(sql).rows or ()))
    away.saw(sql, rows)
    away.replay()


@pytest.mark.parametrize(
    ("sql", "rows", "text"),
    [
        (BY_N, [A, C], "a row has appeared in what was read from item"),
        (BY_N, [A, C, B, (4, "d")], "a row read from item has gone"),
        (BY_N, [B, A, C], "the order of the rows read from item has changed"),
        (JOINED, [Y, X, Z], "the order of the rows read from other has changed"),
        (f"{BY_N} LIMIT 1", [B], "a row read from item has changed"),
        (f"{BY_N} LIMIT 1", [(3, "d")], "a row read from item has changed"),
        (f"{BY_N} LIMIT 2", [A], "a row has appeared in what was read from item"),
        (f"{BY_N} LIMIT 1 OFFSET 1", [B], "a row read from item has changed"),
        (f"{BY_N} LIMIT 1 FOR UPDATE", None, "a row read from item has changed"),
        ("SELECT id, name FROM item LIMIT 1", [(4, "d")], "a row read from item has changed"),
        ("SELECT DISTINCT name FROM item ORDER BY n DESC LIMIT 1", [("a",)], None),
    ],
)
def test_what_it_could_not_have_said(away: Away, sql: str, rows: Any, text: str | None) -> None:
    if rows is None:
        (first,) = away.run(sql).rows or ()
        away.entries.clear()
        rows = [C if first == A else A]
    away.saw(sql, rows)
    differs(away, text or "a row read from item has changed")


def test_the_last_digits_of_a_sum(away: Away) -> None:
    (row,) = away.run("SELECT SUM(score), AVG(score) FROM other").rows or ()
    sql = "SELECT SUM(score), AVG(score) FROM other"
    away.saw(sql, [(math.nextafter(row[0], 0), row[1])])
    away.replay()
    away.second.query(b"ROLLBACK")
    away.saw(sql, [(row[0] + 1e-9, row[1])])
    differs(away, "a row read from other has changed")


def test_the_last_digit_of_a_float_that_is_stored(away: Away) -> None:
    sql = "SELECT id, score, rate FROM other WHERE id = 10"
    away.run("UPDATE other SET rate = 0.1")
    (row,) = away.run(sql).rows or ()
    away.replay()
    away.second.query(b"ROLLBACK")
    away.saw(sql, [(row[0], math.nextafter(row[1], 0), row[2])])
    differs(away, "a row read from other has changed")


def test_a_second_look_is_made_in_the_same_state(away: Away) -> None:
    """Before the writes that come behind it, and after those that come ahead."""
    away.run("UPDATE item SET name = CONCAT(name, '!')")
    away.saw(f"{BY_N} LIMIT 1", [(3, "c!")])
    away.run("UPDATE item SET n = 9 WHERE id = 3")
    away.replay()


def test_a_second_look_takes_no_longer_than_it_may(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not decided by then is a difference, if other rows were seen."""
    sql = "SELECT id, SLEEP(0.4) FROM item ORDER BY n LIMIT 1"
    monkeypatch.setattr("galera_router.recovery.compare.LOOK_SECONDS", 1)
    away.saw(sql, [(3, 0)] if (away.run(sql).rows or ((0,),))[0][0] == 1 else [(1, 0)])
    differs(away, "a row read from item has changed")

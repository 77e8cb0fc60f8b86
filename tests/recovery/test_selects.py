"""What a SELECT sorts by, and the statement that asks for the rank of each row."""

from __future__ import annotations

import pytest

from galera_router.recovery.selects import parse, ranked, sort_columns


def columns(sql: str, *names: str) -> list[int] | None:
    select = parse(sql.encode())
    assert select is not None
    return sort_columns(select, names)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT `t`.`id`, `t`.`name` FROM `t` ORDER BY `t`.`name` ASC, 1 DESC", [1, 0]),
        ("SELECT t.id, name FROM t ORDER BY ID", [0]),
        ("SELECT UPPER(name) AS name, id FROM t ORDER BY name", [0]),
        ("SELECT UPPER(name) AS name, id FROM t ORDER BY t.name", None),
        ("SELECT LENGTH( name ), id FROM t ORDER BY length(`name`) DESC LIMIT 3", [0]),
        ("SELECT COUNT(*) n, a FROM t GROUP BY a ORDER BY n", [0]),
        ("SELECT id FROM t ORDER BY name", None),
        ("SELECT id FROM t ORDER BY id, name", None),
        ("SELECT id FROM t ORDER BY id, RAND()", [0]),
        ("SELECT id FROM t", []),
        ("SELECT id FROM t USE INDEX FOR ORDER BY (x) ORDER BY id", [0]),
        ("(SELECT id FROM t) UNION (SELECT id FROM u ORDER BY x LIMIT 1) ORDER BY (1) ASC", [0]),
        ("SELECT a, 'ORDER BY b' FROM t WHERE a IN (SELECT x FROM u ORDER BY y) ORDER BY a", [0]),
        ("SELECT CASE WHEN a THEN 1 ELSE 2 END FROM t ORDER BY 1", [0]),
        ("SELECT DISTINCT a, b FROM t ORDER BY b FOR UPDATE", [1]),
    ],
)
def test_the_columns_that_are_sorted_by(sql: str, expected: list[int] | None) -> None:
    assert columns(sql) == expected


def test_by_the_names_of_the_answer() -> None:
    assert columns("SELECT * FROM t ORDER BY t.b", "a", "B") == [1]
    assert columns("SELECT * FROM t, u ORDER BY b", "b", "b") is None
    assert columns("SELECT t.*, 1 FROM t ORDER BY b", "b", "1") is None


@pytest.mark.parametrize(
    ("tail", "limit", "offset", "locking"),
    [
        ("", None, 0, False),
        ("LIMIT 5", 5, 0, False),
        ("LIMIT 5 OFFSET 3", 5, 3, False),
        ("LIMIT 3, 5", 5, 3, False),
        ("ORDER BY a LIMIT 5 FOR UPDATE", 5, 0, True),
        ("ORDER BY a FOR UPDATE SKIP LOCKED", None, 0, True),
        ("LIMIT 1 LOCK IN SHARE MODE", 1, 0, True),
        (";", None, 0, False),
    ],
)
def test_the_tail(tail: str, limit: int | None, offset: int, locking: bool) -> None:
    select = parse(f"SELECT a FROM t {tail}".encode())
    assert select is not None
    assert (select.limit, select.offset, select.locking) == (limit, offset, locking)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE t SET a = 1",
        "SELECT a INTO @x FROM t",
        "SELECT /*! 1 */ a FROM t",
        "SELECT a FROM t LIMIT",
        "SELECT a FROM t LIMIT %s",
        "SELECT a FROM t ORDER BY a FETCH FIRST 3 ROWS ONLY",
        "",
    ],
)
def test_what_is_not_understood(sql: str) -> None:
    assert parse(sql.encode()) is None


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "SELECT t.id, UPPER(x) AS name FROM t WHERE a > 1"
            " ORDER BY name DESC, t.b, 1 LIMIT 5 -- c",
            "SELECT t.id, UPPER(x) AS name, DENSE_RANK() OVER (ORDER BY UPPER(x) DESC, t.b, t.id)"
            " FROM t WHERE a > 1 ORDER BY 3 LIMIT 9",
        ),
        (
            "SELECT a, b FROM t LIMIT 5",
            "SELECT a, b, DENSE_RANK() OVER (ORDER BY NULL) FROM t ORDER BY 3 LIMIT 9",
        ),
        (
            "(SELECT a, b FROM t) UNION (SELECT a, b FROM u) ORDER BY (2) DESC LIMIT 1",
            "SELECT q.*, DENSE_RANK() OVER (ORDER BY `b` DESC) FROM ((SELECT a, b FROM t) UNION"
            " (SELECT a, b FROM u)\n) AS q ORDER BY 3 LIMIT 9",
        ),
        ("SELECT DISTINCT a, b FROM t ORDER BY c LIMIT 1", None),
        ("SELECT * FROM t JOIN u ORDER BY 3 LIMIT 1", None),
    ],
)
def test_the_rank_of_each_row(sql: str, expected: str | None) -> None:
    select = parse(sql.encode())
    assert select is not None
    found = ranked(select, 2, ("a", "b"), 9)
    assert (found and found.decode()) == expected

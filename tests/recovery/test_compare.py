"""What the application could notice, without a server."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galera_router.recovery.compare import (
    LOOK_ROWS,
    Difference,
    Kind,
    Look,
    compare,
    difference,
)
from galera_router.recovery.journal import Answer, Entry
from tests.recovery.support import ROWS

NEXT = math.nextafter


def answer(rows: Any, *names: str) -> Answer:
    return Answer(rows, len(rows), 0, tuple((name,) for name in names))


def kind(entry: Entry, other: Answer, **options: Any) -> Kind | None:
    found = compare(entry, other, **options)
    assert not isinstance(found, Look)
    return found.kind if found is not None else None


def unordered(mine: Any, other: Any) -> Kind | None:
    return kind(Entry(b"SELECT SUM(a), SUM(b) FROM t GROUP BY c", answer(mine)), answer(other))


@given(ROWS, st.randoms())
def test_without_an_order_any_order_is_the_same_answer(rows: Any, rng: Any) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert unordered(rows, tuple(shuffled)) is None


@given(ROWS, ROWS)
def test_other_rows_are_another_answer(one: Any, two: Any) -> None:
    assert (unordered(one, two) is None) == (Counter(one) == Counter(two))


@pytest.mark.parametrize(
    ("mine", "other", "expected"),
    [
        (((1,),), ((2,),), Kind.CHANGED),
        (((1,),), ((1,), (1,)), Kind.APPEARED),
        (((1,), (2,)), ((2,),), Kind.GONE),
        (((None,),), ((0,),), Kind.CHANGED),
        (((-1,),), ((-2,),), Kind.CHANGED),
        ((({"a"},), (set(),)), ((set(),), ({"a"},)), None),
        (({"a": 1}, {"a": 2}), ({"a": 2}, {"a": 1}), None),
        (({"a": 1},), ({"a": 2},), Kind.CHANGED),
    ],
)
def test_what_differs(mine: Any, other: Any, expected: Kind | None) -> None:
    assert unordered(mine, other) is expected


@pytest.mark.parametrize(
    ("mine", "other", "same"),
    [
        (0.1 + 0.2, 0.3, True),
        (1.0, 1.0 + 1e-9, False),
        (1e300, NEXT(1e300, 0), True),
        (0.0, 1e-300, False),
        (float("nan"), float("nan"), True),
        (float("nan"), 1.0, False),
        (Decimal("0.10"), Decimal("0.11"), False),
        (10**15, 10**15 + 1, False),
        ("0.30000000000000004", "0.3", False),
        (None, 0.0, False),
    ],
)
def test_only_the_last_digits_of_a_float_may_differ(mine: Any, other: Any, same: bool) -> None:
    assert (unordered(((mine,),), ((other,),)) is None) is same
    rows, reordered = ((1, mine), (2, None)), ((2, None), (1, other))
    assert (unordered(rows, reordered) is None) is same


@given(st.lists(st.floats(1, 10), max_size=5), st.randoms())
def test_floats_in_another_order(values: list[float], rng: Any) -> None:
    other = [(rng.choice([value, NEXT(value, 0), NEXT(value, 99)]),) for value in values]
    rng.shuffle(other)
    assert unordered(tuple((value,) for value in values), tuple(other)) is None


@pytest.mark.parametrize(
    ("sql", "rowcount", "key", "matters", "expected"),
    [
        (b"INSERT INTO t", 1, 7, True, None),
        (b"INSERT INTO t", 1, 8, True, Kind.KEY),
        (b"INSERT INTO t", 1, 0, True, Kind.KEY),
        (b"INSERT INTO t", 1, 8, False, None),
        (b"INSERT INTO t", 2, 7, False, Kind.COUNT),
    ],
)
def test_counts_and_keys(
    sql: bytes, rowcount: int, key: int, matters: bool, expected: Kind | None
) -> None:
    entry = Entry(sql, Answer(None, 1, 7), insert=True)
    assert kind(entry, Answer(None, rowcount, key), key_matters=matters) is expected


def test_rows_where_there_were_none() -> None:
    assert kind(Entry(b"SELECT a FROM t", Answer(None, 1, 0)), answer(((1,),))) is Kind.APPEARED


def test_digests_are_compared_in_any_order() -> None:
    entry = Entry(b"SELECT a FROM t ORDER BY a", answer(((1,), (2,))), ordered=True)
    entry.forget_rows()
    assert kind(entry, answer(((2,), (1,)))) is None
    assert kind(entry, answer(((2,), (2,)))) is Kind.CHANGED


def test_a_difference_names_the_table_and_no_value() -> None:
    assert difference(b"SELECT a FROM shop_book WHERE a = 'secret'", Kind.GONE) == Difference(
        "shop_book", Kind.GONE, "a row read from shop_book has gone"
    )
    assert difference(b"UPDATE t SET a = 1", Kind.FAILS, 1062).text == (
        "a statement on t now fails with error 1062"
    )
    assert difference(b"SELECT 1", Kind.CHANGED).text == "a row read from a table has changed"


# --- ORDER BY and LIMIT ---------------------------------------------------------------------


def ordered(sql: str, mine: Any, other: Any, *names: str) -> Difference | Look | None:
    entry = Entry(sql.encode(), answer(mine, *(names or ("a", "b"))), ordered=True)
    return compare(entry, answer(other))


def test_rows_that_tie_may_change_places() -> None:
    mine, other = ((1, "x"), (1, "y"), (2, "z")), ((1, "y"), (1, "x"), (2, "z"))
    assert ordered("SELECT a, b FROM t ORDER BY a", mine, other) is None
    # Two texts may be equal to the server.
    assert ordered("SELECT a, b FROM t ORDER BY b", mine, other) is None


def test_where_the_keys_cannot_be_seen_the_server_is_asked() -> None:
    mine, other = ((1, "x"), (2, "y")), ((2, "y"), (1, "x"))
    look = ordered("SELECT a, b FROM t ORDER BY c", mine, other)
    assert isinstance(look, Look)
    assert b"DENSE_RANK() OVER (ORDER BY c)" in look.statement
    assert look.undecided is None
    assert look.judge(((2, "y", 1), (1, "x", 1))) is None
    found = look.judge(((2, "y", 1), (1, "x", 2)))
    assert found is not None
    assert found.kind is Kind.ORDER


def test_floats_in_the_same_order_need_no_second_look() -> None:
    mine, other = ((0.1 + 0.2, "x"), (1.0, "y")), ((0.3, "x"), (1.0, "y"))
    assert ordered("SELECT SUM(a), b FROM t GROUP BY b ORDER BY c", mine, other) is None


MOMENT = 1_732_770_000.12  # as time.time() gives it
LATER = MOMENT + 0.001


@pytest.mark.parametrize("reordered", [False, True])
@pytest.mark.parametrize(
    ("sql", "same"),
    [
        ("SELECT `t`.`a`, `t`.`b` FROM `t`", False),
        ("SELECT a AS x, b y FROM t LEFT JOIN u USING (c) WHERE a IN (SELECT 1)", False),
        ("SELECT * FROM t", False),
        ("SELECT t.* FROM t", False),
        ("SELECT *, b FROM t", False),
        ("SELECT a, (b) FROM t", True),
        ("SELECT a, SUM(b) FROM t GROUP BY a", True),
        ("SELECT a, b + 0 FROM t", True),
        ("SELECT a, b FROM (SELECT a, SUM(c) AS b FROM t GROUP BY a) AS q", True),
        ("SELECT a, b FROM u JOIN (SELECT a, SUM(c) AS b FROM t GROUP BY a) AS q", True),
        ("WITH q AS (SELECT a, SUM(c) AS b FROM t GROUP BY a) SELECT a, b FROM q", True),
        ("SELECT a, b FROM t UNION SELECT a, SUM(b) FROM u", True),
        ("SELECT t.*, u.* FROM t, u", True),
    ],
)
def test_a_float_that_is_stored_is_the_same_to_the_last_digit(
    sql: str, same: bool, reordered: bool
) -> None:
    """What is added up may differ in those that it has not got at all."""
    rows = ((1, MOMENT), (2, None))
    other: Any = ((1, LATER), (2, None))[:: -1 if reordered else 1]
    found = kind(Entry(sql.encode(), answer(rows)), answer(other))
    assert found is (None if same else Kind.CHANGED)


def test_a_second_look_at_floats_that_are_stored() -> None:
    sql = "SELECT a, b FROM t ORDER BY c LIMIT 1"
    look = ordered(sql, ((1, MOMENT),), ((2, 1.0),))
    assert isinstance(look, Look)
    assert look.judge(((2, 1.0, 1), (1, MOMENT, 1))) is None
    found = look.judge(((2, 1.0, 1), (1, LATER, 1)))
    assert found is not None
    assert found.kind is Kind.CHANGED


def test_where_it_cannot_be_asked_the_same_rows_are_the_same_answer() -> None:
    mine, other = ((1, "x"), (2, "y")), ((2, "y"), (1, "x"))
    assert ordered("SELECT DISTINCT a, b FROM t ORDER BY c", mine, other) is None
    assert ordered("SELECT /*! */ a, b FROM t ORDER BY c", mine, other) is None


def test_a_limit_may_cut_a_tie_elsewhere() -> None:
    mine, other = ((1, "x"), (2, "y")), ((1, "x"), (2, "z"))
    sql = "SELECT a, b FROM t ORDER BY a LIMIT 2"
    look = ordered(sql, mine, other)
    assert isinstance(look, Look)
    assert look.judge(((1, "x", 1), (2, "z", 2), (2, "y", 2))) is None
    for rows in (
        ((1, "x", 1), (2, "z", 2)),  # it has gone
        ((1, "x", 1), (2, "z", 2), (3, "y", 3)),  # it has another key
        ((0, "w", 1), (1, "x", 2), (2, "y", 3), (2, "z", 3)),  # another one comes first
    ):
        found = look.judge(rows)
        assert found is not None
        assert found.kind is Kind.CHANGED


def test_a_large_table_is_not_asked_where_the_keys_tell() -> None:
    sql = "SELECT a, b FROM t ORDER BY a DESC LIMIT 2"
    found = ordered(sql, ((2, "x"), (1, "y")), ((3, "z"), (2, "x")))
    assert isinstance(found, Difference)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a, b FROM t ORDER BY a",
        "SELECT a, b FROM t ORDER BY a LIMIT 3",  # that nothing was cut off by
        "SELECT a, b FROM t ORDER BY a LIMIT 2 FOR UPDATE",
        "SELECT a, b FROM (SELECT 1 FROM u LIMIT 2) q ORDER BY a",
    ],
)
def test_other_rows_without_a_limit_or_with_a_lock(sql: str) -> None:
    found = ordered(sql, ((1, "x"), (2, "y")), ((1, "x"), (2, "z")))
    assert isinstance(found, Difference)


RANKED = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=5)


@given(RANKED, st.data())
def test_a_second_look_is_exact(ranks: list[tuple[int, int]], data: Any) -> None:
    """What may have been given is compared with every answer that the server could give."""
    table = sorted(ranks, key=lambda row: row[1])
    offset = data.draw(st.integers(0, 3))
    limit = data.draw(st.one_of(st.none(), st.integers(0, 4)))
    size = data.draw(st.integers(0, 5)) if limit is None else data.draw(st.integers(0, limit))
    seen = tuple((data.draw(st.integers(0, 2)),) for _ in range(size))
    end = None if limit is None else offset + limit
    possible = {
        tuple((value,) for value, _ in order[offset:end])
        for order in itertools.permutations(table)
        if list(order) == sorted(order, key=lambda row: row[1])
    }
    found = difference(b"SELECT a FROM t", Kind.CHANGED)
    whole = limit is None or size < limit
    look = Look(b"", seen, offset, whole, offset + size + LOOK_ROWS, found, found)
    if offset and not seen and whole and len(table) < offset:
        return  # nothing is there to be seen: nothing is asked
    assert (look.judge(tuple(table)) is None) == (seen in possible)


def test_what_is_beyond_the_bound_cannot_be_told() -> None:
    found, undecided = (difference(b"", kind) for kind in (Kind.CHANGED, Kind.GONE))
    look = Look(b"", ((1,), (2,)), 0, False, 3, found, undecided)
    assert look.judge(((1, 1), (3, 2), (4, 2))) is undecided
    assert look.judge(((3, 1), (1, 2), (2, 2))) is found
    assert look.judge(((1, 1), (3, 1), (2, 1))) is None


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (b"SELECT NOW()", None),
        (b"select now(6), /* x */ Rand();", None),
        (b"SELECT CURRENT_TIMESTAMP, UTC_DATE", None),
        (b"SELECT NOW(), a", Kind.CHANGED),
        (b"SELECT NOW() FROM t", Kind.CHANGED),
        (b"SELECT f()", Kind.CHANGED),
        (b"SELECT NOW(), (SELECT 1 FROM t)", Kind.CHANGED),
        (b"SELECT NOW(), 'a'", Kind.CHANGED),
        (b"SELECT NOW(), `a`", Kind.CHANGED),
        (b"CALL NOW()", Kind.CHANGED),
    ],
)
def test_the_time_alone_is_no_data(statement: bytes, expected: Kind | None) -> None:
    """Nobody has changed it."""
    assert kind(Entry(statement, answer(((1,),))), answer(((2,),))) is expected

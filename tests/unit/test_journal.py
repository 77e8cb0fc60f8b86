"""Recording and comparing, without a server."""

from __future__ import annotations

import datetime
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galera_router.recovery import journal as module
from galera_router.recovery.journal import Answer, Entry, Journal, digest, same_rows

VALUES = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
    st.datetimes(),
)
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=6).map(tuple)


@given(ROWS, st.randoms())
def test_without_an_order_any_order_is_the_same_answer(rows: Any, rng: Any) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert same_rows(rows, tuple(shuffled), ordered=False)
    assert same_rows(rows, tuple(shuffled), ordered=True) == (rows == tuple(shuffled))


@given(ROWS, ROWS)
def test_other_rows_are_another_answer(one: Any, two: Any) -> None:
    assert same_rows(one, two, ordered=True) == (one == two)
    assert same_rows(one, two, ordered=False) == (Counter(one) == Counter(two))


@given(ROWS, ROWS)
def test_digests_tell_apart_what_equality_tells_apart(one: Any, two: Any) -> None:
    if one == two and repr(one) == repr(two):
        assert digest(one) == digest(two)
    if one != two:
        assert digest(one) != digest(two)


def test_a_digest_does_not_depend_on_object_identity() -> None:
    text = "".join(["a", "b"])
    assert digest(((text, text),)) == digest((("".join(["a", "b"]), "ab"),))
    assert digest(((-1,),)) != digest(((-2,),))


def test_rows_of_dicts_are_compared_too() -> None:
    assert same_rows([{"a": 1}, {"a": 2}], [{"a": 2}, {"a": 1}], ordered=False)
    assert not same_rows([{"a": 1}], [{"a": 2}], ordered=False)


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        (Answer(((1,),), 1, 0), True),
        (Answer(((2,),), 1, 0), False),
        (Answer(((1,),), 2, 0), False),
        (Answer(((1,),), 1, 7), True),  # a leftover of the insert before it
        (Answer(None, 1, 0), False),
    ],
)
@pytest.mark.parametrize("forgotten", [True, False])
def test_rows_counts_and_keys_are_compared(answer: Answer, same: bool, forgotten: bool) -> None:
    entry = Entry(b"SELECT 1", Answer(((1,),), 1, None))
    if forgotten:
        entry.forget_rows()
        assert entry.answer is not None
        assert entry.answer.rows is None
    assert entry.same(answer) is same


@pytest.mark.parametrize(("key", "same"), [(7, True), (8, False), (0, False)])
def test_the_key_of_an_insert_is_compared(key: int, same: bool) -> None:
    assert Entry(b"INSERT", Answer(None, 1, 7)).same(Answer(None, 1, key)) is same


def read(n: int = 1) -> Entry:
    row = (Decimal(n), datetime.date(2020, 1, 1))
    return Entry(b"SELECT", Answer((row,), 1, 0))


def test_rows_beyond_the_bound_are_kept_as_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_KEPT", 2)
    journal = Journal()
    for n in range(4):
        journal.append(read(n))
    assert [entry.digest is not None for entry in journal] == [False, False, True, True]


def test_reads_beyond_the_limit_stay_as_digests_and_writes_do_not() -> None:
    journal = Journal()
    for n in range(3):
        journal.append_read(read(n), limit=2)
    assert journal.full
    assert [entry.digest is not None for entry in journal] == [False, False, True]
    journal.append_write(read(), limit=2)
    assert len(journal) == 0
    journal.clear()
    assert not journal.full


def test_of_savepoints_only_the_open_ones_are_kept() -> None:
    journal = Journal()
    journal.append(read())
    for name in ("a", "b", "c"):
        journal.savepoint(name, f"SAVEPOINT {name}".encode())
    journal.append(read())
    journal.rollback_to("b")
    assert [entry.savepoint for entry in journal] == [None, "a", "b", None]
    journal.release("a")
    assert [entry.savepoint for entry in journal] == [None, None]
    journal.release("unknown")
    assert len(journal) == 2


def test_the_first_obstacle_is_the_one_told() -> None:
    journal = Journal()
    journal.prevent("one")
    journal.prevent("two")
    assert journal.obstacle == "one"

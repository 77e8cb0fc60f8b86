"""Recording, without a server."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galera_router.recovery import journal as module
from galera_router.recovery.journal import Answer, Entry, Journal, digest
from tests.recovery.support import ROWS


@given(ROWS, ROWS)
def test_digests_tell_apart_what_equality_tells_apart(one: Any, two: Any) -> None:
    assert (digest(one) == digest(two)) == (sorted(map(repr, one)) == sorted(map(repr, two)))


@given(ROWS, st.randoms())
def test_a_digest_does_not_depend_on_the_order(rows: Any, rng: Any) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert digest(rows) == digest(shuffled)


def test_a_digest_does_not_depend_on_object_identity() -> None:
    text = "".join(["a", "b"])
    assert digest(((text, text),)) == digest((("".join(["a", "b"]), "ab"),))
    assert digest(((-1,),)) != digest(((-2,),))
    assert digest((("a\n('b',)",),)) != digest((("a",), ("b",)))


def test_a_digest_is_of_values_alone() -> None:
    assert digest(({"a": 1, "b": 2},)) == digest(((1, 2),))


def read(n: int = 1) -> Entry:
    row = (Decimal(n), datetime.date(2020, 1, 1))
    return Entry(b"SELECT", Answer((row,), 1, 0))


def test_rows_beyond_the_bound_are_kept_as_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_KEPT", 2)
    journal = Journal()
    for n in range(4):
        journal.append(read(n))
    found = digested(journal)
    assert found == [False, False, True, False], "the cursor may hold the last ones as well"


def wide(n: int = 1) -> Entry:
    """A read of ``n`` rows, the widest of which has 30 bytes."""
    columns = (("a", 3, 10, 20, 20, 0, 0), ("b", 252, 20, -1, -1, 0, 0))
    return Entry(b"SELECT", Answer(((1, "x" * 20),) * n, n, 0, columns))


def test_so_are_bytes_beyond_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES_KEPT", 100)
    journal = Journal()
    for n in (1, 2, 0, 1, 1):
        journal.append_read(wide(n), limit=9)
    assert journal.size == 150
    assert digested(journal) == [False, False, False, True, False]
    journal.clear()
    assert journal.size == 0


def test_statements_that_are_large_together_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITTEN_KEPT", 20)
    journal = Journal()
    for _ in range(2):
        journal.append_write(Entry(b"INSERT 890", Answer(None, 1, 1), insert=True), limit=9)
    assert (len(journal), journal.obstacle) == (2, None)
    journal.append_write(Entry(b"UPDATE", Answer(None, 1, 0)), limit=9)
    assert (len(journal), journal.obstacle) == (0, module.TOO_LARGE)
    journal.clear()
    assert (journal.written, journal.obstacle) == (0, None)


def digested(journal: Journal) -> list[bool]:
    return [entry.digest is not None for entry in journal]


def test_one_large_answer_is_no_digest_until_another_statement_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ROWS_KEPT", 2)
    journal = Journal()
    journal.append(Entry(b"SELECT", Answer(((1,),) * 3, 3, 0)))
    assert digested(journal) == [False]
    journal.append(read())
    assert digested(journal) == [True, False]
    journal.clear()
    journal.append(read())
    assert digested(journal) == [False]


def test_what_an_insert_returns_is_kept() -> None:
    entry = Entry(b"INSERT", Answer(((1,),), 1, 1), insert=True)
    entry.forget_rows()
    assert entry.digest is None
    assert not entry.read_only


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


def test_of_savepoints_of_one_name_only_the_last_is_kept() -> None:
    journal = Journal()
    for name in ("a", "b", "a"):
        journal.savepoint(name, f"SAVEPOINT {name}".encode())
        journal.append(read())
    assert journal.savepoints() == ["b", "a"]
    assert len(journal) == 5, "what was read stays"
    journal.release("a")
    assert journal.savepoints() == ["b"]


def test_the_first_obstacle_is_the_one_told() -> None:
    journal = Journal()
    journal.prevent("one")
    journal.prevent("two")
    assert journal.obstacle == "one"

"""The checker finds each thing that can be wrong, and nothing where all is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.books import Books, Row
from tests.chaos.checks import complaints, differences, wrong_answers
from tests.chaos.config import ACCOUNTS, OPENING, TOTAL
from tests.chaos.ledger import Operation

MOVED = Operation(
    "t1",
    "transfer",
    0.0,
    (("transfer", "t1"), ("change", "t1/out"), ("change", "t1/in")),
    end=1.0,
    told="done",
    keys={"transfer t1": 4},
)
COUNTED = Operation("c1", "count", 0.0, (("change", "c1"),), end=1.0, told="done")
EDITED = Operation("p1", "edit with a lock", 0.0, (("change", "p1"),), end=1.0, told="done")
INSERTED = Operation(
    "e1",
    "insert",
    0.0,
    (("entry", "e1/1"), ("entry", "e1/2")),
    end=1.0,
    told="done",
    keys={"entry e1/1": 1, "entry e1/2": 2},
)
RAISED = Operation(
    "r1", "count", 0.0, (("change", "r1"),), end=1.0, told="raised", error="KeyError: 1"
)
OPERATIONS = [MOVED, COUNTED, EDITED, INSERTED, RAISED]

TABLES: dict[str, tuple[Row, ...]] = {
    "account": (
        (1, OPENING - 5, "t1/out"),
        (2, OPENING + 5, "t1/in"),
        *((key, OPENING, "") for key in range(3, ACCOUNTS + 1)),
    ),
    "transfer": ((4, "t1", 1, 2, 5),),
    "entry": ((1, "e1/1", ""), (2, "e1/2", "")),
    "counter": ((1, 1, "c1"), (2, 0, "")),
    "page": ((1, 1, "p1"),),
    "change": (
        (1, "counter", 1, "c1", 0, 1),
        (2, "page", 1, "p1", 0, 1),
        (4, "account", 1, "t1/out", OPENING, OPENING - 5),
        (5, "account", 2, "t1/in", OPENING, OPENING + 5),
    ),
    "floor": ((1, 100),),
}


def books(**tables: tuple[Row, ...]) -> Books:
    return Books({**TABLES, **tables})


def test_nothing_is_wrong() -> None:
    """Right books have no complaints, and equal ones no differences."""
    assert complaints(books(), OPERATIONS) == []
    assert wrong_answers(OPERATIONS) == []
    assert differences({"db1": books(), "db2": books(), "db3": books()}) == []


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"entry": TABLES["entry"][:1]}, "lost: insert e1"),
        ({"entry": (*TABLES["entry"], (3, "e1/2", ""))}, "doubled: insert e1"),
        ({"entry": ((9, "e1/1", ""), (2, "e1/2", ""))}, "another key: entry e1/1 has 9"),
        ({"entry": (*TABLES["entry"], (3, "e1/undone", ""))}, "entry e1/undone is there 1 times"),
        ({"transfer": ()}, "lost: transfer t1"),
        ({"transfer": ()}, "account 1 holds 999995, its transfers say 1000000"),
        ({"account": ((1, OPENING, ""), *TABLES["account"][1:])}, f"hold {TOTAL + 5} together"),
        ({"counter": ((1, 2, "c1"), (2, 0, ""))}, "lost update: counter 1 from 2, by nobody"),
        (
            {"change": (*TABLES["change"], (3, "counter", 1, "c1", 1, 2))},
            "doubled: count c1, done is there 2 times",
        ),
        (
            {"change": (*TABLES["change"], (3, "counter", 2, "r1", 0, 1))},
            "raised, and yet there: count r1, raised (KeyError: 1)",
        ),
        (
            {"change": (*TABLES["change"], (3, "page", 1, "p2", 0, 1))},
            "lost update: page 1 from 0, by p1 and p2",
        ),
        (
            {"change": (*TABLES["change"][:1], (2, "page", 1, "p1", 0, 2), *TABLES["change"][2:])},
            "lost update: page 1, p1 changed it from 0 to 2, not by 1",
        ),
        (
            {
                "change": (
                    *TABLES["change"][:2],
                    (4, "account", 1, "t1/out", OPENING + 7, OPENING - 5),
                    TABLES["change"][3],
                )
            },
            f"account 1, t1/out changed it from {OPENING + 7} to {OPENING - 5}, not by -5",
        ),
        (
            {"change": (*TABLES["change"][:1], (2, "page", 1, "p1", 0, 2), *TABLES["change"][2:])},
            "lost update: page 1 was left at 2, and nobody went on",
        ),
        (
            {"account": (*TABLES["account"][:-1], (ACCOUNTS, OPENING - 1, ""))},
            f"lost update: account {ACCOUNTS} from {OPENING - 1}, by nobody",
        ),
    ],
)
def test_each_fault_of_the_books_is_found(tables: dict[str, Any], words: str) -> None:
    """One wrong row is enough."""
    assert any(words in one for one in complaints(books(**tables), OPERATIONS))


@pytest.mark.parametrize("told", ["doubt", "unheard"])
@pytest.mark.parametrize(
    ("change", "where"), [(TABLES["change"], "is there"), ((), "is not there")]
)
def test_doubt_is_a_fault_either_way(told: Any, change: tuple[Row, ...], where: str) -> None:
    """Whether or not it was carried out, and the complaint says which."""
    found = complaints(books(change=change), [replace(COUNTED, told=told)])
    assert any("in doubt: count c1" in one and where in one for one in found)


def test_a_key_told_twice() -> None:
    """Two clients cannot both have it."""
    other = replace(INSERTED, token="e2", expect=(), keys={"entry e2": 1})
    found = complaints(books(), [*OPERATIONS, other])
    assert found == ["one key twice: 1 was told for entry e1/1 and for entry e2"]


def test_a_wrong_answer() -> None:
    """What a client has found wrong by itself."""
    wrong = replace(MOVED, told="wrong", error="WrongAnswer: sum: 1, not 2")
    assert wrong_answers([wrong]) == [
        "wrong answer: transfer t1, wrong (WrongAnswer: sum: 1, not 2)"
    ]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (books(entry=TABLES["entry"][:1]), "entry on db1 and db2: 2 and 1 rows"),
        (books(counter=((1, 7, "c1"), (2, 0, ""))), "first difference (1, 1, 'c1')"),
        (books(galera_router_marker=((1,),)), "galera_router_marker"),
    ],
)
def test_nodes_that_differ(other: Books, words: str) -> None:
    """In rows, in values, in tables."""
    (found,) = differences({"db1": books(), "db2": other})
    assert words in found

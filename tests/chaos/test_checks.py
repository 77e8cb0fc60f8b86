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
FILLED = Operation(
    "b1",
    "basket",
    0.0,
    (("basket", "b1"), ("item", "b1/0"), ("link", "b1/7")),
    end=1.0,
    told="done",
    keys={"basket b1": 1, "item b1/0": 1},
)
EMPTIED = Operation(
    "b2", "m2m set", 2.0, (("link", "b1/8"),), end=3.0, told="done", removes=(("link", "b1/7"),)
)
FIRST = Operation(
    "n1",
    "unique race",
    0.0,
    end=1.0,
    told="done",
    may=(("name", "n1"),),
    won=(("name", "n1"),),
    keys={"name n1": 1},
)
SECOND = Operation("n2", "unique race", 0.0, end=1.0, told="done", may=(("name", "n2"),))
TALLIED = Operation("u1", "upsert", 0.0, (("change", "u1"),), end=1.0, told="done")
OWN = Operation("k1", "own key", 0.0, (("card", "k1"),), end=1.0, told="done")
TOOK = Operation(
    "w1",
    "skip locked",
    0.0,
    (("task", "w1"),),
    end=1.0,
    told="done",
    may=(("taken", "w1"),),
    won=(("taken", "w1"),),
)
SOLD = Operation(
    "s1", "one ticket", 0.0, end=1.0, told="done", may=(("sale", "s1"),), won=(("sale", "s1"),)
)
LARGE = Operation("l1", "large row", 0.0, (("paper", "l1"),), end=1.0, told="done")
OPERATIONS = [
    MOVED, COUNTED, EDITED, INSERTED, RAISED, FILLED, EMPTIED, FIRST, SECOND, TALLIED, OWN, TOOK,
    SOLD, LARGE,
]  # fmt: skip

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
        (6, "tally", 1, "u1", 0, 1),
    ),
    "basket": ((1, "b1"),),
    "item": ((1, "b1/0", 1),),
    "link": ((2, "b1/8"),),
    "name": ((1, "n1", "n"),),
    "tally": ((1, 1, "tally 1", "u1"),),
    "card": (("k1", "k1", ""),),
    "task": ((1, "w1", "w1"),),
    "taken": ((1, "w1"),),
    "sale": ((1, "s1", 5),),
    "paper": ((1, "l1", 1),),
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
                    *TABLES["change"][3:],
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
        ({"basket": ()}, "lost: basket b1"),
        ({"item": ()}, "lost: basket b1"),
        ({"link": ()}, "lost: m2m set b2, done is not there (link)"),
        (
            {"link": ((1, "b1/7"), *TABLES["link"])},
            "lost: m2m set b2, done has not removed what it removes (link)",
        ),
        (
            {"link": ((1, "b1/7"), (2, "b1/7"), *TABLES["link"])},
            "doubled: what m2m set b2, done removes is there 2 times (link)",
        ),
        ({"link": (*TABLES["link"], (3, None))}, "doubled or undone: link None"),
        ({"name": ()}, "lost: unique race n1"),
        ({"name": ((1, "n2", "n"),)}, "not won, and yet there: unique race n2, done (name)"),
        ({"name": ((9, "n1", "n"),)}, "another key: name n1 has 9"),
        ({"tally": ((1, 2, "tally 1", "u1"),)}, "lost update: tally 1 from 2, by nobody"),
        ({"tally": ((1, 0, "tally 1", "u1"),)}, "lost update: tally 1 was left at 1"),
        ({"card": ()}, "lost: own key k1"),
        ({"taken": ()}, "lost: skip locked w1, done is not there (taken)"),
        ({"taken": ((1, "w2"),)}, "taken w2 is there 1 times, asked for by nobody"),
        ({"sale": ()}, "lost: one ticket s1"),
        ({"sale": ((1, "s1", 5), (2, "s2", 5))}, "sold twice: ticket 5 to s1 and s2"),
        ({"paper": ((1, "l1", 0),)}, "wrong row: paper l1"),
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


@pytest.mark.parametrize("told", ["raised", "conflict", "impossible"])
def test_what_was_undone_has_removed_nothing(told: Any) -> None:
    """What it was to remove must still be there, and what it was to leave must not."""
    undone = [FILLED, replace(EMPTIED, told=told)]
    assert complaints(_baskets((1, "b1/7")), undone) == []
    assert complaints(_baskets((2, "b1/8")), undone) == [
        f"raised, and yet removed: m2m set b2, {told} (link)",
        f"raised, and yet there: m2m set b2, {told} (link)",
    ]


def test_what_was_to_be_removed_is_in_doubt() -> None:
    """Either way it is a fault."""
    doubt = [FILLED, replace(EMPTIED, told="doubt", expect=())]
    for links, words in (([], "has removed"), ([(1, "b1/7")], "has not removed")):
        assert any(words in one for one in complaints(_baskets(*links), doubt))


@pytest.mark.parametrize("told", ["raised", "doubt"])
def test_a_race_that_ended_in_an_error(told: Any) -> None:
    """Who was told of an error has not won, as far as anybody knows."""
    found = complaints(_only(name=TABLES["name"]), [replace(FIRST, told=told, won=(), keys={})])
    assert len(found) == 1
    assert found[0].startswith("raised, and yet there" if told == "raised" else "in doubt")


def test_half_of_what_nobody_knows() -> None:
    """All of it may be there, or nothing."""
    unknown = replace(INSERTED, told="unknown", keys={})
    rows = TABLES["entry"]
    assert complaints(_only(entry=rows), [unknown]) == []
    assert complaints(_only(), [unknown]) == []
    assert complaints(_only(entry=rows[:1]), [unknown]) == ["half done: insert e1, unknown"]


def _only(**tables: Any) -> Books:
    """Books in which nothing has been done but what is given."""
    untouched = {"account": tuple((key, OPENING, "") for key in range(1, ACCOUNTS + 1))}
    return Books({**dict.fromkeys(TABLES, ()), **untouched, **tables})


def _baskets(*links: Row) -> Books:
    return _only(basket=TABLES["basket"], item=TABLES["item"], link=links)


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


@pytest.mark.parametrize("rows", [TABLES["entry"], ()])
def test_who_was_interrupted_was_told_nothing(rows: tuple[Row, ...]) -> None:
    """All of it is there, or none."""
    one = replace(INSERTED, told="interrupted", keys={}, atomic=True)
    assert complaints(_only(entry=rows), [one]) == []


def test_who_was_interrupted_has_done_half() -> None:
    """If it is one transaction, that is a complaint; and nothing may be there twice."""
    one = replace(INSERTED, told="interrupted", keys={}, atomic=True)
    rows = TABLES["entry"]
    assert complaints(_only(entry=rows[:1]), [one]) == [f"half done: {one}"]
    assert complaints(_only(entry=rows[:1]), [replace(one, atomic=False)]) == []
    (complaint,) = complaints(_only(entry=(*rows, (3, "e1/2", ""))), [one])
    assert complaint.startswith("doubled: insert e1")

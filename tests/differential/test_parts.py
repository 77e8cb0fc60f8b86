"""The parts of the comparison that need no server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.differential.acts import OPS
from tests.differential.compare import Difference, compare, compare_keys, compare_renamed, renamed
from tests.differential.examples import DIFFERING
from tests.differential.faulty import Point, told
from tests.differential.known import KNOWN
from tests.differential.language import Programme, Step
from tests.differential.rules import FaultRule, Rule, op, raised
from tests.differential.search import Search
from tests.differential.seeds import first_key, key_name, statements
from tests.differential.strategies import programmes

COUNT, FAIL = Step("count", ("Tag",)), Step("fail")
BLOCK = Programme((Step("atomic", (True, False), (COUNT, FAIL)), COUNT))


def answer(*events: Any, **more: Any) -> dict[str, Any]:
    return {"events": list(events), "runs": 1, "status": 0, **more}


def tables(stock: Any, *router: Any) -> dict[str, list[Any]]:
    return {"stock": [{"shop_tag": stock}], "router": [{"shop_tag": rows} for rows in router]}


NAMED = "FailoverImpossible"
SAME = tables([], [], [])
SEEN = ["0", "count", 2, False]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(programmes())
def test_a_programme_comes_back_from_json(programme: Programme) -> None:
    assert Programme.from_json(programme.to_json()) == programme
    assert len(programme.steps) >= 3
    assert all(step.op in OPS for step, _ in programme.walk())


def test_a_programme_reads_like_python() -> None:
    lines = str(BLOCK).splitlines()
    assert lines[1:] == [
        "with transaction.atomic(savepoint=True, durable=False):",
        "    Tag.objects.count()",
        "    raise ValueError",
        "Tag.objects.count()",
    ]


@pytest.mark.parametrize(
    ("stock", "router", "rows", "kind"),
    [
        (answer(SEEN), answer(SEEN), SAME, None),
        (answer(SEEN), answer(["0", "count", 3, False]), SAME, "seen"),
        (answer(SEEN), answer(["0", "count", 2, True]), SAME, "seen"),
        (answer(SEEN), answer(SEEN, ["0", "hook", "note", False]), SAME, "seen"),
        (answer(SEEN), answer(), SAME, "seen"),
        (answer(SEEN), answer(SEEN, runs=2), SAME, "runs"),
        (answer(SEEN), answer(SEEN, status=500), SAME, "status"),
        (answer(SEEN), {"hung": True}, SAME, "hung"),
        (answer(SEEN), answer(SEEN), tables([[1]], [], []), "tables"),
        (answer(SEEN), answer(SEEN), tables([], [], [[1]]), "nodes"),
    ],
)
def test_what_is_compared(stock: Any, router: Any, rows: Any, kind: str | None) -> None:
    """What was seen, how often it was run, the response, the tables, and those of each node."""
    difference = compare(stock, router, rows)
    assert (difference and difference.kind) == kind


def test_keys_are_known_by_their_order() -> None:
    """Seeded keys are what they are; new ones are counted as they appear, by table."""
    assert renamed(["shop_tag+1", "shop_tag+9", "shop_author+9", "shop_tag+5", "shop_tag+9"]) == [
        "shop_tag+1", "shop_tag#0", "shop_author#0", "shop_tag#1", "shop_tag#0"
    ]  # fmt: skip


@pytest.mark.parametrize(("other", "kind"), [("shop_tag+7", "keys"), ("shop_author+4", "seen")])
def test_a_difference_of_keys_alone_is_told_apart(other: str, kind: str) -> None:
    stock, router = (answer(["0", "create", key, False]) for key in ("shop_tag+4", other))
    difference = compare_keys(stock, router, SAME)
    assert difference is not None
    assert difference.kind == kind


def test_rows_whose_keys_nobody_was_told_may_come_later() -> None:
    """By their keys they are behind those that were told, in the order in which they were made."""
    seen = answer(["0", "bulk", ["shop_tag+6", "shop_tag+7"], False])
    stock, router = (
        [[key, name] for key, name in zip(keys, names, strict=True)]
        for keys, names in (
            (["shop_tag+4", "shop_tag+5", "shop_tag+6", "shop_tag+7"], "efmn"),
            (["shop_tag+6", "shop_tag+7", "shop_tag+8", "shop_tag+9"], "mnef"),
        )
    )
    assert compare_renamed(seen, seen, tables(stock, router)) is None
    assert compare_renamed(seen, seen, tables(stock, router[:3])) is not None


def test_keys_have_names() -> None:
    """Of the programme's own range alone."""
    key = first_key(3, "shop_tag")
    assert key_name(3, key + 1) == "shop_tag+1"
    assert (key_name(4, key), key_name(3, 5)) == (key, 5)
    assert f"({key}, 't0')" in "".join(statements(3, "s"))


RULE = Rule("X", "a test's own", op("fail"), raised("KeyError"))
OURS = Difference("seen", "0", "count", 1, {"raised": ["KeyError", None]})


def test_a_rule_takes_its_cause_out() -> None:
    """A statement goes, of a block its head; nothing if the cause or the sign is not there."""
    assert RULE.without(BLOCK, OURS) == Programme((Step("atomic", (True, False), (COUNT,)), COUNT))
    assert RULE.without(Programme((COUNT,)), OURS) is None
    assert RULE.without(BLOCK, Difference("seen", "0", "count", 1, 2)) is None


def test_a_rule_may_do_something_ahead_of_a_block() -> None:
    """What it names is then not the block, but that this has not been done; statements go."""
    rule = Rule("X", "a test's own", op("atomic", "fail"), raised("KeyError"), first=COUNT)
    block = Step("atomic", (True, False), (COUNT,))
    assert rule.without(BLOCK, OURS) == Programme((COUNT, block, COUNT))


def is_left(difference: Difference) -> bool:
    return difference.kind == "left"


def test_a_rule_for_faults_takes_the_fault_away() -> None:
    rule = FaultRule("X", "a test's own", lambda case: isinstance(case, Point), is_left)
    left = Difference("left", "", "read", 1, 2)
    assert rule.without(Point(BLOCK, 5), left) == Point(BLOCK, None)
    assert rule.without(BLOCK, left) is None


@pytest.mark.parametrize("fault", sorted({fault for fault, _ in DIFFERING.values()}))
def test_each_example_has_a_rule(fault: str) -> None:
    assert fault in {rule.name for rule in KNOWN}


def found_by(play: Any, known: tuple[Rule, ...] = ()) -> Search:
    search = Search(st.just(BLOCK), play, known=known, allowed=(), shrink=5)
    search.run(1, 1)
    return search


def test_a_difference_that_no_rule_explains_is_new() -> None:
    """The rule's cause is taken out, and the difference stays: it is of another cause."""
    report = found_by(lambda case: OURS, (RULE,)).report
    assert [found.difference for found in report.new.values()] == [OURS]
    assert not report.known


def test_a_difference_that_a_rule_explains_is_known() -> None:
    report = found_by(lambda case: OURS if "raise" in str(case) else None, (RULE,)).report
    assert (dict(report.known), report.new) == ({"X": 1}, {})


def test_behind_a_known_difference_there_may_be_a_new_one() -> None:
    other = Difference("tables", "shop_tag", "the rows", [], [1])
    search = found_by(lambda case: OURS if "raise" in str(case) else other, (RULE,))
    assert [found.difference for found in search.report.new.values()] == [other]


def test_what_does_not_come_again_is_not_new() -> None:
    answers = iter([OURS])
    report = found_by(lambda case: next(answers, None)).report
    assert (report.new, len(report.unsteady)) == ({}, 1)


@pytest.mark.parametrize(
    ("failed", "expected"),
    [([], None), ([[0, "OperationalError 2013"]], None), ([[0, NAMED], [1, "x"]], NAMED)],
)
def test_what_differs_behind_an_error_that_the_programme_has_swallowed(
    failed: list[Any], expected: str | None
) -> None:
    """A temporary table is gone with its connection, as the router has said."""
    stock = {"raised": ["OperationalError", 1050]}
    difference = Difference("seen", "1", "execute_temporary", stock, [[0, None]])
    assert told(difference, {"failed": failed, "request": 0}) == expected

"""Each conflict and each second run has somebody who caused it, or is complained about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.alarms import EARLIER, complaints
from tests.chaos.faults import Window
from tests.chaos.ledger import Operation
from tests.chaos.plan import Strike

MISMATCH = Operation(
    "0.0.1",
    "hot count in a block",
    10.0,
    (("change", "0.0.1"),),
    end=10.1,
    told="conflict",
    error="ReplayMismatch: The data changed",
    reads=("counter 1",),
    writes=("counter 1",),
)
DEADLOCK = replace(MISMATCH, error="OperationalError: (1213, 'Deadlock found')")
RERUN = replace(MISMATCH, kind="count", told="done", error="", runs=2, reads=())
ALARMS = (MISMATCH, DEADLOCK, RERUN)
OTHER = Operation(
    "0.1.1",
    "count",
    10.05,
    (("change", "0.1.1"),),
    end=10.2,
    told="done",
    writes=("counter 1",),
)
KILL = Window(Strike(1.0, "kill", ("db1",), 1.0), 8.0, 13.0)
REJECT = Window(Strike(1.0, "reject", ("db1",), 1.0), 8.0, 13.0)
CUT = Window(Strike(1.0, "cut", ("db1",)), 9.9, 10.5)


def found(*operations: Operation, windows: Any = (), dark: Any = ()) -> list[str]:
    return complaints(operations, windows, dark=dark)


@pytest.mark.parametrize("alarm", ALARMS)
def test_what_nothing_explains(alarm: Operation) -> None:
    """A client alone has nobody to blame; nor has the one whose rows nobody else touches."""
    words = f"unexplained: {alarm}" + " ran 2 times" * (alarm.runs > 1)
    complaint = f"{words}, and nobody else had changed counter 1"
    assert found(alarm) == [complaint]
    elsewhere = replace(OTHER, writes=("counter 2", "account 1", "entry"))
    assert found(alarm, elsewhere) == [complaint]


@pytest.mark.parametrize("alarm", ALARMS)
def test_the_client_itself_is_no_explanation(alarm: Operation) -> None:
    """What it did before is over when it does the next thing."""
    assert len(found(alarm, replace(OTHER, token="0.0.0", begin=9.9, end=10.0))) == 1


@pytest.mark.parametrize("alarm", ALARMS)
@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (10.05, 10.2),
        (9.0, 12.0),
        (10.01, 10.02),
        (9.0 - EARLIER, 10.1 - EARLIER),
        (10.1, 11.0),
        (9.9, None),
    ],
)
def test_a_change_at_the_time_explains_it(
    alarm: Operation, begin: float, end: float | None
) -> None:
    """From a little before the beginning to the end; one that never came back may be anywhere."""
    assert found(alarm, replace(OTHER, begin=begin, end=end)) == []


@pytest.mark.parametrize("alarm", ALARMS)
@pytest.mark.parametrize(("begin", "end"), [(10.2, 10.3), (8.0, 9.9 - EARLIER)])
def test_a_change_at_another_time_does_not(alarm: Operation, begin: float, end: float) -> None:
    """Nothing can have been seen of it that was not seen from the beginning."""
    assert len(found(alarm, replace(OTHER, begin=begin, end=end))) == 1


@pytest.mark.parametrize("told", ["raised", "conflict", "impossible"])
def test_what_was_undone_locks_but_changes_nothing(told: Any) -> None:
    """It may have been in the way, and it cannot have changed an answer."""
    undone = replace(OTHER, told=told)
    assert found(DEADLOCK, undone, OTHER) == found(RERUN, undone) == []
    assert len(found(MISMATCH, undone)) == 1


def test_a_table_that_was_read_as_a_whole() -> None:
    """Any row of it explains a mismatch, a new one too."""
    audit = replace(MISMATCH, reads=("account", "transfer"), writes=())
    assert found(audit, replace(OTHER, writes=("account 7",))) == []
    assert found(audit, replace(OTHER, writes=("transfer",))) == []
    assert len(found(audit, replace(OTHER, writes=("entry",)))) == 1


def test_inserts_are_in_nobodys_way() -> None:
    """Two who insert into one table do not explain each other."""
    inserts = replace(RERUN, writes=("transfer", "account 1"))
    assert len(found(inserts, replace(OTHER, writes=("transfer", "account 2")))) == 1


def test_a_snapshot_may_lag_while_a_fault_strikes() -> None:
    """As long as the fault, and no longer; a light one holds nobody up."""
    before = replace(OTHER, begin=8.0, end=8.5)
    assert found(MISMATCH, before, windows=[KILL]) == []
    assert len(found(MISMATCH, before, windows=[CUT])) == 1
    assert len(found(MISMATCH, replace(OTHER, begin=6.0, end=6.5), windows=[KILL])) == 1


def test_who_inserts_what_may_be_there_meets_the_gaps_of_others() -> None:
    """``INSERT IGNORE``: another one inserted into the same table, whatever the rows."""
    ignoring = replace(RERUN, expect=(), may=(("name", "1.0.1/0"),), writes=("name a",))
    other = replace(OTHER, expect=(("name", "2.0.1/0"),), writes=("name b",))
    assert found(ignoring, other) == []
    assert len(found(ignoring, replace(other, expect=(("entry", "2.0.1"),)))) == 1
    assert len(found(replace(ignoring, may=(), expect=ignoring.may), other)) == 1


def test_keys_are_dealt_out_anew_when_a_node_leaves() -> None:
    """Then who inserts into the same table may have got the same key."""
    other = replace(OTHER, writes=("counter 2",))
    assert found(RERUN, other, windows=[KILL]) == []
    assert found(RERUN, other, dark=[(RERUN.begin - 1, RERUN.begin)]) == []
    assert len(found(RERUN, other, dark=[(RERUN.begin - 1, RERUN.begin - 0.5)])) == 1
    assert len(found(RERUN, dark=[(RERUN.begin - 1, RERUN.begin)])) == 1
    assert len(found(RERUN, other, windows=[CUT])) == 1
    assert len(found(RERUN, other, windows=[REJECT])) == 1
    assert len(found(RERUN, replace(other, expect=(("card", "x"),)), windows=[KILL])) == 1


def test_what_no_failover_can_move() -> None:
    """It runs again when a connection is lost, and never without a fault."""
    loose = replace(RERUN, loose=True)
    assert found(loose, windows=[CUT]) == []
    assert len(found(loose)) == 1
    assert len(found(RERUN, windows=[CUT])) == 1


def test_only_those_that_are_asked_for() -> None:
    """While clients work, each is looked at once."""
    assert complaints([MISMATCH], [], of={"0.0.2"}) == []
    assert len(complaints([MISMATCH], [], of={"0.0.1"})) == 1


@pytest.mark.parametrize("alarm", ALARMS)
def test_a_table_that_is_altered(alarm: Operation) -> None:
    """That ends the transactions that use it, at that time and at no other."""
    altered = Window(Strike(1.0, "alter-index", ()), 9.9, 10.5)
    assert found(alarm, windows=[altered]) == []
    assert len(found(alarm, windows=[replace(altered, begin=10.2)])) == 1

"""Each anomaly is found where it is planted, under its own name, and no other one with it."""

from __future__ import annotations

import pytest

from tests.history.check import complaints
from tests.history.levels import ALLOWED, Kind, Level
from tests.history.planted import PLANTED
from tests.history.written import parse


@pytest.mark.parametrize("name", PLANTED)
def test_it_is_found_and_rightly_named(name: str) -> None:
    kind, text = PLANTED[name]
    found = complaints(parse(text))
    assert {one.kind for one in found} == {kind}, [str(one) for one in found]


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("name", PLANTED)
def test_what_its_level_allows_is_no_complaint(name: str, level: Level) -> None:
    """And what it does not allow is one."""
    kind, text = PLANTED[name]
    found = {one.kind for one in complaints(parse(text, level))}
    assert found == (set() if kind in ALLOWED[level] else {kind})


def test_the_reads_ahead_of_a_write_are_one_snapshot() -> None:
    """At each level; what is read after the write is not."""
    ahead = "a A: x+1 y+1\nb B: x[] y[1] z+1\nend: x[1] y[1] z[1]"
    astride = "a A: x+1 y+1\nb B: x[] z+1 y[1]\nend: x[1] y[1] z[1]"
    assert [one.kind for one in complaints(parse(ahead, Level.READ_COMMITTED))] == [Kind.G_SINGLE]
    assert complaints(parse(astride, Level.READ_COMMITTED)) == []
    assert [one.kind for one in complaints(parse(astride, Level.GUARDED))] == [Kind.G_SINGLE]


def test_a_session_goes_forward_at_each_level() -> None:
    """Its transaction may read on, but not begin before what it has seen."""
    text = "a A: x+1\nb B: x[1]\nc B: z+1 x[]\nend: x[1] z[1]"
    assert [one.kind for one in complaints(parse(text, Level.READ_COMMITTED))] == [Kind.MONOTONIC]


def test_who_was_told_nothing_may_be_there_or_not() -> None:
    for end in ("x[] y[]", "x[1] y[1]"):
        assert complaints(parse(f"a A unknown: x+1 y+1\nend: {end}")) == []


def test_a_history_with_one_value_written_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="1 is written to x by two transactions"):
        complaints(parse("a A: x+1\nb B: x+1"))


def test_every_anomaly_is_planted() -> None:
    assert {kind for kind, _ in PLANTED.values()} == set(Kind)

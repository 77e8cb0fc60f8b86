"""A search for differences: many programmes, each new kind of difference shrunk and kept."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from tests.differential.allowed import ALLOWED
from tests.differential.compare import Difference
from tests.differential.known import KNOWN
from tests.differential.rules import FaultRule, Rule

SHRINK = 30.0  # seconds that the search for a smaller programme may take
AGAIN = 2  # runs more, of which one must show the difference again

Play = Callable[[Any], Difference | None]


@dataclass(frozen=True)
class Found:
    """A difference that no rule explains, with the smallest programme that has shown it."""

    case: Any
    difference: Difference

    def __str__(self) -> str:
        return f"{self.case}\n{self.difference}"


@dataclass
class Report:
    """What a search has come to.

    Attributes:
        programmes: how many were run, those of shrinking left out.
        known, allowed: how many differences each rule has explained.
        new: by signature.
        unsteady: differences that did not come again.
        reads_elsewhere: the secondaries have served about as many reads as they should.
    """

    programmes: int = 0
    known: Counter[str] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)
    new: dict[str, Found] = field(default_factory=dict)
    again: Counter[str] = field(default_factory=Counter)
    unsteady: list[Found] = field(default_factory=list)
    reads_elsewhere: bool = True

    def __str__(self) -> str:
        known = ", ".join(f"{name} x {number}" for name, number in sorted(self.known.items()))
        allowed = ", ".join(f"{name} x {number}" for name, number in sorted(self.allowed.items()))
        return (
            f"{self.programmes} programmes; known faults: {known or 'none'};"
            f" allowed: {allowed or 'none'}; unsteady: {len(self.unsteady)};"
            f" new: {len(self.new)}"
        )


class _Enough(BaseException):
    """Ends a run of hypothesis, which catches Exception alone."""


class _New(Exception):
    """What hypothesis is to shrink."""


@dataclass
class Search:
    """A search with its limits.

    Args:
        cases: what to draw from; ``play`` runs one, and gives the difference if there is one.
        known, allowed: the rules.
        stop_early: end with the first new difference.
    """

    cases: st.SearchStrategy[Any]
    play: Play
    known: tuple[Rule | FaultRule, ...] = KNOWN
    allowed: tuple[Rule | FaultRule, ...] = ALLOWED
    stop_early: bool = False
    shrink: float = SHRINK
    report: Report = field(default_factory=Report)
    _end: float = 0.0
    _shrink_end: float = 0.0
    _target: str | None = None
    _smallest: Found | None = None

    def run(self, number: int, first_seed: int, seconds: float = 3e7) -> Report:
        """Run ``number`` programmes, or as many as ``seconds`` allow.

        Args:
            number: of programmes; the same seed gives the same ones.
            first_seed: of the first round; each difference found begins another round.
        """
        self._end = time.monotonic() + seconds
        round_ = 0
        while self.report.programmes < number and time.monotonic() < self._end:
            self._round(number - self.report.programmes, first_seed + 1_000_003 * round_)
            round_ += 1
            if self.stop_early and self.report.new:
                break
        return self.report

    def _round(self, number: int, start: int) -> None:
        """Run programmes until something new is found and shrunk."""
        self._target = self._smallest = None
        checked = given(self.cases)(lambda case: self._check(case))
        limits = settings(
            max_examples=number,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            print_blob=False,
            report_multiple_bugs=False,
        )
        try:
            seed(start)(limits(checked))()
        except (_New, _Enough, Flaky):
            pass  # what was found is kept; it may have been unsteady in the end
        finally:
            self._note()

    def _note(self) -> None:
        """Keep the smallest case that was found in this round."""
        found = self._smallest
        if found is not None:
            self.report.new[found.difference.signature] = found

    def _check(self, case: Any) -> None:
        if time.monotonic() > (self._shrink_end if self._target else self._end):
            raise _Enough
        found = self._unexplained(case)
        if self._target is None:
            self.report.programmes += 1
            if found is not None and self._is_new(found):
                self._target = found.difference.signature
                self._shrink_end = time.monotonic() + self.shrink
        if found is not None and found.difference.signature == self._target:
            self._keep(found)
            raise _New(str(found.difference))

    def _unexplained(self, case: Any) -> Found | None:
        """What is left when all that rules explain is taken out of the case."""
        names = []
        difference = self.play(case)
        while difference is not None:
            found = self._explained(case, difference)
            if found is None:
                return Found(case, difference)
            counter, name, case, difference = found
            names.append((counter, name))
        if self._target is None:
            for counter, name in dict.fromkeys(names):
                getattr(self.report, counter)[name] += 1
        return None

    def _explained(
        self, case: Any, difference: Difference
    ) -> tuple[str, str, Any, Difference | None] | None:
        """The rule without whose cause the difference is not there, and what is then left."""
        for counter, rules in (("allowed", self.allowed), ("known", self.known)):
            for rule in rules:
                mended = rule.without(case, difference)
                if mended is None:
                    continue
                left = self.play(mended)
                if left is None or left.signature != difference.signature:
                    return counter, rule.name, mended, left
        return None

    def _is_new(self, found: Found) -> bool:
        """True if none of its kind was found yet, and it comes again."""
        signature = found.difference.signature
        if signature in self.report.new:
            self.report.again[signature] += 1
            return False
        if any(self._shows(found.case, signature) for _ in range(AGAIN)):
            return True
        self.report.unsteady.append(found)
        return False

    def _shows(self, case: Any, signature: str) -> bool:
        again = self.play(case)
        return again is not None and again.signature == signature

    def _keep(self, found: Found) -> None:
        if self._smallest is None or _size(found.case) <= _size(self._smallest.case):
            self._smallest = found


def _size(case: Any) -> tuple[int, int]:
    text = str(case)
    return text.count("\n"), len(text)

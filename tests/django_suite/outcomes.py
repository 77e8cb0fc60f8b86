"""What became of each test, as one process tells another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

PASSED, FAILED, SKIPPED, ABSENT = "passed", "failed", "skipped", "absent"


@dataclass
class Outcomes:
    """One label on one side.

    Attributes:
        tests: what became of each, by its id.
        details: the traceback of each that failed.
        seconds: how long it all took.
        reads: how many reads of the tests' tables each node served.
    """

    tests: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    reads: dict[str, int] = field(default_factory=dict)

    def count(self, outcome: str) -> int:
        return sum(1 for one in self.tests.values() if one == outcome)

    def of(self, test: str) -> str:
        """What became of ``test``; ABSENT if it was not come to."""
        return self.tests.get(test, ABSENT)

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, file: Path) -> Outcomes:
        return cls(**json.loads(file.read_text()))


@dataclass(frozen=True)
class Difference:
    """A test that passes with stock Django and does not with the router, or the reverse."""

    test: str
    stock: str
    router: str
    reason: str = ""  # as named beforehand

    @property
    def bad(self) -> bool:
        return self.stock == PASSED and not self.reason


def compare(stock: Outcomes, router: Outcomes, known: Mapping[str, str]) -> list[Difference]:
    """Every test with another outcome, in the order of stock Django's run.

    Args:
        stock: of stock Django.
        router: with the router.
        known: reasons of differences that are expected, by the test's id.
    """
    tests = dict.fromkeys([*stock.tests, *router.tests])
    return [
        Difference(test, stock.of(test), router.of(test), known.get(test, ""))
        for test in tests
        if stock.of(test) != router.of(test)
    ]

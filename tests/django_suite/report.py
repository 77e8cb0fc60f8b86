"""The table, and every difference below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .outcomes import FAILED, PASSED, SKIPPED, Difference, Outcomes, compare
from .reads import of_secondaries
from .sides import ROUTER, STOCK

COLUMNS = (PASSED, FAILED, SKIPPED)


@dataclass(frozen=True)
class Line:
    """One label on both sides."""

    label: str
    sides: Mapping[str, Outcomes]
    differences: list[Difference]

    @classmethod
    def of(cls, label: str, sides: Mapping[str, Outcomes], known: Mapping[str, str]) -> Line:
        return cls(label, sides, compare(sides[STOCK], sides[ROUTER], known))

    def __str__(self) -> str:
        counts = [f"{self.sides[side].count(one):8}" for side in self.sides for one in COLUMNS]
        seconds = [f"{self.sides[side].seconds:7.0f}" for side in self.sides]
        reads = "/".join(map(str, self.sides[ROUTER].reads.values()))
        return f"{self.label:32}{''.join(counts)}{''.join(seconds)}  {reads}"


@dataclass(frozen=True)
class Report:
    """All labels."""

    lines: list[Line]

    @property
    def bad(self) -> list[Difference]:
        """What passes with stock Django, not with the router, and has no reason."""
        return [one for line in self.lines for one in line.differences if one.bad]

    @property
    def reads(self) -> dict[str, int]:
        """The reads that each node has served with the router."""
        total: dict[str, int] = {}
        for line in self.lines:
            for node, count in line.sides[ROUTER].reads.items():
                total[node] = total.get(node, 0) + count
        return total

    @property
    def good(self) -> bool:
        return bool(self.lines) and not self.bad and of_secondaries(self.reads) > 0

    def __iter__(self) -> Iterator[str]:
        yield from (HEAD, *map(str, self.lines), str(self._total()), "")
        for line in self.lines:
            yield from map(tell, line.differences)
        yield f"reads served with the router: {self.reads}"
        if not of_secondaries(self.reads):
            yield "no secondary has read anything: the comparison says nothing of the routing"
        yield "good" if self.good else f"{len(self.bad)} unexplained"

    def _total(self) -> Line:
        return Line("total", {side: self._sum(side) for side in (STOCK, ROUTER)}, [])

    def _sum(self, side: str) -> Outcomes:
        total = Outcomes(reads=self.reads)
        for line in self.lines:
            outcomes = line.sides[side]
            total.tests |= {f"{line.label} {test}": one for test, one in outcomes.tests.items()}
            total.seconds += outcomes.seconds
        return total


HEAD = (
    f"{'':32}{'stock Django':>24}{'with the router':>24}{'seconds':>14}  reads per node\n"
    f"{'label':32}{('  passed  failed skipped') * 2}{'stock':>7}{'router':>7}"
)


def tell(difference: Difference) -> str:
    """One difference, on a line of its own."""
    mark = "!" if difference.bad else " "
    reason = f" ({difference.reason})" if difference.reason else ""
    return f"{mark} {difference.test}: {difference.stock} -> {difference.router}{reason}"

"""The table of requests: rounds in which the sides take turns, and what they come to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.chart import Dots, dots
from tests.benchmarks.report import Section, table
from tests.benchmarks.rows import ROWS, Limits, Row, calls
from tests.benchmarks.sides import Answer, Sides

BUDGET = 15.0  # seconds for one row; it has MINIMUM rounds at least
MINIMUM = 3
COLUMNS = ("stock", "without", "ours", "django-galera", "mysqlclient")
Tell = Callable[[str], None]


@dataclass
class Result:
    """What one row came to: the answers of each round by column, and the calls."""

    row: Row
    answers: Mapping[str, list[Answer]]
    calls: Mapping[str, int] = field(default_factory=dict)

    def best(self, column: str, key: str) -> float:
        """The smallest figure of all rounds."""
        return min(float(answer[key]) for answer in self.answers[column])

    def median(self, column: str, key: str) -> float:
        """The median of all rounds."""
        return statistics.median(float(answer[key]) for answer in self.answers[column])

    def total(self, column: str, key: str) -> int:
        """The sum of all rounds; for a list, how many it has."""
        found = [answer.get(key, 0) for answer in self.answers[column]]
        return sum(len(each) if isinstance(each, list) else int(each) for each in found)

    def ratio(self, key: str, column: str = "ours") -> tuple[float, float] | None:
        """Of the column to the base: of the minima, and the median of all rounds' ratios."""
        base = self.row.base
        if column not in self.answers or key not in self.answers[column][0]:
            return None
        pairs = zip(self.answers[column], self.answers[base], strict=True)
        least = self.best(column, key) / self.best(base, key)
        return least, statistics.median(one[key] / other[key] for one, other in pairs)

    def throughput(self) -> float:
        """Ours to the base's, of the medians."""
        return self.median(self.row.base, "elapsed") / self.median("ours", "elapsed")

    def data(self) -> dict[str, Any]:
        """For JSON: seconds and bytes, each with minimum and median."""
        return {
            "name": self.row.name,
            "base": self.row.base,
            "limits": vars(self.row.limits),
            "calls": dict(self.calls),
            "rounds": len(next(iter(self.answers.values()))),
            "columns": {
                column: {
                    key: {"min": self.best(column, key), "median": self.median(column, key)}
                    for key in ("cpu", "elapsed", "peak")
                    if key in answers[0]
                }
                | {key: self.total(column, key) for key in ("errors", "lost") if key in answers[0]}
                for column, answers in self.answers.items()
            },
            "ratios": {key: self.ratio(key) for key in ("cpu", "elapsed", "peak")},
        }


def measure(row: Row, sides: Sides, rounds: int) -> Result:
    """Rounds of all sides, each round in the other order than the one before."""
    turns = row.turns(row, sides)
    answers: dict[str, list[Answer]] = {column: [] for column in turns}
    until = time.monotonic() + BUDGET
    for number in range(rounds):
        for column in list(turns)[:: 1 if number % 2 else -1]:
            answers[column].append(turns[column]())
        if number + 1 >= MINIMUM and time.monotonic() > until:
            break
    return Result(row, answers)


def section(sides: Sides, words: list[str], rounds: int, tell: Tell) -> Section:
    """All rows, or those whose names contain one of the words."""
    chosen = [row for row in ROWS if not words or any(word in row.name for word in words)]
    results = []
    for row in chosen:
        result = measure(row, sides, rounds)
        if row.limits.calls is not None:
            result.calls = calls(row, sides)
        results.append(result)
        tell(told(result))
    return Section(
        "Requests",
        [ratios(results), sizes(results), "![CPU and time, as a ratio to stock](requests.svg)"],
        {"requests": [result.data() for result in results]},
        {"requests.svg": chart(results)},
    )


def told(result: Result) -> str:
    """One line of progress."""
    parts = [f"{name} {ratio[0]:.2f}" for name in ("cpu", "elapsed", "peak")
             if (ratio := result.ratio(name))]  # fmt: skip
    if result.calls:
        parts.insert(0, f"calls {_calls(result):.3f}")
    return f"{result.row.name}: {', '.join(parts)}"


def _calls(result: Result) -> float:
    return result.calls["ours"] / result.calls[result.row.base]


def ratios(results: list[Result]) -> str:
    """The table of ratios, with the limits."""
    lines = []
    for result in results:
        limits: Limits = result.row.limits
        counted = f"{_calls(result):.3f}" if result.calls else ""
        lines.append(
            [
                result.row.name,
                _beside(counted, limits.calls),
                _beside(_two(result.ratio("cpu")), limits.cpu),
                _beside(_two(result.ratio("elapsed")), limits.elapsed),
                _rest(result),
            ]
        )
    head = ["ours / base: minimum; median (limit)", "calls", "CPU", "elapsed", "besides"]
    return table(head, lines)


def _two(ratio: tuple[float, float] | None) -> str:
    return f"{ratio[0]:.2f}; {ratio[1]:.2f}" if ratio else ""


def _beside(figure: str, limit: float | None) -> str:
    return f"{figure} (≤ {limit:.2f})" if figure and limit is not None else figure


def _rest(result: Result) -> str:
    limits = result.row.limits
    if limits.memory is not None:
        return f"memory {_beside(_two(result.ratio('peak')), limits.memory)}"
    if limits.throughput is None:
        return "" if result.row.base == "stock" else "base: the same without"
    told = [
        f"{column} {result.total(column, 'errors')} errors, {result.total(column, 'lost')} lost"
        for column in result.answers
    ]
    return f"throughput {result.throughput():.2f} (≥ {limits.throughput}); " + "; ".join(told)


def sizes(results: list[Result]) -> str:
    """The table of what every side took: microseconds of CPU and of the clock, or megabytes."""
    columns = [c for c in COLUMNS if any(c in result.answers for result in results)]
    lines = []
    for result in results:
        cells = []
        for column in columns:
            if column not in result.answers:
                cells.append("")
            elif "peak" in result.answers[column][0]:
                cells.append(f"{result.best(column, 'peak') / 1e6:.1f} MB")
            else:
                micro = [result.best(column, key) * 1e6 for key in ("cpu", "elapsed")]
                cells.append(f"{micro[0]:,.0f}; {micro[1]:,.0f}")
        lines.append([result.row.name, *cells])
    return table(["µs of one request: CPU; elapsed (minima)", *columns], lines)


def chart(results: list[Result]) -> str:
    """All ratios on one logarithmic axis."""
    rows = []
    for result in results:
        limits, marks = result.row.limits, {}
        for name, column, key in (
            ("ours, CPU", "ours", "cpu"),
            ("ours, elapsed", "ours", "elapsed"),
            ("ours, memory", "ours", "peak"),
            ("django-galera, CPU", "django-galera", "cpu"),
            ("django-galera, elapsed", "django-galera", "elapsed"),
        ):
            if ratio := result.ratio(key, column):
                marks[name] = ratio[0]
        rows.append(Dots(result.row.name, marks, limits.cpu or limits.memory))
    return dots("Ratio to the base (1 = stock Django); the line is the limit of CPU", rows)

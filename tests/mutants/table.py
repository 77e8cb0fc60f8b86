"""What came of it: a table of mutants and checkers, as text in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from tests.mutants.mutants import Mutant
from tests.mutants.run import Trial


def cell(trials: Sequence[Trial]) -> str:
    """The checkers that were tried: at how many seeds found, and in how many seconds (median)."""
    checkers = dict.fromkeys(trial.checker for trial in trials)
    return "; ".join(
        f"`{name}` {_found([trial for trial in trials if trial.checker == name])}"
        for name in checkers
    )


def _found(trials: Sequence[Trial]) -> str:
    found = [trial.seconds for trial in trials if trial.found]
    middle = f", {statistics.median(found):.0f} s" if found else ""
    return f"{len(found)} of {len(trials)}{middle}"


def is_found(trials: Iterable[Trial], wanted: int) -> bool:
    """Returns True if one checker alone has found the mutant at ``wanted`` seeds or more."""
    found: dict[str, int] = {}
    for trial in trials:
        found[trial.checker] = found.get(trial.checker, 0) + trial.found
    return max(found.values(), default=0) >= wanted


def is_good(mutant: Mutant, trials: Sequence[Trial], wanted: int) -> bool:
    """Returns True if a mutant is found, and the control is tried and never found."""
    if mutant.is_control:
        return bool(trials) and not any(trial.found for trial in trials)
    return is_found(trials, wanted)


def table(mutants: Sequence[Mutant], trials: Sequence[Trial]) -> list[str]:
    """The lines of the table: a row for each mutant, with the checkers that were tried on it."""
    lines = ["| mutant | what it breaks | found at how many seeds |", "|---|---|---|"]
    for mutant in mutants:
        mine = [trial for trial in trials if trial.mutant == mutant.name]
        lines.append(f"| `{mutant.name}` | {mutant.breaks} | {cell(mine)} |")
    return lines

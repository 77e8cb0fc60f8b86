"""What came of it: a table of mutants and checkers, as text in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from tests.mutants.mutants import Mutant
from tests.mutants.run import Trial


def cell(trials: Sequence[Trial]) -> str:
    """Of how many seeds a checker found a mutant, and in how many seconds (the median)."""
    if not trials:
        return ""
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
    """The lines of the table: a row for each mutant, a column for each checker."""
    used = list(dict.fromkeys(trial.checker for trial in trials))
    lines = [" | ".join(["| mutant", "what it breaks", *used, ""]).rstrip()]
    lines.append("|---" * (2 + len(used)) + "|")
    for mutant in mutants:
        mine = [trial for trial in trials if trial.mutant == mutant.name]
        cells = [cell([trial for trial in mine if trial.checker == name]) for name in used]
        lines.append(f"| `{mutant.name}` | {mutant.breaks} | {' | '.join(cells)} |")
    return lines

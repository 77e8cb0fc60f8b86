"""What the long runs came to, as a page in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.proof.steps import Step

SHOWN = 4000  # characters from the end of what a run has printed


@dataclass(frozen=True)
class Result:
    """How one run has ended: ``status`` is None if it had to be ended."""

    step: Step
    status: int | None
    seconds: float
    output: Path

    @property
    def good(self) -> bool:
        return self.status == 0

    def line(self) -> str:
        """One line that says how it went."""
        how = "took too long" if self.status is None else f"ended with {self.status}"
        return f"{self.step.name}: {'good' if self.good else how}, {self.seconds / 60:.1f} min"


def render(results: Sequence[Result]) -> str:
    """A table of all runs, and the end of what each has printed."""
    lines = ["# Proof", "", "| run | command | result | minutes |", "|---|---|---|---|"]
    for one in results:
        result = "good" if one.good else one.line().partition(": ")[2].partition(",")[0]
        command = f"python -m {' '.join(one.step.words)}"
        lines.append(f"| {one.step.name} | `{command}` | {result} | {one.seconds / 60:.1f} |")
    for one in results:
        said = one.output.read_text()[-SHOWN:].strip()
        lines += ["", f"## {one.step.name}", "", "```", said, "```"]
    return "\n".join(lines) + "\n"

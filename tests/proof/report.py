"""What the long runs came to: kept in a file for each, and shown as a page in Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.proof.steps import Step

SHOWN = 4000  # characters from the end of what a run has printed


@dataclass(frozen=True)
class Result:
    """How one run has ended.

    Attributes:
        step: what was run.
        status: the exit status; None if it had to be ended.
        seconds: how long it took.
        output: the file with what it has printed.
        commit: what was run, as ``git describe`` names it.
    """

    step: Step
    status: int | None
    seconds: float
    output: Path
    commit: str = ""

    @property
    def good(self) -> bool:
        return self.status == 0

    @property
    def how(self) -> str:
        """How it has ended, in few words."""
        if self.good:
            return "good"
        return "took too long" if self.status is None else f"ended with {self.status}"

    def line(self) -> str:
        """One line that says how it went."""
        return f"{self.step.name}: {self.how}, {self.seconds / 60:.1f} min"

    def keep(self) -> None:
        """Write it beside its output, where :func:`kept` finds it."""
        kept = {"status": self.status, "seconds": self.seconds, "commit": self.commit}
        _file(self.output).write_text(json.dumps(kept))


def output_of(step: Step, folder: Path) -> Path:
    """The file for what ``step`` prints."""
    name = step.name.replace(" ", "-").replace(",", "").replace("'", "")
    return folder / f"{name}.txt"


def _file(output: Path) -> Path:
    return output.with_suffix(".json")


def kept(steps: Sequence[Step], folder: Path) -> list[Result]:
    """The last result of each of ``steps`` that has one in ``folder``."""
    outputs = [(step, output_of(step, folder)) for step in steps]
    return [
        Result(step, output=output, **json.loads(_file(output).read_text()))
        for step, output in outputs
        if _file(output).exists()
    ]


def render(results: Sequence[Result]) -> str:
    """A table of all runs, and the end of what each has printed."""
    lines = [
        "# Proof",
        "",
        "| run | command | commit | result | minutes |",
        "|---|---|---|---|---|",
    ]
    for one in results:
        command = f"`python -m {' '.join(one.step.words)}`"
        minutes = f"{one.seconds / 60:.1f}"
        lines.append(f"| {one.step.name} | {command} | {one.commit} | {one.how} | {minutes} |")
    for one in results:
        said = one.output.read_text()[-SHOWN:].strip()
        lines += ["", f"## {one.step.name}", "", "```", said, "```"]
    return "\n".join(lines) + "\n"

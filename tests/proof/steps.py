"""The long runs, each as the arguments of ``python -m``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One run.

    Attributes:
        name: what the report calls it.
        words: the module and its arguments.
        minutes: how long it may take; it is ended then, and has failed.
    """

    name: str
    words: tuple[str, ...]
    minutes: float


def _differential(level: int, minutes: float) -> tuple[str, ...]:
    seconds = f"{minutes * 60 - 60:.0f}"
    return ("tests.differential", "--all", "--level", str(level), "--programmes", "5000",
            "--seconds", seconds)  # fmt: skip


def steps(seed: int) -> list[Step]:
    """All of them, the short ones first; ``seed`` is that of the chaos runs."""
    chaos = ("tests.chaos", "--seed", str(seed))
    return [
        Step("10,000 serializable histories", ("tests.history", "--histories", "10000"), 10),
        Step("programmes without a fault", _differential(0, 20), 20),
        Step("programmes cut at a byte", _differential(1, 60), 60),
        Step("programmes with an exception at a point", _differential(2, 60), 60),
        Step("chaos", (*chaos, "--seconds", "600"), 15),
        Step("chaos without lost_update_guard", (*chaos, "--seconds", "180", "--no-guard"), 8),
        Step(
            "chaos, histories", (*chaos, "--seconds", "180", "--workloads", "append,registers"), 8
        ),
        Step("no false alarms", (*chaos, "--seconds", "60", "--alone"), 5),
        Step("one ticket, two buyers", ("tests.benchmarks.tickets",), 60),
        Step("one primary at each commit", ("tests.benchmarks.one_primary",), 10),
        Step("switchovers", ("tests.benchmarks.switchover",), 10),
        Step("pauses", ("tests.benchmarks.pauses",), 10),
        Step("pauses with default time-outs", ("tests.benchmarks.pauses", "defaults"), 15),
        Step("Django's own suite", ("tests.django_suite",), 60),
        Step("mutants", ("tests.mutants", "--jobs", "2"), 150),
    ]

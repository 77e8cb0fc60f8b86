"""What a run is asked to do."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.config import BREAKS
from tests.chaos.plan import DEFAULT, HARSH, HEAVY, LIGHT

GROUPS = {
    "default": DEFAULT,
    "harsh": tuple(kind for kind in (*HEAVY, *LIGHT) if kind in HARSH),
    "all": (*HEAVY, *LIGHT),
}


@dataclass(frozen=True)
class Options:
    """One run.

    Args:
        seconds: how long faults strike.
        seed: of the schedule and of what each client does.
        processes, threads: clients: so many processes of so many threads each.
        faults: the kinds that may strike; none: a calm run.
        workloads: the kinds of transactions; empty for all.
        guard: with the option ``lost_update_guard``, and the workloads that need it.
        hard: also the workloads that run only if they are asked for.
        alone: each client on rows of its own, so that nobody is in another's way.
        stop_early: end at the first complaint that can be known while clients work.
        broken: how the router is to be broken, to try the checker on; None: not at all.
        json: a file for the report's figures.
        keep: a folder for the clients' accounts, kept after the run.
    """

    seconds: float = 60.0
    seed: int = 1
    processes: int = 4
    threads: int = 4
    faults: tuple[str, ...] = DEFAULT
    workloads: tuple[str, ...] = ()
    guard: bool = True
    hard: bool = False
    alone: bool = False
    stop_early: bool = False
    broken: str | None = None
    json: Path | None = None
    keep: Path | None = None


def names(text: str) -> tuple[str, ...]:
    """The names in a list with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def fault_names(text: str) -> tuple[str, ...]:
    """The same, all of them faults, or groups of them; ValueError if one is not."""
    chosen = tuple(kind for name in names(text) for kind in GROUPS.get(name, (name,)))
    if unknown := set(chosen) - {*HEAVY, *LIGHT}:
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
    return chosen


def parse(words: Sequence[str] | None = None) -> Options:
    """The options on a command line; leaves with a message if they make no sense."""
    default = Options()
    parser = ArgumentParser(prog="tests.chaos", description=__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=default.seconds, help="how long faults strike")
    add("--seed", type=int, default=default.seed, help="the same seed, the same schedule")
    add("--processes", type=int, default=default.processes)
    add("--threads", type=int, default=default.threads, help="of each process")
    add(
        "--faults",
        type=fault_names,
        default=default.faults,
        help="with commas; default, harsh, all",
    )
    add("--workloads", type=names, default=(), help="with commas; all, if not given")
    add("--no-guard", dest="guard", action="store_false", help="without lost_update_guard")
    add("--hard", action="store_true", help="also what runs only if it is asked for")
    add("--alone", action="store_true", help="each client on rows of its own")
    add("--stop-early", action="store_true", help="end at the first complaint")
    add("--break", dest="broken", choices=BREAKS, help="break the router, to try the checker")
    add("--json", type=Path, help="a file for the figures")
    add("--keep", type=Path, help="an empty folder for the clients' accounts")
    return Options(**vars(parser.parse_args(words)))

"""All comparisons: ``make bench``, or ``python -m tests.benchmarks [WORD ...]``.

A word is the name of a section or a part of a row's name. What is found goes to a folder: a table
for docs/performance.md, charts and all figures as JSON.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from galera_router.testing import GaleraCluster
from tests.benchmarks import centres, growth, losses, requests, scaling
from tests.benchmarks.report import Section, machine, write
from tests.benchmarks.sides import Sides, fill, migrate, sides

ROUNDS, MANY = 15, 100_000

Run = Callable[[Sides, list[str], int, Callable[[str], None]], Section]
SECTIONS: dict[str, Run] = {
    "requests": requests.section,
    "scaling": scaling.section,
    "growth": growth.section,
    "losses": losses.section,
    "centres": centres.section,
}


def parse() -> argparse.Namespace:
    """The options on the command line."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks", description=__doc__)
    parser.add_argument("words", nargs="*", help=f"parts of rows' names, or {list(SECTIONS)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each row, at most")
    parser.add_argument("--minutes", type=float, default=12, help="no section begins later")
    parser.add_argument("--folder", type=Path, default=Path("bench"), help="for the report")
    return parser.parse_args()


def chosen(words: list[str]) -> dict[str, list[str]]:
    """The sections to be run, and the words for each: none stands for all of it."""
    if not words:
        return {name: [] for name in SECTIONS}
    found: dict[str, list[str]] = {word: [] for word in words if word in SECTIONS}
    if rows := [word for word in words if word not in SECTIONS]:
        found["requests"] = rows
    return found


def main() -> None:
    options, began = parse(), time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {line}", flush=True)

    with GaleraCluster() as cluster:
        tell("the cluster is up")
        migrate(cluster)
        found: list[Section] = []
        for name, words in chosen(options.words).items():
            if time.monotonic() - began > options.minutes * 60:
                tell(f"{name} is left out: the time is up")
                continue
            fill(cluster, MANY)
            with sides(cluster) as started:
                tell(name)
                about = machine(started.versions())
                found.append(SECTIONS[name](started, words, options.rounds, tell))
                write(options.folder, about, found)
    tell(f"written to {options.folder}")


if __name__ == "__main__":
    main()

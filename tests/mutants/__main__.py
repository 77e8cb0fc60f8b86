"""Command line: ``python -m tests.mutants --seeds 5 --seconds 60``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from tests.mutants.checkers import CHECKERS
from tests.mutants.mutants import CONTROL, MUTANTS, Mutant
from tests.mutants.run import CheckerFailed, Trial, attempt, copied, end_running
from tests.mutants.table import is_found, is_good, table


def parse() -> argparse.Namespace:
    """The options on the command line."""
    parser = argparse.ArgumentParser(prog="tests.mutants", description=__doc__)
    add = parser.add_argument
    add("--seeds", type=int, default=5, help="how often each checker tries each mutant")
    add("--wanted", type=int, default=4, help="at how many seeds a mutant has to be found")
    add("--seconds", type=float, default=60.0, help="how long a checker may take each time")
    add("--mutants", default="", help="only these, with commas")
    add("--checkers", default="", help="only these, with commas")
    add("--jobs", type=int, default=1, help="how many mutants are tried at once")
    add("--all", action="store_true", help="try every checker, not only the first that finds it")
    add("--json", type=Path, help="a file for what came of each run")
    return parser.parse_args()


def chosen(names: str) -> list[Mutant]:
    """The mutants with these names, all if none is named; exits if there is no such mutant."""
    wanted = [name for name in names.split(",") if name]
    known = {mutant.name: mutant for mutant in (CONTROL, *MUTANTS)}
    if unknown := set(wanted) - known.keys():
        raise SystemExit(f"no such mutant: {', '.join(sorted(unknown))}")
    return [known[name] for name in wanted] if wanted else list(known.values())


def try_all(
    mutant: Mutant, checkers: Iterable[str], options: argparse.Namespace
) -> Iterator[Trial]:
    """Try the checkers in turn, each at all seeds; end with the first that finds the mutant."""
    with copied(mutant) as folder:
        for checker in checkers:
            trials = []
            for seed in range(1, options.seeds + 1):
                trials.append(attempt(mutant, folder, checker, seed, options.seconds))
                yield trials[-1]
                if mutant.is_control:
                    continue
                if sum(not trial.found for trial in trials) > options.seeds - options.wanted:
                    break
            if not options.all and not mutant.is_control and is_found(trials, options.wanted):
                return


def judge(mutant: Mutant, options: argparse.Namespace) -> list[Trial]:
    """Try ``mutant``, and print how it goes; what comes of it if a checker fails is not enough."""
    only = [name for name in options.checkers.split(",") if name]
    checkers = only or (CHECKERS if options.all or mutant.is_control else mutant.checkers)
    trials: list[Trial] = []
    try:
        for trial in try_all(mutant, checkers, options):
            trials.append(trial)
            verdict = "found" if trial.found else "not found"
            line = f"{mutant.name}: {trial.checker} {trial.seed} {verdict} in {trial.seconds:.0f} s"
            print(line, flush=True)
            if mutant.is_control and trial.found:
                print(trial.said, flush=True)
    except CheckerFailed as failure:
        print(failure, flush=True)
    return trials


def judge_all(mutants: list[Mutant], options: argparse.Namespace) -> Iterator[list[Trial]]:
    """:func:`judge` each of ``mutants``, some of them at once; their runs are ended with this."""
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(judge, mutant, options) for mutant in mutants]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_running()
            raise


def main() -> int:
    """Run it; the exit status is 0 only if every mutant has been found often enough."""
    options = parse()
    mutants, trials = chosen(options.mutants), list[Trial]()
    for mine in judge_all(mutants, options):
        trials += mine
        if options.json is not None:
            options.json.write_text(json.dumps([asdict(trial) for trial in trials], indent=1))
    missed = []
    for mutant in mutants:
        mine = [trial for trial in trials if trial.mutant == mutant.name]
        if not is_good(mutant, mine, options.wanted):
            missed.append(mutant.name)
    print("\n" + "\n".join(table(mutants, trials)))
    print(f"\n{len(mutants) - len(missed)} of {len(mutants)} are judged rightly.")
    if missed:
        print(f"Wrongly: {', '.join(missed)}.")
    return 1 if missed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main())

"""``python -m tests.django_suite [LABEL ...]``: Django's own suite on both sides."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from galera_router.testing import GaleraCluster

from .differences import KNOWN
from .labels import expand_labels
from .report import HEAD, Line, Report, tell
from .run import Bench
from .sides import SIDES
from .source import tests_folder


def run(bench: Bench, labels: list[str]) -> Report:
    """Run ``labels`` on both sides, telling of each as it is done."""
    lines: list[Line] = []
    print(HEAD, flush=True)
    for label in labels:
        outcomes = {side: bench.run(label, side) for side in SIDES}
        line = Line.of(label, outcomes, KNOWN)
        print("\n".join([str(line), *map(tell, line.differences)]), flush=True)
        lines.append(line)
    return Report(lines)


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.django_suite", description=__doc__)
    parser.add_argument("labels", nargs="*", metavar="LABEL", help="all that touch the database")
    parser.add_argument(
        "--results", type=Path, help="keep outcomes and output here, and go on from them"
    )
    parser.add_argument(
        "--committing", action="store_true", help="run each TestCase as a TransactionTestCase"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    chosen = options(arguments)
    tests = tests_folder()
    with tempfile.TemporaryDirectory() as temporary, GaleraCluster() as cluster:
        results = (chosen.results or Path(temporary)).resolve()
        results.mkdir(parents=True, exist_ok=True)
        bench = Bench(cluster, tests, results, chosen.committing)
        report = run(bench, expand_labels(chosen.labels, tests))
    print("\n".join(["", *report]))
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Look for differences between stock Django and the router.

``python -m tests.differential --programmes 5000 --seed 1 --all``. It ends with 1 if there is a
difference that no rule explains, or if ``--seconds`` were over before so many programmes were run,
with 0 if not. Without ``--all`` it ends with the first difference.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from galera_router.testing import GaleraCluster, Proxy
from tests.differential.levels import level
from tests.differential.pair import SERVER, pair
from tests.differential.search import Report, Search

ENDLESS = 10**9  # programmes


def main() -> int:
    words = _words()
    with GaleraCluster(options=SERVER) as cluster, cluster.proxies() as proxies:
        report = _search(words, cluster, proxies)
    if words.json is not None:
        words.json.write_text(json.dumps(_as_json(report), indent=1))
    return 1 if report.new or not report.reads_elsewhere or _is_short(words, report) else 0


def _is_short(words: argparse.Namespace, report: Report) -> bool:
    """Returns True if fewer programmes were run than were asked for."""
    return words.programmes is not None and report.programmes < words.programmes


def _search(
    words: argparse.Namespace, cluster: GaleraCluster, proxies: Mapping[str, Proxy]
) -> Report:
    with pair(cluster, proxies if words.level == 1 else None) as both:
        cases, play = level(words.level, both, proxies)
        search = Search(cases, play, stop_early=not words.all, shrink=words.shrink)
        before = both.tables.served()
        number = words.programmes or ENDLESS
        report = search.run(number, words.seed, words.seconds)
        served = both.tables.served() - before
        report.reads_elsewhere = words.level != 0 or served >= report.programmes / 10
        _tell(report, served, both.deaths)
        if _is_short(words, report):
            print(f"{words.programmes} were asked for: the time was over")
    return report


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--programmes", type=int, help="how many to run")
    parser.add_argument("--seconds", type=float, default=3e7, help="how long to run them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--level", type=int, choices=(0, 1, 2), default=0)
    parser.add_argument("--shrink", type=float, default=10.0, help="seconds for each difference")
    parser.add_argument("--all", action="store_true", help="go on after the first difference")
    parser.add_argument("--json", type=Path, help="a file for the differences")
    return parser.parse_args()


def _tell(report: Report, served: int, deaths: list[str]) -> None:
    for signature, found in report.new.items():
        print(f"--- {signature}: {1 + report.again[signature]} times\n{found}\n")
    for found in report.unsteady:
        print(f"--- unsteady\n{found}\n")
    for death in deaths:
        print(f"--- a server has died\n{death}\n")
    print(report)
    print(f"SELECTs of the secondaries: {served}{'' if report.reads_elsewhere else ', too few'}")


def _as_json(report: Report) -> dict[str, object]:
    return {
        "programmes": report.programmes,
        "known": report.known,
        "allowed": report.allowed,
        "new": [
            {
                "signature": signature,
                "times": 1 + report.again[signature],
                "case": found.case.to_json(),
                "difference": str(found.difference),
            }
            for signature, found in report.new.items()
        ],
    }


if __name__ == "__main__":
    sys.exit(main())

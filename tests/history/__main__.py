"""``python -m tests.history --histories 10000 --planted 1000``: the checker on random histories."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser

from tests.history.check import complaints
from tests.history.randomly import planted, small


def main() -> int:
    """Return 1 if it complains of a serializable history, or does not see what is planted."""
    parser = ArgumentParser(prog="tests.history", description=__doc__)
    parser.add_argument("--histories", type=int, default=10_000, help="serializable ones")
    parser.add_argument("--planted", type=int, default=1_000, help="with an anomaly each")
    parser.add_argument("--seed", type=int, default=0, help="of the first one")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.histories)
    begin, wrong = time.monotonic(), 0
    for seed in seeds:
        if found := complaints(small(seed)):
            wrong += 1
            print(f"seed {seed} is serializable, and yet: {found[0]}")
    print(f"{len(seeds)} serializable histories: {wrong} complaints, {_since(begin)}")
    begin, missed = time.monotonic(), 0
    for seed in range(options.seed, options.seed + options.planted):
        kind, history = planted(seed)
        found = complaints(history)
        if {one.kind for one in found} != {kind}:
            missed += 1
            print(f"seed {seed} has {kind.value} planted, found was {[str(one) for one in found]}")
    print(f"{options.planted} planted anomalies: {missed} missed, {_since(begin)}")
    return 1 if wrong or missed else 0


def _since(begin: float) -> str:
    return f"{time.monotonic() - begin:.0f} s"


if __name__ == "__main__":
    sys.exit(main())

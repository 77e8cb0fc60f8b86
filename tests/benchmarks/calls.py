"""Python and C calls of one request, ours and stock Django's: ``python -m tests.benchmarks.calls``.

What is counted, and how, is in ``tests/integration/test_calls.py``, which has the limits.
"""

from __future__ import annotations

from galera_router.testing import GaleraCluster
from tests.benchmarks.rows import COUNTED, calls
from tests.benchmarks.sides import fill, migrate, sides


def main() -> None:
    with GaleraCluster() as cluster:
        migrate(cluster)
        fill(cluster)
        print(f"{'calls of a request':36}{'base':>8}{'ours':>8}{'ratio':>7}{'limit':>7}")
        with sides(cluster) as started:
            for row in COUNTED:
                found = calls(row, started)
                base, ours = found[row.base], found["ours"]
                print(f"{row.name:36}{base:8}{ours:8}{ours / base:7.3f}{row.limits.calls:7.2f}")


if __name__ == "__main__":
    main()

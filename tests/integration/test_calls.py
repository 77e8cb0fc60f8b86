"""What a request costs in calls, which are exact where times are noise.

Counted are the Python and C calls (``sys.setprofile``) of one request through the WSGI handler, in
a process of its own for each side: Django without a test framework, ATOMIC_REQUESTS, connections
kept, GaleraMiddleware alone on ours and no middleware on stock Django's, which has nothing of
galera_router in its process. Both are warm: the worker has read from every secondary and written
before, and the view has been asked 30 times. The limits are those of tests/benchmarks/rows.py, and
``python -m tests.benchmarks.calls`` prints the same figures.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from galera_router.testing import GaleraCluster
from tests.benchmarks.rows import COUNTED, Row, calls
from tests.benchmarks.sides import Sides, fill, sides

#: Rows of which it is known that they are above their limits.
ABOVE = frozenset(
    {
        "no query",
        "10 reads",
        "1,000 rows as objects",
        "1,000 rows, values_list",
        "5 reads and a save, first time",
        "5 reads and a save, learned",
        "one write in atomic()",
        "one write outside",
        "one read outside",
        "a request that writes: its token",
    }
)
XFAIL = pytest.mark.xfail(reason="above its limit", strict=True)


@pytest.fixture(scope="module")
def both(migrated: GaleraCluster) -> Iterator[Sides]:
    migrated.heal()
    fill(migrated)
    with sides(migrated) as found:
        yield found


CASES = [
    pytest.param(row, id=row.name, marks=[XFAIL] if row.name in ABOVE else []) for row in COUNTED
]


@pytest.mark.parametrize("row", CASES)
def test_a_request_takes_no_more_calls(both: Sides, row: Row) -> None:
    found = calls(row, both)
    limit = row.limits.calls
    assert limit is not None
    assert found["ours"] <= limit * found[row.base], found

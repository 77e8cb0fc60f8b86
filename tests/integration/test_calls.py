"""What a request costs in calls, which are exact where times are noise.

Counted are the Python and C calls (``sys.setprofile``) of one request through the WSGI handler, in
a process of its own for each side: Django without a test framework, ATOMIC_REQUESTS, connections
kept, GaleraMiddleware alone on ours and no middleware on stock Django's, which has nothing of
galera_router in its process. Both are warm: the worker has read from every secondary and written
before, and the view has been asked 30 times. Of many threads, each has sent a few requests.

The limits are those of tests/benchmarks/rows.py; ``python -m tests.benchmarks.calls`` prints the
figures.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections

from galera_router.testing import GaleraCluster
from tests.benchmarks.rows import COUNTED, Row, calls
from tests.benchmarks.scaling import VIEWS, WARM, stock_with_aliases, with_aliases
from tests.benchmarks.sides import Side, Sides, fill, sides

#: Rows of which it is known that they are above their limits.
ABOVE = frozenset(
    {
        "1,000 rows, values_list",
        "5 reads and a save, learned",
        "one write in atomic()",
        "one write outside",
        "a request that writes: its token",
    }
)
GROWTH_ALONE = 1.10  # from 3 to 15 node aliases, beside ours with 3
GROWTH = 1.05  # from 1 to 32 threads and from 3 to 15 node aliases, beside stock's own
XFAIL = pytest.mark.xfail(reason="above its limit", strict=True)


@pytest.fixture(scope="module")
def both(migrated: GaleraCluster) -> Iterator[Sides]:
    connections.close_all()  # those that have made the tables
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


def test_more_threads_take_no_more_calls(both: Sides) -> None:
    found = {
        (name, count): both[name].do("threads", view="ten_reads", threads=count, seconds=0.1)[
            "calls"
        ]
        for name in ("ours", "stock")
        for count in (1, 32)
    }
    growth = {name: found[name, 32] / found[name, 1] for name in ("ours", "stock")}
    assert growth["ours"] <= GROWTH * growth["stock"], found


@pytest.mark.parametrize("view", VIEWS)
def test_more_node_aliases_take_no_more_calls(both: Sides, view: str) -> None:
    """Stock Django looks through as many aliases in each request."""
    found = {}
    for name, settings in (("ours", with_aliases), ("stock", stock_with_aliases)):
        for count in (3, 15):
            with Side(settings(both, count)) as side:
                found[name, count] = side.do("calls", view=view, warm=WARM)["calls"]
    growth = {name: found[name, 15] / found[name, 3] for name in ("ours", "stock")}
    assert growth["ours"] <= GROWTH * growth["stock"], found
    assert found["ours", 15] <= GROWTH_ALONE * found["ours", 3], found

"""The nodes to try when none is well, and the one that is well again meanwhile."""

from __future__ import annotations

from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

from galera_router.exceptions import NoNodeAvailable
from galera_router.recovery.failover import candidates
from tests.unit.test_cluster import LOST, make


@pytest.fixture
def session() -> Any:
    """A thread's session, as far as it is looked at."""
    options = SimpleNamespace(reconnect_wait_time=5.0)
    cluster = make()
    for node in cluster.nodes:
        cluster.mark_down(node, LOST)
    return SimpleNamespace(cluster=cluster, options=options)


def test_one_that_the_watchdog_has_found_well_is_tried(session: Any) -> None:
    cluster = session.cluster
    tried = candidates(session, cluster.primary, electable=True)
    next(tried)
    cluster.mark_answered(cluster.nodes[2], synced=True, started=None, at=0.0)
    assert [node.name for node in islice(tried, 2)] == ["db3", "db3"]


def test_the_wait_has_an_end(session: Any) -> None:
    session.options.reconnect_wait_time = 0.1
    with pytest.raises(NoNodeAvailable, match=r"db1: .*db2: .*db3: "):
        list(candidates(session, session.cluster.primary, electable=True))

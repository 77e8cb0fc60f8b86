"""A cluster of its own: with binary logs, and with processes that stay for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from galera_router.testing import GaleraCluster, Proxy
from tests.differential.pair import SERVER, Pair, pair


@pytest.fixture(scope="package")
def binlog_cluster() -> Iterator[GaleraCluster]:
    with GaleraCluster(options=SERVER) as cluster:
        yield cluster


@pytest.fixture(scope="package")
def node_proxies(binlog_cluster: GaleraCluster) -> Iterator[dict[str, Proxy]]:
    with binlog_cluster.proxies() as proxies:
        yield proxies


@pytest.fixture(scope="package")
def both(binlog_cluster: GaleraCluster, node_proxies: dict[str, Proxy]) -> Iterator[Pair]:
    """Stock Django and the router, which is behind the proxies."""
    with pair(binlog_cluster, node_proxies) as both:
        yield both

"""The shop of the integration tests, on whichever side a test is run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections

from galera_router.testing import GaleraCluster, Proxy
from tests.integration.conftest import migrated

# The one above sets Django up; the models need that.
# isort: split
from tests.faults.server import routines_of
from tests.faults.support import EitherShop


@pytest.fixture
def shop(side: str, migrated: GaleraCluster, galera: GaleraCluster) -> Iterator[EitherShop]:
    """The healed cluster, emptied, with fresh connections and nothing known of its nodes."""
    shop = EitherShop(galera, side)
    shop.configure()
    shop.empty()
    yield shop
    connections.close_all()


@pytest.fixture(scope="module")
def routines(migrated: GaleraCluster) -> Iterator[None]:
    """The stored routines of ``tests.faults.server`` on all nodes."""
    with routines_of(migrated.nodes[0]):
        yield


@pytest.fixture
def proxy(shop: EitherShop) -> Iterator[Proxy]:
    """The way to the first node, with a book in the shop and all connections open."""
    with shop.proxied() as proxies:
        shop.stock()
        shop.warm()
        yield proxies["db1"]


__all__ = ["migrated"]

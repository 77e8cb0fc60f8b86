"""Django on the running cluster, as in the integration tests, and a warm start."""

from __future__ import annotations

import pytest

from tests.integration.conftest import configured, migrated, shop
from tests.integration.support import Shop

__all__ = ["configured", "migrated", "shop"]


@pytest.fixture
def warm(shop: Shop) -> Shop:
    """Reads go to db2, all is connected, nothing is known of positions."""
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port, ATOMIC_REQUESTS=True)
    shop.stock()
    shop.warm()
    shop.forget_positions()
    return shop

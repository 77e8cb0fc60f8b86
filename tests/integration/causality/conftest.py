"""A warm start."""

from __future__ import annotations

import pytest

from tests.integration.support import Shop


@pytest.fixture
def warm(shop: Shop) -> Shop:
    """Reads go to db2, all is connected, nothing is known of positions."""
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port, ATOMIC_REQUESTS=True)
    shop.stock()
    shop.warm()
    shop.forget_positions()
    return shop

"""A warm start."""

from __future__ import annotations

import pytest

from galera_router import signals
from tests.integration.support import Shop


@pytest.fixture(autouse=True)
def untold() -> None:
    """Nothing of tokens has been told within the last minute."""
    signals.forget_told()


@pytest.fixture
def warm(shop: Shop) -> Shop:
    """Reads go to db2, all is connected, nothing is known of positions."""
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port, ATOMIC_REQUESTS=True)
    shop.stock()
    shop.warm()
    shop.forget_positions()
    return shop

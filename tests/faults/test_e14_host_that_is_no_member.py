"""Only a HOST that is no member is left, and it lags: the read looks for a node with an end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import OperationalError, transaction

from galera_router.testing import Proxy
from tests.faults.known import both
from tests.faults.limits import in_time
from tests.faults.support import EitherShop
from tests.shop.models import Author

#: Seconds: for a node to be well again, for one to catch up, and for an error to come.
WAIT, SYNC, LIMIT = 1.0, 0.5, 4.0


def _configure(shop: EitherShop, proxies: dict[str, Proxy]) -> None:
    """The third node is HOST, the others are NODES."""
    nodes = {n: {"HOST": proxies[n].host, "PORT": proxies[n].port} for n in ("db1", "db2")}
    host = shop.galera["db3"]
    shop.configure(
        NODES=nodes,
        HOST=host.host,
        PORT=host.port,
        OPTIONS={"reconnect_wait_time": WAIT, "wsrep_sync_timeout": SYNC},
    )


@both(stock=False)
@pytest.mark.parametrize("block", [nullcontext, transaction.atomic], ids=["plain", "block"])
def test_a_read_of_ones_own_write(shop: EitherShop, block: Callable[[], Any]) -> None:
    """It must not be answered with what was before, and nobody else is there: an error."""
    with shop.galera.proxies() as proxies:
        _configure(shop, proxies)

        def work() -> str:
            Author.objects.create(name="Ann")
            shop.settle()
            shop.galera["db3"].hold_applier()
            Author.objects.create(name="Bea")
            for proxy in proxies.values():
                proxy.refuse()
                proxy.cut()
            try:
                with block():
                    return f"{Author.objects.count()} authors"
            except OperationalError as error:
                return type(error).__name__

        def rescue() -> None:
            shop.galera["db3"].release_applier()
            for proxy in proxies.values():
                proxy.accept()

        assert in_time(LIMIT, work, rescue) == "NoNodeAvailable"

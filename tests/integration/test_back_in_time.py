"""A thread that reads elsewhere than before sees nothing older than it has seen."""

from __future__ import annotations

import threading

from tests.integration.support import Shop
from tests.shop.models import Book


def pinned(shop: Shop) -> str:
    """The node that reads outside a transaction go to."""
    pin = shop.session.reader.pin
    assert pin is not None
    return pin.name


def test_a_secondary_that_takes_over_is_waited_for(shop: Shop) -> None:
    shop.stock()
    shop.forget()
    first, second = shop.galera["db2"], shop.galera["db3"]
    shop.configure(HOST=first.host, PORT=first.port)
    second.hold_applier()
    shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 5")
    first.wait_applied()
    assert Book.objects.get().stock == 5
    assert pinned(shop) == "db2"
    first.kill()
    release = threading.Timer(1.0, second.release_applier)
    release.start()
    assert Book.objects.get().stock == 5
    assert pinned(shop) == "db3"
    release.join()

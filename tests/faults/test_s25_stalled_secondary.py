"""A secondary that does not apply anything any more, but says that it is in step."""

from __future__ import annotations

import time

import pytest
from django.db import transaction

from galera_router.cluster import monitor
from tests.faults.children import Child
from tests.faults.known import both
from tests.faults.nodes import stalled
from tests.faults.support import EitherShop
from tests.integration.support import elsewhere
from tests.shop.models import Tag

#: Seconds for which the node has stood still when it must not be read from any more.
LONG_ENOUGH = 3.0
MAX_LAG = 1.0
#: Between two questions of a process that nothing was done to, with one to spare.
INTERVAL = 4.0


@pytest.fixture
def reading_on_db2(shop: EitherShop, monkeypatch: pytest.MonkeyPatch) -> EitherShop:
    """Reads go to db2 while it is well, and the nodes are asked often."""
    monkeypatch.setattr(monitor, "ASK_WELL", 0.5)
    second = shop.galera["db2"]
    if shop.is_stock:
        shop.configure()
    else:
        shop.configure(HOST=second.host, PORT=second.port, OPTIONS={"max_lag": MAX_LAG})
    shop.warm()
    return shop


def write_on(shop: EitherShop) -> int:
    """Another client writes for a while, all the time; returns how much."""
    done, until = 0, time.monotonic() + LONG_ENOUGH
    while time.monotonic() < until:
        elsewhere(lambda: Tag.objects.create(name="new"))
        done += 1
        assert shop.galera["db2"].is_synced()
        time.sleep(0.2)
    return done


@both()
def test_a_request_does_not_read_from_it(reading_on_db2: EitherShop) -> None:
    shop = reading_on_db2
    with stalled(shop.galera["db2"], "shop_tag"):
        written = write_on(shop)
        shop.forget()  # a new request, of a client that has written nothing
        assert Tag.objects.count() == written


@both()
def test_a_transaction_does_not_read_from_it(reading_on_db2: EitherShop) -> None:
    shop = reading_on_db2
    with stalled(shop.galera["db2"], "shop_tag"):
        written = write_on(shop)
        shop.forget()
        with transaction.atomic():
            assert Tag.objects.count() == written


@both()
def test_a_busy_node_is_read_from(
    reading_on_db2: EitherShop, caplog: pytest.LogCaptureFixture
) -> None:
    """It is some transactions behind all the time."""
    shop = reading_on_db2
    elsewhere(lambda: Tag.objects.create(name="first"))
    shop.settle()  # what another client writes is not waited for
    until = time.monotonic() + 2 * LONG_ENOUGH
    while time.monotonic() < until:
        elsewhere(lambda: Tag.objects.bulk_create([Tag(name="new") for _ in range(100)]))
        shop.forget()
        assert Tag.objects.exists()
    assert "lags" not in caplog.text


def count() -> int:
    """What a process that never writes sees."""
    return Tag.objects.count()


@both(stock=False)
def test_a_process_that_only_reads_learns_of_it_too(reading_on_db2: EitherShop) -> None:
    """It never goes to the primary. Few writes: many would stop at the cluster's flow control."""
    shop, second = reading_on_db2, reading_on_db2.galera["db2"]
    options = {"max_lag": MAX_LAG}
    databases = shop.databases(HOST=second.host, PORT=second.port, OPTIONS=options)
    with Child(databases) as child, stalled(second, "shop_tag"):
        assert child.call(count) == 0
        written, until = 0, time.monotonic() + MAX_LAG + 2 * INTERVAL
        while time.monotonic() < until:
            elsewhere(lambda: Tag.objects.create(name="new"))
            written += 1
            child.call(count)
            time.sleep(1.0)
        shop.galera["db3"].wait_applied()
        assert child.call(count) == written

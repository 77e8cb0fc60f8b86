"""ELECTABLE, WEIGHT and ZONE of the nodes, on the real cluster."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from galera_router.exceptions import NoNodeAvailable
from galera_router.testing import Proxy
from tests.integration.support import Shop, wait_until
from tests.shop.models import Tag


def configure(shop: Shop, *, proxies: dict[str, Proxy] | None = None, **more: Any) -> None:
    """Use the cluster with ``more`` settings: of the nodes db1, db2 and db3, and OPTIONS."""
    nodes = shop.galera.databases(proxies=proxies)["default"]["NODES"]
    merged = {name: {**node, **more.get(name, {})} for name, node in nodes.items()}
    shop.configure(NODES=merged, OPTIONS=more.get("OPTIONS", {}))


def read_in(shop: Shop) -> str:
    """The node that a new request reads from."""
    shop.forget()
    with transaction.atomic():
        Tag.objects.count()
        return shop.reading.name


def written_on(shop: Shop) -> str:
    """The node that a new transaction writes to."""
    with transaction.atomic():
        Tag.objects.create(name="x")
        return shop.writing.name


def test_reads_stay_in_the_zone_until_its_node_dies(shop: Shop) -> None:
    near, far = {"ZONE": "near"}, {"ZONE": "far"}
    configure(shop, db1=far, db2=far, db3=near, OPTIONS={"zone": "near"})
    assert {read_in(shop) for _ in range(10)} == {"db3"}
    assert written_on(shop) == "db1"
    shop.settle()
    shop.forget()
    with transaction.atomic():
        Tag.objects.count()
        shop.galera["db3"].kill()
        assert Tag.objects.count() == 1
        assert shop.reading.name == "db2"
    assert {read_in(shop) for _ in range(10)} == {"db2"}
    shop.galera["db3"].start()
    wait_until(lambda: read_in(shop) == "db3", 30)


def test_a_node_without_a_weight_is_not_read_from(shop: Shop) -> None:
    configure(shop, db3={"WEIGHT": 0})
    assert {read_in(shop) for _ in range(10)} == {"db2"}


def test_the_first_that_is_electable_is_written_to(shop: Shop) -> None:
    configure(shop, db1={"ELECTABLE": False})
    assert written_on(shop) == "db2"
    assert {read_in(shop) for _ in range(20)} == {"db1", "db3"}
    shop.galera["db2"].reject_queries(kind="ALL_KILL")
    assert written_on(shop) == "db3"
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(2,)]


def test_nothing_is_written_where_only_a_node_that_is_not_electable_is_left(shop: Shop) -> None:
    barred = {"ELECTABLE": False}
    with shop.galera.proxies() as proxies:
        configure(shop, proxies=proxies, db3=barred, OPTIONS={"reconnect_wait_time": 1.0})
        assert written_on(shop) == "db1"
        for name in ("db1", "db2"):
            proxies[name].refuse()
            proxies[name].cut()
        shop.forget()
        with shop.galera["db3"].statements() as sent:
            with pytest.raises(NoNodeAvailable, match="db3: is not electable"):
                Tag.objects.create(name="outside")
            shop.forget()
            with (
                pytest.raises(NoNodeAvailable, match="db3: is not electable"),
                transaction.atomic(),
            ):
                assert Tag.objects.count() == 1
                assert shop.reading.name == "db3"
                Tag.objects.create(name="inside")
        assert not [s for s in sent if "INSERT" in s.sql.upper()]
        assert read_in(shop) == "db3"
        for name in ("db1", "db2"):
            proxies[name].accept()
        wait_until(lambda: shop.session.cluster.primary() is not None)
        assert written_on(shop) in ("db1", "db2")
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == [("x",), ("x",)]

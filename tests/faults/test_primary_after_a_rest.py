"""A process that has rested does not know who has become the primary meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connections, transaction

from galera_router import reads
from galera_router.cluster.failback import move
from galera_router.cluster.nodes import RESTED
from galera_router.cluster.registry import cluster_of
from tests.faults.children import Child
from tests.faults.known import both
from tests.faults.nodes import stalled
from tests.faults.support import EitherShop
from tests.shop.models import Tag


def take_over() -> None:
    """Make db2 the primary, and write there."""
    cluster = cluster_of("default")
    assert cluster is not None
    move(cluster.nodes[1], "by hand", held=True)
    Tag.objects.create(name="second")


def count() -> int:
    return Tag.objects.count()


def count_in_block() -> int:
    with transaction.atomic():
        return Tag.objects.count()


@both(stock=False)
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "anew"])
@pytest.mark.parametrize("work", [count, count_in_block])
def test_what_is_read_on_the_primary_is_not_old(
    shop: EitherShop, work: Callable[[], int], kept: bool
) -> None:
    """The one that it knows of is a secondary by now, and lags."""
    Tag.objects.create(name="first")
    shop.forget()
    cluster = shop.session.cluster
    with stalled(shop.galera["db1"], "shop_tag"), Child(shop.databases()) as child:
        child.call(take_over)
        if not kept:
            connections["default"].close()
        cluster.used -= RESTED
        with reads("primary"):
            assert work() == 2


@both(stock=False)
def test_it_is_asked_once(shop: EitherShop) -> None:
    Tag.objects.create(name="first")
    shop.forget()
    shop.session.cluster.used -= RESTED
    with shop.traffic() as first, reads("primary"):
        count()
    with shop.traffic() as second, reads("primary"):
        count()
    asked = [sum("wsrep_sync_wait=1" in sql for sql in sent["db1"]) for sent in (first, second)]
    assert asked == [1, 0]

"""A primary whose clock was ahead when it became the primary."""

from __future__ import annotations

from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Tag

AHEAD = (
    "UPDATE galera_router.galera_router_epoch SET changed_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR"
)


@both(stock=False)
def test_one_that_cannot_be_reached_is_taken_away_all_the_same(shop: EitherShop) -> None:
    """Its epoch is as old as this process has known it, at least."""
    with shop.proxied(OPTIONS={"reconnect_wait_time": 12.0}) as proxies:
        Tag.objects.create(name="first")
        shop.galera["db1"].query(AHEAD)
        shop.settle()
        proxies["db1"].refuse()
        shop.galera["db1"].kill_connections()
        Tag.objects.create(name="second")
        assert shop.writing.name == "db2"

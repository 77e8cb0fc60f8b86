"""Nodes that are far away: a question with seven round trips is never answered in time."""

from __future__ import annotations

import pytest
from django.db import connections, transaction

from tests.faults.known import both
from tests.faults.limits import spared
from tests.faults.support import EitherShop
from tests.shop.models import Author

#: Seconds of a round trip to another continent.
TRIP = 0.15


@both(stock=False)
@pytest.mark.parametrize("alias", ["default", "default_db3"])
def test_a_long_statement_on_a_node_far_away(
    shop: EitherShop, caplog: pytest.LogCaptureFixture, alias: str
) -> None:
    """It makes the watchdog ask; that the answer takes its time is no reason to end anything."""
    with shop.proxied(OPTIONS={"watchdog_after": 0.2}) as proxies:
        shop.warm()
        for proxy in proxies.values():
            proxy.delay(TRIP)
        with spared(2013), connections[alias].cursor() as cursor:
            cursor.execute("SELECT SLEEP(1.6)")
            assert cursor.fetchall() == ((0,),)
    assert "is down" not in caplog.text


@both(stock=False)
def test_a_block_with_a_long_statement(shop: EitherShop, caplog: pytest.LogCaptureFixture) -> None:
    with shop.proxied(OPTIONS={"watchdog_after": 0.2}) as proxies:
        shop.warm()
        for proxy in proxies.values():
            proxy.delay(TRIP)
        with spared(2013), transaction.atomic():
            Author.objects.create(name="Ann")
            with connections["default"].cursor() as cursor:
                cursor.execute("SELECT SLEEP(1.6)")
    assert "is down" not in caplog.text
    assert shop.everywhere("SELECT name FROM galera_router.shop_author") == [("Ann",)]

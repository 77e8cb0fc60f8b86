"""A node that says Synced and applies nothing becomes the primary: every write waits, and fails.

A backup that locks a table does that to a node. The third node would take the write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest
from django.db import transaction

from galera_router.testing import GaleraNode
from galera_router.testing.admin import open_connection
from tests.faults.known import both
from tests.faults.limits import in_time
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book

#: Seconds that the cluster itself needs to form a new view without a node that was killed; those
#: that the writes may need beyond; those after which a node is given up.
PAUSE, BEYOND, PATIENCE = 2.0, 2.0, 4.0


class Stall:
    """Another client's lock on one table of one node; what is written to it cannot be applied."""

    def __init__(self, node: GaleraNode) -> None:
        self._client = open_connection(node.socket)
        with closing(self._client.cursor()) as cursor:
            cursor.execute("LOCK TABLES galera_router.shop_author READ")

    def end(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


@pytest.fixture
def stall(shop: EitherShop) -> Iterator[Stall]:
    """Of the second node, which is behind by one write already."""
    shop.stock()
    stall = Stall(shop.galera["db2"])
    try:
        yield stall
    finally:
        stall.end()


def _create() -> None:
    Author.objects.create(name="Bea")


def _create_in_a_block() -> None:
    with transaction.atomic():
        assert Book.objects.count() == 1
        _create()


works = pytest.mark.parametrize("work", [_create, _create_in_a_block])


def _behind(shop: EitherShop) -> None:
    """The second node has a write to apply, and all connections are there."""
    shop.warm()
    Author.objects.create(name="Cid")
    shop.galera["db3"].wait_applied()


def _check(shop: EitherShop, stall: Stall) -> None:
    stall.end()
    names = "SELECT name FROM galera_router.shop_author ORDER BY name"
    assert shop.everywhere(names) == [("Ann",), ("Bea",), ("Cid",)]


@both(stock=False)
@works
def test_the_primary_cannot_be_reached(
    shop: EitherShop, stall: Stall, work: Callable[[], None]
) -> None:
    with shop.proxied(OPTIONS={"reconnect_wait_time": PATIENCE}) as proxies:
        _behind(shop)
        proxies["db1"].refuse()
        proxies["db1"].cut()
        in_time(BEYOND, work, stall.end)
        _check(shop, stall)


@both(stock=False)
def test_the_primary_is_killed(shop: EitherShop, stall: Stall) -> None:
    shop.configure(OPTIONS={"reconnect_wait_time": PATIENCE})
    _behind(shop)
    shop.galera["db1"].kill()
    in_time(PAUSE + BEYOND, _create, stall.end)
    _check(shop, stall)


@both(stock=False)
def test_the_writes_after_it(shop: EitherShop, stall: Stall) -> None:
    """The stalled node is not tried again and again."""
    with shop.proxied(OPTIONS={"reconnect_wait_time": PATIENCE}) as proxies:
        _behind(shop)
        proxies["db1"].refuse()
        proxies["db1"].cut()
        in_time(BEYOND, _create, stall.end)
        for name in ("Dan", "Eve"):
            in_time(0.5, partial(Author.objects.create, name=name), stall.end)

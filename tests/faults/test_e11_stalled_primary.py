"""A node that says Synced and applies nothing becomes the primary: every write waits, and fails.

A backup that locks a table does that to a node. The third node would take the write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest
from django.db import OperationalError, transaction

from galera_router.cluster import change, monitor
from galera_router.cluster.compare import lacks_something
from galera_router.connections.connection import NodeConnection
from galera_router.exceptions import NoNodeAvailable
from galera_router.recovery import failover
from galera_router.testing import GaleraNode
from galera_router.testing.admin import open_connection
from galera_router.transactions import opening
from galera_router.transactions.session import Session
from tests.faults.known import both
from tests.faults.limits import in_time
from tests.faults.support import EitherShop
from tests.integration.support import wait_until
from tests.shop.models import Author, Book

#: Seconds that the cluster itself needs to form a new view without a node that was killed; those
#: that the writes may need beyond; those after which a node is given up.
PAUSE, BEYOND, PATIENCE = 2.0, 3.0, 4.0


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


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A primary that cannot be reached from here alone is taken away without a pause."""
    monkeypatch.setattr(change, "CUT_OFF", 0.0)


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


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that are well are asked often."""
    monkeypatch.setattr(monitor, "ASK_WELL", 0.5)


@both(stock=False)
def test_a_node_that_is_known_to_be_stalled_is_not_tried(
    shop: EitherShop,
    stall: Stall,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its position has told, before it was to be the primary."""
    monkeypatch.setattr(monitor, "ASK_WELL", 0.5)
    with shop.proxied(OPTIONS={"reconnect_wait_time": PATIENCE, "max_lag": 1.0}) as proxies:
        _behind(shop)
        second = shop.session.cluster.nodes[1]
        wait_until(lambda: bool(Author.objects.exists()) and second.behind)
        proxies["db1"].refuse()
        proxies["db1"].cut()
        in_time(BEYOND, _create, stall.end)
        assert "has not caught up" not in caplog.text
        _check(shop, stall)


@both(stock=False)
def test_where_nothing_else_is_left_it_is_waited_for(shop: EitherShop, stall: Stall) -> None:
    """As a node that only has much to apply would be: on one connection, not again and again."""
    with shop.proxied(OPTIONS={"reconnect_wait_time": PATIENCE}) as proxies:
        _behind(shop)
        for name in ("db1", "db3"):
            proxies[name].refuse()
            proxies[name].cut()
        threading.Timer(2.5, stall.end).start()
        _create()
        assert shop.writing.name == "db2"
    names = "SELECT name FROM galera_router.shop_author ORDER BY name"
    assert shop.everywhere(names) == [("Ann",), ("Bea",), ("Cid",)]


@both(stock=False)
@works
def test_another_node_comes_back_meanwhile(
    shop: EitherShop, stall: Stall, work: Callable[[], None]
) -> None:
    """The wait for the stalled one, which was the only one, ends then."""
    with shop.proxied(OPTIONS={"reconnect_wait_time": 4 * PATIENCE}) as proxies:
        _behind(shop)
        for name in ("db1", "db3"):
            proxies[name].refuse()
            proxies[name].cut()
        first, _, third = shop.session.cluster.nodes
        for node in (first, third):
            shop.session.cluster.mark_down(node, OperationalError(2013, "lost"))
        timer = threading.Timer(1.0, proxies["db3"].accept)
        timer.start()
        in_time(BEYOND + 1.5, work, stall.end)
        timer.join()
        leader = shop.session.cluster.primary()
        assert leader is not None
        assert leader.name == "db3"
        _check(shop, stall)


@both(stock=False)
def test_where_it_does_not_catch_up_the_node_is_named(shop: EitherShop, stall: Stall) -> None:
    with shop.proxied(OPTIONS={"reconnect_wait_time": 1.5}) as proxies:
        _behind(shop)
        for name in ("db1", "db3"):
            proxies[name].refuse()
            proxies[name].cut()
        with pytest.raises(NoNodeAvailable, match="db2"):
            in_time(1.5 + BEYOND, _create, stall.end)


@both(stock=False)
def test_a_cluster_that_forms_a_new_view_is_waited_for(
    shop: EitherShop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No node is ready then. All processes wait for the same one, whenever they come."""
    begin, waits = opening._begin_with_prime, ["db2", "db2", "db2"]

    def not_yet(session: Session, link: NodeConnection, *, synced: bool) -> bool:
        if waits and link.node.name == waits[-1]:
            waits.pop()
            raise failover.LagsBehind("as if it had waited in vain")
        return begin(session, link, synced=synced)

    with shop.proxied(OPTIONS={"reconnect_wait_time": PATIENCE}) as proxies:
        shop.stock()
        shop.warm()
        monkeypatch.setattr(opening, "_begin_with_prime", not_yet)
        proxies["db1"].refuse()
        proxies["db1"].cut()
        _create()
        assert shop.writing.name == "db2"
    assert not waits
    assert "lags" not in caplog.text


@both(stock=False)
def test_whether_a_node_lacks_something(shop: EitherShop, stall: Stall) -> None:
    """That can be told before any position is known."""
    first, second, third = shop.session.cluster.nodes
    found = [lacks_something(node) for node in (first, second, third)]
    _behind(shop)
    assert [found, [lacks_something(node) for node in (first, second, third)]] == [
        [False, False, False],
        [False, True, False],
    ]
    shop.session.cluster.mark_down(first, OSError(2003, "down"))
    shop.session.cluster.mark_down(third, OSError(2003, "down"))
    assert not lacks_something(second), "nobody is left who has more"

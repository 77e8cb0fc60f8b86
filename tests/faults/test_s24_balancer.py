"""Several servers behind the address of one node."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from django.core.checks import run_checks
from django.db import connection, connections

from galera_router import after, causal_token
from galera_router.testing import Proxy
from tests.faults.balancer import Balancer
from tests.faults.known import both
from tests.faults.nodes import stalled
from tests.faults.support import EitherShop
from tests.integration.support import elsewhere, wait_until
from tests.shop.models import Tag


def behind(balancer: Balancer, name: str) -> dict[str, Any]:
    """Reach the node ``name`` through ``balancer``."""
    return {"proxies": {name: cast("Proxy", balancer)}}


def write() -> str:
    Tag.objects.create(name="new")
    return causal_token()


@both()
def test_a_long_statement_is_let_alone(shop: EitherShop) -> None:
    """The question how it is comes to the other server, which does not know of it."""
    with Balancer([shop.galera["db1"], shop.galera["db2"]]) as balancer:
        options = {"failover_enable": False, "watchdog_after": 0.2}
        shop.configure(**behind(balancer, "db1"), OPTIONS=options)
        with connection.cursor() as cursor:
            cursor.execute("SELECT SLEEP(2.5)")
            assert cursor.fetchall() == ((0,),)
        connections.close_all()


@contextmanager
def one_of_two(shop: EitherShop) -> Iterator[Balancer]:
    """Read at an address that is that of db2, and of db3 as well, which has come to a halt."""
    second, third = shop.galera["db2"], shop.galera["db3"]
    with Balancer([second, third]) as balancer, stalled(third, "shop_tag"):
        reach = behind(balancer, "db2") | {"HOST": balancer.host, "PORT": balancer.port}
        shop.configure(**reach, OPTIONS={"wsrep_sync_timeout": 1.0})
        yield balancer
        connections.close_all()


def wait_for_idle(balancer: Balancer) -> None:
    """Wait until all connections have ended: the next one goes to db2, the one after it to db3."""
    wait_until(lambda: balancer.connections == 0)


@both(stock=False)
def test_a_new_connection_includes_an_own_write(shop: EitherShop) -> None:
    """The node was waited for, and is then another server."""
    with one_of_two(shop) as balancer:
        Tag.objects.create(name="own")
        connections["default_db2"].close()
        wait_for_idle(balancer)
        assert Tag.objects.count() == 1
        connections["default_db2"].close()
        wait_for_idle(balancer)
        with socket.create_connection((balancer.host, balancer.port)) as other:
            assert other.recv(1)  # from db2
            assert Tag.objects.count() == 1


@both(stock=False)
def test_a_new_connection_includes_what_a_token_names(shop: EitherShop) -> None:
    """Another thread has found out how far the node has come: that was another server."""
    with one_of_two(shop) as balancer:
        token = elsewhere(write)
        wait_for_idle(balancer)

        def read() -> int:
            with after(token):
                return Tag.objects.count()

        assert read() == 1
        assert elsewhere(read) == 1


@contextmanager
def elsewhere_too(balancer: Balancer) -> Iterator[None]:
    """Have somebody else connected to db2: the next connection goes to db3."""
    connections["default_db2"].close()
    wait_for_idle(balancer)
    with socket.create_connection((balancer.host, balancer.port)) as other:
        assert other.recv(1)
        yield


@both(stock=False)
def test_the_log_says_once_that_there_are_several(
    shop: EitherShop, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that comes back after another was not replaced by it."""
    with Balancer([shop.galera["db2"], shop.galera["db3"]]) as balancer:
        shop.configure(**behind(balancer, "db2"), HOST=balancer.host, PORT=balancer.port)
        node = shop.session.cluster.node("default_db2")
        for turn in range(3):
            Tag.objects.create(name=f"own {turn}")
            connections["default_db2"].close()
            wait_for_idle(balancer)
            assert Tag.objects.count() == turn + 1
            with elsewhere_too(balancer):
                Tag.objects.update(name="own")
                assert Tag.objects.count() == turn + 1
        assert node.several
        connections.close_all()
    told = [r for r in caplog.records if "several servers answer as node db2" in r.getMessage()]
    assert [r.levelno for r in told] == [logging.WARNING]


@both(stock=False)
def test_the_check_says_so_too(shop: EitherShop) -> None:
    with one_of_two(shop):
        found = [m for m in run_checks(databases=["default"]) if m.id == "galera_router.W019"]
    (message,) = found
    assert "Node db2 of 'default' is several servers" in message.msg


@both(stock=False)
def test_a_server_that_was_replaced_is_one(shop: EitherShop) -> None:
    cluster = shop.session.cluster
    node = cluster.nodes[0]
    turns = [cluster.note_server(node, name) for name in ("a", "a", "b", "b", "c")]
    assert turns[0] == turns[1] < turns[2] == turns[3] < turns[4]
    assert [n.name for n in cluster.nodes if n.several] == []
    assert cluster.primary() is node
    cluster.note_server(node, "a")
    assert [n.name for n in cluster.nodes if n.several] == ["db1"]
    assert cluster.primary() is cluster.nodes[1]


@both(stock=False)
def test_a_server_that_was_repaired_and_is_back_is_one(
    shop: EitherShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = shop.session.cluster
    node, now = cluster.nodes[0], 0.0
    monkeypatch.setattr(cluster, "_clock", lambda: now)
    for name in ("a", "b", "a"):
        now += 3600.0
        cluster.note_server(node, name)
    assert not node.several


@both(stock=False)
def test_the_primary_stays_it_where_another_server_has_answered_for_a_moment(
    shop: EitherShop,
) -> None:
    """The others follow the table, which names it: none of them may take over."""
    Tag.objects.create(name="first")
    cluster = shop.session.cluster
    node = cluster.nodes[0]
    server = node.server
    for name in ("its stand-in", server):
        cluster.note_server(node, name)
    assert node.several
    with shop.traffic() as sent:
        Tag.objects.create(name="second")
    assert any("INSERT INTO `shop_tag`" in sql for sql in sent["db1"])

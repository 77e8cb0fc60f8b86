"""A server of another cluster, or of none, among NODES: not read from, not written to, named."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction

from galera_router import expand
from galera_router.cluster import membership as identity
from galera_router.cluster import monitor
from galera_router.exceptions import ClusterError
from galera_router.testing import GaleraCluster, GaleraNode, Proxy
from galera_router.testing.relay import Server
from tests.integration.support import Shop, elsewhere, use_databases, without_galera
from tests.shop.models import Author


@pytest.fixture(scope="module")
def strangers() -> Iterator[GaleraCluster]:
    """Another cluster, with the same database, the same user and the same tables."""
    with GaleraCluster(size=1) as cluster:
        use_databases(expand(cluster.databases()))
        call_command("migrate", verbosity=0, run_syncdb=True)
        connections.close_all()
        yield cluster


@pytest.fixture
def stranger(strangers: GaleraCluster) -> GaleraNode:
    node = strangers.nodes[0]
    node.query("DELETE FROM galera_router.shop_author")
    node.query("INSERT INTO galera_router.shop_author (name) VALUES ('Stranger')")
    return node


@pytest.fixture(autouse=True)
def asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """As outside tests: the first connection of a process has the other nodes asked."""
    monkeypatch.setattr(identity, "ASK", True)


@pytest.fixture
def mixed(shop: Shop, stranger: GaleraNode) -> Iterator[Callable[..., None]]:
    """``mixed("db1", "stranger", "db2")``: these are NODES, in this order."""

    def configure(*names: str, **overrides: Any) -> None:
        servers = {node.name: node for node in shop.galera.nodes} | {"stranger": stranger}
        nodes = {name: {"HOST": servers[name].host, "PORT": servers[name].port} for name in names}
        shop.configure(NODES=nodes, **overrides)

    Author.objects.create(name="Ann")
    shop.settle()
    yield configure
    assert stranger.query("SELECT name FROM galera_router.shop_author") == [("Stranger",)]


def names() -> list[str]:
    return sorted(Author.objects.values_list("name", flat=True))


def lead_to(proxy: Proxy, node: GaleraNode) -> None:
    """Have what was the address of one server be that of another."""
    board = proxy._running()
    board._server = Server(socket.AF_INET, (node.host, node.port))
    proxy.cut()


def down(shop: Shop) -> set[str]:
    return {node.name for node in shop.session.cluster.nodes if not node.up}


@pytest.mark.parametrize(
    "order", [("stranger", "db2", "db3"), ("db1", "stranger", "db3"), ("db1", "db2", "stranger")]
)
def test_the_first_use_of_a_process_is_not_of_a_stranger(
    mixed: Callable[..., None], shop: Shop, order: tuple[str, ...]
) -> None:
    """Wherever it stands in NODES, and whether a read comes first or a write."""
    for _ in range(3):  # readers are chosen at random
        mixed(*order)
        assert names() == ["Ann"]
        mixed(*order)
        Author.objects.create(name="Bea")
        assert names() == ["Ann", "Bea"]
        mixed(*order)
        with transaction.atomic():
            assert names() == ["Ann", "Bea"]
            Author.objects.filter(name="Bea").delete()
    shop.settle()
    assert names() == ["Ann"]


def test_of_two_the_first_is_right(
    mixed: Callable[..., None], shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    mixed("db1", "stranger")
    for _ in range(20):
        assert names() == ["Ann"]
        Author.objects.filter(name="Bea").delete()
    told = [r for r in caplog.records if "another cluster" in r.getMessage()]
    assert len(told) == 1, "once, not per request"
    assert told[0].levelno == logging.WARNING
    assert "default: node stranger is down: it belongs to another cluster" in told[0].getMessage()
    assert down(shop) == {"stranger"}


def test_host_may_not_be_a_stranger_either(
    mixed: Callable[..., None], shop: Shop, stranger: GaleraNode
) -> None:
    mixed("db1", "db2", "db3", HOST=stranger.host, PORT=stranger.port)
    assert names() == ["Ann"]
    assert down(shop) == {"host"}


def test_where_all_of_ours_have_died_a_stranger_does_not_take_over(
    mixed: Callable[..., None], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "ASK_WELL", 1.0)
    mixed("db1", "db2", "stranger", OPTIONS={"reconnect_wait_time": 1.0})
    assert names() == ["Ann"]
    Author.objects.create(name="Bea")
    for name in ("db1", "db2"):
        shop.galera[name].reject_queries()
    for use in (names, lambda: Author.objects.create(name="Cid")):
        with pytest.raises(ClusterError, match="stranger: it belongs to another cluster"):
            use()


@pytest.mark.parametrize("name", ["db1", "db3"])
def test_a_server_that_becomes_a_stranger_is_left_at_once(
    mixed: Callable[..., None],
    shop: Shop,
    stranger: GaleraNode,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """An address may lead elsewhere from one moment to the next."""
    monkeypatch.setattr(identity, "FRESH", 0.0)
    with shop.galera.proxies() as proxies:
        shop.configure(proxies=proxies)
        assert names() == ["Ann"]
        Author.objects.create(name="Bea")
        shop.settle()
        lead_to(proxies[name], stranger)
        for _ in range(10):
            assert names() == ["Ann", "Bea"]
            Author.objects.filter(name="Bea").update(name="Bea")
            shop.forget()
        connections.close_all()


def test_a_server_without_galera_is_a_stranger_beside_a_cluster_and_fine_by_itself(
    shop: Shop, mixed: Callable[..., None], stranger: GaleraNode
) -> None:
    with without_galera(stranger):
        mixed("stranger", "db2", "db3")
        assert names() == ["Ann"]
        Author.objects.create(name="Bea")
        assert down(shop) == {"stranger"}
        mixed("stranger")
        assert names() == ["Stranger"]
        with transaction.atomic():
            author = Author.objects.create(name="Cid")
            assert names() == ["Cid", "Stranger"]
            author.delete()
        assert down(shop) == set()
        shop.configure(NODES={
            "one": {"HOST": "localhost", "OPTIONS": {"unix_socket": str(stranger.socket)}},
            "two": {"HOST": "127.0.0.1", "PORT": stranger.port},
        })  # fmt: skip
        assert names() == ["Stranger"]
        Author.objects.create(name="Dan").delete()
        assert down(shop) == set(), "two names of one server"
    connections.close_all()


def test_a_cluster_that_is_built_anew_is_used_without_a_restart(
    strangers: GaleraCluster, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All nodes lead elsewhere from now on, as they do when the servers are installed anew."""
    monkeypatch.setattr(monitor, "ASK_ILL", 1.0)
    Author.objects.create(name="Ann")
    new = strangers.nodes[0]
    new.query("DELETE FROM galera_router.shop_author")
    new.query("INSERT INTO galera_router.shop_author (name) VALUES ('New')")
    with shop.galera.proxies() as proxies:
        shop.configure(proxies=proxies)
        assert elsewhere(names) == ["Ann"]
        Author.objects.create(name="Bea")
        for proxy in proxies.values():
            lead_to(proxy, new)
        assert names() == ["New"]
        Author.objects.create(name="Newer").delete()
        assert names() == ["New"]
        connections.close_all()


def test_a_request_that_only_reads_does_not_have_the_primary_asked(shop: Shop) -> None:
    shop.stock()
    for _ in range(3):
        shop.configure()
        with shop.traffic() as sent:
            assert names() == ["Ann"]
        assert sent["db1"] == []


def test_a_known_node_is_not_asked_again_on_each_connection_to_read_from(shop: Shop) -> None:
    shop.stock()
    shop.configure(CONN_MAX_AGE=0)
    names()
    with shop.traffic() as sent:
        for _ in range(5):
            connections.close_all()
            shop.forget()
            names()
    asked = [s for log in sent.values() for s in log if "wsrep_cluster_state_uuid" in s]
    assert len(asked) <= 1, "the other secondary, once"


def test_a_connection_to_the_primary_is_asked_in_a_packet_that_is_sent_anyway(shop: Shop) -> None:
    shop.stock()
    connections.close_all()
    with shop.galera["db1"].statements() as sent:
        Author.objects.create(name="Bea")
    asked = [s for s in sent if "wsrep_cluster_state_uuid" in s.sql]
    assert len(asked) == 1
    assert "START TRANSACTION WITH CONSISTENT SNAPSHOT; COMMIT;" in asked[0].sql

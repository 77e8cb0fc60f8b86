"""A cluster that was rebuilt from a node that this process never met is called foreign.

Of a node that nobody has heard of while the others were there, nothing says that it is a stranger.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connections, transaction

from galera_router import expand
from galera_router.cluster import membership as identity
from galera_router.testing import GaleraCluster, Proxy
from galera_router.testing.relay import Server
from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.integration.support import use_databases
from tests.shop.models import Author


@pytest.fixture(scope="module")
def rebuilt(migrated: GaleraCluster) -> Iterator[GaleraCluster]:
    """The cluster after that: another identity, the same tables; one node, so far."""
    with GaleraCluster(size=1) as cluster:
        use_databases(expand(cluster.databases()))
        call_command("migrate", verbosity=0, run_syncdb=True)
        connections.close_all()
        yield cluster


@pytest.fixture
def ways(
    shop: EitherShop, rebuilt: GaleraCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Proxy]]:
    """Those to the nodes, for a process that asks who they are, as outside of tests."""
    monkeypatch.setattr(identity, "ASK", True)
    node = rebuilt.nodes[0]
    node.query("DELETE FROM galera_router.shop_author")
    node.query("INSERT INTO galera_router.shop_author (name) VALUES ('New')")
    Author.objects.create(name="Ann")
    shop.settle()
    with shop.proxied(OPTIONS={"reconnect_wait_time": 2.0}) as proxies:
        yield proxies


def _rebuild(ways: dict[str, Proxy], rebuilt: GaleraCluster) -> None:
    """The first two are gone; at the address of the third is the cluster that it has begun."""
    node = rebuilt.nodes[0]
    for name in ("db1", "db2"):
        ways[name].refuse()
        ways[name].cut()
    ways["db3"]._running()._server = Server(socket.AF_INET, (node.host, node.port))
    ways["db3"].cut()
    ways["db3"].accept()


def _names() -> list[str]:
    return sorted(Author.objects.values_list("name", flat=True))


def _use() -> None:
    assert _names() == ["New"]
    with transaction.atomic():
        author = Author.objects.create(name="Newer")
        assert _names() == ["New", "Newer"]
        author.delete()


@both(stock=False)
def test_a_node_that_was_down_when_the_process_began(
    ways: dict[str, Proxy], rebuilt: GaleraCluster
) -> None:
    ways["db3"].refuse()
    assert _names() == ["Ann"]
    Author.objects.filter(name="Ann").update(name="Ann")
    _rebuild(ways, rebuilt)
    _use()


@both(stock=False)
def test_a_node_that_was_met(ways: dict[str, Proxy], rebuilt: GaleraCluster) -> None:
    for _ in range(10):  # wherever it reads
        assert _names() == ["Ann"]
        connections.close_all()
    Author.objects.filter(name="Ann").update(name="Ann")
    with connections["default_db3"].cursor() as cursor:
        cursor.execute("SELECT 1")
    _rebuild(ways, rebuilt)
    _use()

"""Under TLS, which the servers demand: each connection has it, whoever opens it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections, transaction

from galera_router.cluster import monitor
from galera_router.exceptions import NoNodeAvailable
from galera_router.testing import GaleraCluster
from tests.ecosystem.test_connections import NODES, holds
from tests.integration.support import Shop, wait_until
from tests.papers import make_papers
from tests.shop.models import Author


@pytest.fixture(scope="module")
def papers() -> Iterator[Path]:
    """A folder with a CA, a server's certificate by it, and a CA that has signed nothing."""
    with tempfile.TemporaryDirectory() as name:
        make_papers(Path(name))
        yield Path(name)


@pytest.fixture(scope="module")
def encrypted(papers: Path) -> Iterator[GaleraCluster]:
    """A cluster of its own whose user may not connect without TLS."""
    words = {"ca": "ca.pem", "cert": "server.pem", "key": "server.key"}
    options = [f"--ssl-{name}={papers / file}" for name, file in words.items()]
    with GaleraCluster(options=options) as cluster:
        for host in ("%", "localhost"):
            cluster.nodes[0].query("ALTER USER galera@%s REQUIRE SSL", [host])
        yield cluster


@pytest.fixture
def shop(migrated: GaleraCluster, encrypted: GaleraCluster, papers: Path) -> Iterator[Shop]:
    """The project on that cluster, ``migrated`` having set Django up."""
    encrypted.heal()
    shop = Shop(encrypted)
    shop.configure(OPTIONS={"ssl": {"ca": str(papers / "ca.pem")}})
    call_command("migrate", verbosity=0, run_syncdb=True)
    shop.empty()
    yield shop
    connections.close_all()
    shop.configure()


def cipher(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        ((_, value),) = cursor.fetchall()
    return str(value)


@pytest.mark.parametrize("lose", ["kill_connections", "kill", "stop"])
def test_every_node_and_a_failover(shop: Shop, lose: str) -> None:
    for alias in ("default", *NODES):
        assert cipher(alias)
    holds(shop, lose=lose)
    assert cipher("default")


@pytest.mark.parametrize("mode", ["REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"])
def test_modes(shop: Shop, papers: Path, mode: str) -> None:
    shop.configure(OPTIONS={"ssl_mode": mode, "ssl": {"ca": str(papers / "ca.pem")}})
    holds(shop)
    assert cipher("default_db2")


def test_a_frozen_node_is_noticed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog's own connections have TLS as well, and it ends those that wait."""
    monkeypatch.setattr(monitor, "ASK_WELL", 3.0)
    shop.stock()
    with transaction.atomic():
        assert Author.objects.count() == 1
        shop.reading.freeze()
        assert Author.objects.count() == 1
    wait_until(lambda: sum(node.up for node in shop.session.cluster.nodes) == 2)
    for node in shop.galera.nodes:
        node.relieve()
    wait_until(lambda: all(node.up for node in shop.session.cluster.nodes))


@pytest.mark.parametrize("options", ["other", None])
def test_what_does_not_fit_is_told_at_once(shop: Shop, papers: Path, options: Any) -> None:
    given = {"ssl": {"ca": str(papers / "other.pem")}} if options else {"ssl_mode": "DISABLED"}
    if options:
        given["ssl_mode"] = "VERIFY_CA"  # type: ignore[assignment]
    shop.configure(OPTIONS=given)
    with pytest.raises(NoNodeAvailable) as caught:
        Author.objects.count()
    assert isinstance(caught.value, OperationalError)
    assert "db1" in str(caught.value)

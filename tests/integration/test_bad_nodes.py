"""One of NODES refuses the password or lacks the database: others serve, and the log says why."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import connections, transaction

from galera_router.cluster import monitor
from galera_router.exceptions import NoNodeAvailable
from tests.integration.support import Shop, elsewhere, wait_until
from tests.shop.models import Author


def configure(shop: Shop, name: str, **overrides: Any) -> None:
    """One node with other settings; as in production, each request connects anew."""
    nodes = {n.name: {"HOST": n.host, "PORT": n.port} for n in shop.galera.nodes}
    nodes[name].update(overrides)
    shop.configure(NODES=nodes, CONN_MAX_AGE=0, OPTIONS={"reconnect_wait_time": 5.0})


def use(shop: Shop, times: int = 12, prefix: str = "a") -> None:
    """As many requests that read and write, each on connections of its own."""
    for number in range(times):
        with transaction.atomic():
            before = Author.objects.count()
            Author.objects.create(name=f"{prefix}{number}")
            assert Author.objects.count() == before + 1
        connections.close_all()
        assert Author.objects.count() == before + 1
        connections.close_all()


@pytest.mark.parametrize("name", ["db1", "db3"])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"PASSWORD": "wr0ng"}, "Access denied for user 'galera'"),
        ({"USER": "nobody"}, "Access denied for user 'nobody'"),
        ({"NAME": "test_nowhere"}, "Unknown database 'test_nowhere'"),
        ({"NAME": "mysql"}, "to database 'mysql'"),
    ],
)
def test_the_others_serve_and_the_log_says_why_once(
    shop: Shop, caplog: pytest.LogCaptureFixture, name: str, wrong: dict[str, str], told: str
) -> None:
    configure(shop, name, **wrong)
    with caplog.at_level(logging.DEBUG, "galera_router"):
        use(shop)
        elsewhere(lambda: use(shop, 3, "b"))
    lines = [r for r in caplog.records if told in r.getMessage()]
    assert [r.levelno for r in lines] == [logging.WARNING]
    assert f"default: node {name} is down:" in lines[0].getMessage()
    assert "wr0ng" not in caplog.text
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(15,)]


def test_the_watchdog_does_not_say_it_again(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ASK_WELL", "ASK_REFUSED"):
        monkeypatch.setattr(monitor, name, 1.0)
    configure(shop, "db1", PASSWORD="wr0ng")
    Author.objects.create(name="Ann")
    node = shop.session.cluster.nodes[0]
    before = node.failures
    wait_until(lambda: bool(Author.objects.count()) and node.failures >= before + 3)
    assert caplog.text.count("Access denied") == 1


def test_where_all_refuse_it_is_an_error_at_once(shop: Shop) -> None:
    shop.configure(PASSWORD="wr0ng")
    with pytest.raises(NoNodeAvailable, match=r"db1: .*Access denied.*; db2: .*; db3: "):
        Author.objects.count()


def test_a_primary_that_is_gone_is_not_asked_what_a_secondary_is(shop: Shop) -> None:
    """A new connection's server is asked for its version and modes: on that connection."""
    host = shop.galera["db2"]
    with shop.proxied(HOST=host.host, PORT=host.port) as proxies:
        Author.objects.create(name="Ann")
        shop.settle()
        session = shop.session
        session.cluster.server_data = None
        proxies["db1"].refuse()
        proxies["db1"].cut()
        session.reader.pin = session.cluster.node("default_db2")
        assert session.reader.try_node(session.reader.pin) is not None
        assert session.cluster.node("default_db2").up

"""A machine that is gone with its name, and a resolver that takes its time.

A name that is not known any more (2005) is a node that is lost, no node that answers. How long it
takes to look a name up says nothing of the node.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from typing import Any

import MySQLdb
import pytest
from django.db import connections

from galera_router.cluster import change
from tests.faults.known import both
from tests.faults.limits import in_time, spared
from tests.faults.support import EitherShop
from tests.shop.models import Author

GONE = "gone.invalid"
#: The loopback, in a form that is no address to who takes names apart, and needs no resolver.
NAME = "127.1"
SLOW = 0.8


lost = pytest.mark.parametrize("lost", ["db1", "db3"])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other nodes still have the machine in their view, which would be gone from there too."""
    monkeypatch.setattr(change, "CUT_OFF", 0.0)


def _lose(shop: EitherShop, name: str, host: str) -> None:
    """The node ``name`` answers nothing any more while a statement is in flight on it.

    Args:
        shop: db1 is its primary; it reads on db3.
        name: of the node.
        host: what new connections to it look for from now on.
    """
    options = {"reconnect_wait_time": 3.0, "watchdog_after": 0.2, "watchdog_timeout": 0.5}
    with shop.proxied() as proxies:
        way = proxies["db3"]
        shop.configure(proxies=proxies, OPTIONS=options, HOST=way.host, PORT=way.port)

        def work() -> object:
            shop.warm()
            connections.settings[f"default_{name}"]["HOST"] = host
            proxies[name].black_hole()
            if name == "db1":
                return Author.objects.create(name="Bea").name
            return Author.objects.get().name

        assert in_time(2.0, work, proxies[name].cut) == ("Bea" if name == "db1" else "Ann")


@both(stock=False)
@lost
def test_a_machine_that_is_gone_with_its_name(shop: EitherShop, lost: str) -> None:
    """A statement in flight on it is freed as soon as on a machine whose name is known."""
    shop.stock()
    _lose(shop, lost, GONE)


@both(stock=False)
@lost
def test_a_machine_that_is_gone(shop: EitherShop, lost: str) -> None:
    """The same, but its name is known."""
    shop.stock()
    _lose(shop, lost, "127.0.0.1")


class SlowResolver:
    """Whoever looks up a name, in whichever way, waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._connect, self._look_up = MySQLdb.connect, socket.getaddrinfo
        monkeypatch.setattr(MySQLdb, "connect", self.connect)
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        self._wait(kwargs.get("host"))
        return self._connect(*args, **kwargs)

    def look_up(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        self._wait(host)
        return self._look_up(host, *args, **kwargs)

    def _wait(self, host: object) -> None:
        try:
            ipaddress.ip_address(str(host))
        except ValueError:
            time.sleep(SLOW)


@both()
@pytest.mark.parametrize("through", ["default", "secondary"])
def test_a_slow_resolver(
    shop: EitherShop,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    through: str,
) -> None:
    """A long statement makes the watchdog ask; the node is well, and is not cut off."""
    nodes = {node.name: {"HOST": NAME, "PORT": node.port} for node in shop.galera.nodes}
    shop.configure(NODES=nodes, OPTIONS={"watchdog_after": 0.2, "watchdog_timeout": 0.5})
    if shop.is_stock:
        connections.settings["default"]["HOST"] = NAME
    else:
        shop.warm()
    alias = "default" if shop.is_stock or through == "default" else "default_db3"
    SlowResolver(monkeypatch)
    with spared(2013), connections[alias].cursor() as cursor:
        cursor.execute("SELECT SLEEP(1.5)")
        assert cursor.fetchall() == ((0,),)
    assert "is down" not in caplog.text

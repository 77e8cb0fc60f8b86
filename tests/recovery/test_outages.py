"""No node is there: a request waits for one once; the error says how long, and why."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from galera_router.causality import scope
from galera_router.exceptions import NoNodeAvailable
from galera_router.testing import Proxy
from tests.integration.support import Shop
from tests.shop.models import Author

WAIT = 0.6  # seconds


@pytest.fixture
def lost(shop: Shop) -> Iterator[dict[str, Proxy]]:
    """No node can be reached."""
    with shop.proxied(OPTIONS={"reconnect_wait_time": WAIT}) as proxies:
        shop.warm()
        for proxy in proxies.values():
            proxy.refuse()
            proxy.cut()
        yield proxies


def seconds() -> tuple[float, str]:
    began = time.monotonic()
    with pytest.raises(NoNodeAvailable) as caught:
        Author.objects.count()
    return time.monotonic() - began, str(caught.value)


def test_the_error_says_how_long_was_waited(lost: dict[str, Proxy]) -> None:
    taken, text = seconds()
    assert taken > WAIT / 2
    assert "waited 0.6 s; reconnect_wait_time is 0.6 s" in text
    assert "db2" in text


def test_a_request_waits_once(lost: dict[str, Proxy]) -> None:
    with scope.needing({}, request=True):
        assert seconds()[0] > WAIT / 2
        taken, text = seconds()
    assert taken < WAIT
    assert "this request has waited before" in text


def test_elsewhere_each_call_waits(lost: dict[str, Proxy]) -> None:
    assert [seconds()[0] > WAIT / 2 for _ in range(2)] == [True, True]


def test_a_long_task_waits_again(lost: dict[str, Proxy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "OUTAGE", 0.2)
    with scope.needing({}, request=True):
        seconds()
        assert scope.in_outage("default")
        time.sleep(0.25)
        assert not scope.in_outage()
        assert seconds()[0] > WAIT / 2


def test_a_request_finds_a_node_that_is_back(lost: dict[str, Proxy], shop: Shop) -> None:
    with scope.needing({}, request=True):
        seconds()
        for proxy in lost.values():
            proxy.accept()
        deadline = time.monotonic() + 10
        while not any(node.up for node in shop.session.cluster.nodes):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert Author.objects.count() == 0


def test_another_cluster_is_waited_for(shop: Shop) -> None:
    with scope.needing({}, request=True):
        scope.note_outage("other")
        assert scope.in_outage("other")
        assert scope.in_outage()
        assert not scope.in_outage("default")
    assert not scope.in_outage()

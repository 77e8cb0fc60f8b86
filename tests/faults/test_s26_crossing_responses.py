"""Two responses of one client that cross on their way."""

from __future__ import annotations

from typing import Any

from django.test import Client

from tests.faults.known import both
from tests.faults.nodes import stalled
from tests.faults.support import EitherShop
from tests.integration.support import elsewhere

Cookies = dict[str, str]


def post(name: str, cookies: Cookies) -> Cookies:
    """Add an author, with what the client has; returns what the response sets."""
    return dict(elsewhere(lambda: _ask("/add/", cookies, {"name": name}))[1])


def read(cookies: Cookies) -> str:
    return str(elsewhere(lambda: _ask("/read/", cookies))[0])


def _ask(path: str, cookies: Cookies, data: dict[str, str] | None = None) -> tuple[str, Cookies]:
    client = Client()
    for name, value in cookies.items():
        client.cookies[name] = value
    response: Any = client.get(path) if data is None else client.post(path, data)
    assert response.status_code == 200
    return response.content.decode(), {k: m.value for k, m in response.cookies.items()}


@both()
def test_the_next_request_includes_both(shop: EitherShop) -> None:
    """The response that was sent first comes last, and its cookie replaces the later one."""
    second = shop.galera["db2"]
    if not shop.is_stock:
        shop.configure(HOST=second.host, PORT=second.port, OPTIONS={"wsrep_sync_timeout": 1.0})
    browser: Cookies = {}
    first = post("Ann", browser)
    shop.settle()
    with stalled(second, "shop_author"):
        later = post("Bob", browser)
        browser |= later
        browser |= first
        assert read(browser) == "Ann,Bob"

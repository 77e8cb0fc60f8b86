"""docs/adopting.md: each of its steps on a project of its own, and the way out again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ecosystem.support import environment, run, watched
from tests.integration.support import Shop

SITE = {"ROOT_URLCONF": "tests.ecosystem.site", "ALLOWED_HOSTS": ["*"]}
#: A visitor who adds a name and looks for it.
VISIT = (
    "from django.test import Client; c = Client();"
    "assert c.post('/add/', {'name': 'Ann'}).status_code == 200;"
    "print(c.get('/read/').content.decode())"
)
LIKE_STOCK = {"reads": "primary", "optimistic_transactions": False}
#: What each step has in OPTIONS.
STEPS: dict[str, dict[str, Any]] = {
    "as before": LIKE_STOCK,
    "reads on the secondaries": {"optimistic_transactions": False},
    "transactions that begin there": {},
}


def visited(shop: Shop, databases: dict[str, Any] | None = None) -> str:
    return run(environment(shop, databases, **SITE), "django", "shell", "-c", VISIT)


def test_with_one_node(shop: Shop) -> None:
    databases = shop.galera.databases()
    databases["default"]["NODES"] = {"db1": databases["default"]["NODES"]["db1"]}
    for words in (("migrate",), ("check", "--database", "default")):
        run(environment(shop, databases), "django", *words)
    assert "Ann" in visited(shop, databases)


@pytest.mark.parametrize("step", STEPS)
def test_each_step(shop: Shop, step: str) -> None:
    atomic = step != "reads on the secondaries"  # those outside of transactions
    databases = shop.galera.databases(ATOMIC_REQUESTS=atomic, OPTIONS=STEPS[step])
    run(environment(shop, databases), "django", "check", "--database", "default")
    with watched(shop) as seen:
        assert "Ann" in visited(shop, databases)
    asked = {name for name, _, sql in seen if "shop_author" in sql and "INSERT" not in sql}
    assert (asked == {"db1"}) == (step == "as before"), seen


def test_without_a_cluster(shop: Shop, tmp_path: Path) -> None:
    """Nothing has to be removed from the settings."""
    name = str(tmp_path / "database")
    databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name}}
    for words in (("migrate", "--run-syncdb"), ("check", "--database", "default")):
        run(environment(shop, databases), "django", *words)
    assert "Ann" in visited(shop, databases)


def test_one_server_that_is_no_cluster_to_us(shop: Shop) -> None:
    """Stock Django's settings, beside the router, the app and the middleware."""
    databases = shop.galera.databases()
    nodes = databases["default"].pop("NODES")
    databases["default"] |= nodes["db1"]
    run(environment(shop, databases), "django", "check", "--database", "default")
    assert "Ann" in visited(shop, databases)


def test_out_again(shop: Shop) -> None:
    around = environment(shop)
    try:
        run(around, "django", "migrate", "galera_router", "zero")
        ours = shop.galera["db1"].query("SHOW TABLES FROM galera_router LIKE 'galera\\_router\\_%'")
        assert ours == []
    finally:
        run(around, "django", "migrate", "galera_router")

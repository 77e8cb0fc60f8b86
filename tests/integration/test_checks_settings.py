"""System checks that need no server: routers, middleware, and DATABASES after expand()."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db import connections
from django.test import override_settings
from MySQLdb.cursors import Cursor, DictCursor, SSCursor

from galera_router import expand
from galera_router.middleware import GaleraMiddleware
from galera_router.routers import GaleraRouter
from tests import settings as project
from tests.integration.support import use_databases

ROUTER = "galera_router.routers.GaleraRouter"
MIDDLEWARE = "galera_router.middleware.GaleraMiddleware"
HERE = __name__
CLUSTER: dict[str, Any] = {
    "ENGINE": "django.db.backends.mysql",
    "NAME": "shop",
    "USER": "app",
    "PASSWORD": "s3cret",
    "NODES": {"db1": {"HOST": "10.0.1.2"}, "db2": {"HOST": "10.0.1.3"}},
}


class OwnRouter(GaleraRouter):
    """A user's own, built on ours."""


class OwnMiddleware(GaleraMiddleware):
    """The same."""


class ToPrimary:
    """Names the cluster for all models."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "default"


class WritesToNode:
    """Wrong: a node's own alias only reads."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "default_db2" if model._meta.app_label == "shop" else None


@pytest.fixture(autouse=True)
def databases() -> Iterator[dict[str, Any]]:
    """DATABASES as expanded, to be changed."""
    before = dict(project.DATABASES)
    expanded = expand({"default": CLUSTER})
    use_databases(expanded)
    yield expanded
    use_databases(before)


def found() -> list[CheckMessage]:
    """Ours alone: from Django 6.1 on its own of models connect to the server."""
    messages = run_checks(tags=["galera_router"])
    assert all((m.id or "").startswith("galera_router.") for m in messages)
    assert all("s3cret" not in f"{m.msg}{m.hint}" for m in messages)
    assert all(m.hint for m in messages)
    return messages


def only(number: str, *texts: str) -> None:
    """Exactly one message is there, and says ``texts``."""
    messages = found()
    assert [m.id for m in messages] == [f"galera_router.{number}"]
    for text in texts:
        assert text in f"{messages[0].msg} {messages[0].hint}"


def test_nothing_is_wrong_at_first(databases: dict[str, Any]) -> None:
    assert found() == []
    use_databases(expand({"default": {**CLUSTER, "OPTIONS": {"charset": "latin1"}, "HOST": "h"}}))
    assert found() == []


# Routers


def test_a_router_listed_twice() -> None:
    for routers in ([ROUTER, ROUTER], [f"{HERE}.OwnRouter", ROUTER]):
        with override_settings(DATABASE_ROUTERS=routers):
            only("W003", "has 2 routers", "Keep one")
    with override_settings(DATABASE_ROUTERS=[f"{HERE}.OwnRouter"]):
        assert found() == []


def test_a_router_of_ones_own_may_stand_before_ours() -> None:
    """Reads that it sends to the cluster's alias are routed like any other."""
    for routers in ([f"{HERE}.ToPrimary", ROUTER], [ROUTER, f"{HERE}.ToPrimary"]):
        with override_settings(DATABASE_ROUTERS=routers):
            assert found() == []


def test_a_router_that_sends_writes_to_a_node() -> None:
    with override_settings(DATABASE_ROUTERS=[f"{HERE}.WritesToNode", ROUTER]):
        only("E003", "shop.Author to 'default_db2'", "return 'default'")
    with override_settings(DATABASE_ROUTERS=[ROUTER, f"{HERE}.WritesToNode"]):
        assert found() == []


# Middleware


@pytest.mark.parametrize("own", [MIDDLEWARE, f"{HERE}.OwnMiddleware"])
def test_the_middleware_stands_first_where_requests_are_atomic(own: str) -> None:
    other = "django.contrib.sessions.middleware.SessionMiddleware"
    with override_settings(MIDDLEWARE=[other, own]):
        assert found() == []
        use_databases(expand({"default": {**CLUSTER, "ATOMIC_REQUESTS": True}}))
        only("W004", f"behind {other} in MIDDLEWARE", f'Put "{MIDDLEWARE}" first')
    with override_settings(MIDDLEWARE=[own, other]):
        assert found() == []


def test_the_middleware_of_django_galera() -> None:
    with override_settings(MIDDLEWARE=["galera.middleware.GaleraMiddleware"]):
        only("E009", "belongs to django-galera", f'Write "{MIDDLEWARE}" in its place')
        use_databases({"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
        only("E009")


# DATABASES


def test_nodes_that_have_not_been_expanded() -> None:
    use_databases({"default": dict(CLUSTER)})
    only("E005", "DATABASES['default'] has NODES", "DATABASES = galera_router.expand({...})")


def test_the_engine_of_django_galera() -> None:
    use_databases({"default": {**CLUSTER, "ENGINE": "galera.backends.readwritesplit"}})
    messages = {m.id: f"{m.msg} {m.hint}" for m in found()}
    assert set(messages) == {"galera_router.E005", "galera_router.E006"}
    assert '"ENGINE": "django.db.backends.mysql"' in messages["galera_router.E006"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"OPTIONS": {"failover_enable": False}}, "OPTIONS['failover_enable']"),
        ({"OPTIONS": {"failover_enabled": 1}}, "(Did you mean 'failover_enable'?)"),
        ({"OPTIONS": {"passwd": "s3cret"}}, "OPTIONS['passwd']"),
        ({"HOST": "other"}, "HOST"),
        ({"PASSWORD": "s3cret!"}, "PASSWORD"),
    ],
)
def test_settings_changed_after_expand(
    databases: dict[str, Any], change: dict[str, Any], expected: str
) -> None:
    role = databases["default"]
    role |= {**change, "OPTIONS": role["OPTIONS"] | change.get("OPTIONS", {})}
    use_databases(databases)
    only("E004", "was changed after expand()", expected, "argument of expand()")


def test_settings_that_may_change_after_expand(databases: dict[str, Any]) -> None:
    databases["default"] |= {"CONN_MAX_AGE": 60, "NAME": "test_shop", "TEST": {"NAME": "t"}}
    use_databases(databases)
    assert found() == []


def test_a_node_alias_by_hand(databases: dict[str, Any]) -> None:
    databases["default_db2"] = {"ENGINE": CLUSTER["ENGINE"], "HOST": "elsewhere"}
    use_databases(databases)
    only("E007", "The aliases default_db2 of the nodes of 'default'")
    del databases["default_db2"]
    use_databases(databases)
    only("E007")


def test_an_alias_by_hand_that_leads_to_a_node(databases: dict[str, Any]) -> None:
    own = {"ENGINE": CLUSTER["ENGINE"], "HOST": "10.0.1.3", "PORT": "3306", "NAME": "shop"}
    databases["replica"] = own
    use_databases(databases)
    only("W005", "'replica' (node db2)", "Use 'default'")
    for change in ({"NAME": "other"}, {"PORT": 3307}, {"HOST": "10.0.1.4"}):
        databases["replica"] = {**own, **change}
        use_databases(databases)
        assert found() == []


def test_atomic_requests_on_a_node_alias(databases: dict[str, Any]) -> None:
    databases["default_db2"]["ATOMIC_REQUESTS"] = True
    use_databases(databases)
    only("E008", "ATOMIC_REQUESTS is on for default_db2", "Set ATOMIC_REQUESTS on 'default'")


def test_nodes_with_different_names_of_the_database() -> None:
    nodes = {**CLUSTER["NODES"], "db3": {"HOST": "10.0.1.4", "NAME": "ship"}}
    use_databases(expand({"default": {**CLUSTER, "NODES": nodes}}))
    only("E018", "db2 'shop', db3 'ship'", "one NAME beside NODES")


def test_a_function_that_makes_cursors() -> None:
    """A class is fine."""
    for made in (SSCursor, DictCursor):
        use_databases(expand({"default": {**CLUSTER, "OPTIONS": {"cursorclass": made}}}))
        assert found() == []
    factory = {"cursorclass": lambda connection: Cursor(connection)}
    use_databases(expand({"default": {**CLUSTER, "OPTIONS": factory}}))
    only("W015", "cursorclass of 'default' is a function", "built on one of MySQLdb.cursors")


# What the nodes are used for


def use_nodes(*roles: dict[str, Any], **more: Any) -> None:
    nodes = {f"db{n}": {"HOST": f"10.0.1.{n}", **role} for n, role in enumerate(roles, 1)}
    use_databases(expand({"default": {**CLUSTER, "NODES": nodes, **more}}))


def test_only_one_node_is_electable() -> None:
    barred = {"ELECTABLE": False}
    use_nodes(barred, {}, barred)
    only("W016", "Only the node 'db2' of 'default' is ELECTABLE", "one more node")
    use_nodes({}, barred, HOST="elsewhere")
    only("W016", "Only the node 'db1'")
    several: tuple[list[dict[str, Any]], ...] = ([{}], [{}, {}, barred])
    for roles in several:
        use_nodes(*roles, HOST="elsewhere")
        assert found() == []


def test_zones_that_are_nearly_the_same() -> None:
    use_nodes({"ZONE": "eu-1"}, {"ZONE": "eu-2"}, {"ZONE": "EU_1"})
    only("W017", "in the zones 'eu-1', 'EU_1', which are different", "Spell them alike")
    use_nodes({"ZONE": "eu-1"}, {"ZONE": "eu-11"}, {"ZONE": "eu-1-1"}, {})
    assert found() == []


def test_a_zone_that_no_node_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    zones = {"ZONE": "west"}, {"ZONE": "east"}
    use_nodes(*zones, OPTIONS={"zone": "wst"})
    only("W018", "in the zone 'wst' by the option 'zone'", "'west', 'east'", "mean 'west'?")
    use_nodes({}, {}, OPTIONS={"zone": "west"})
    only("W018", "Zones of nodes: none")
    use_nodes(*zones, OPTIONS={"zone": "west"})
    assert found() == []
    monkeypatch.setenv("GALERA_ZONE", "north")
    assert found() == [], "the option comes first, and is known already"
    use_nodes(*zones)
    only("W018", "in the zone 'north' by GALERA_ZONE")
    use_nodes({}, {})
    assert found() == [], "a cluster without zones"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GALERA_COOKIE_AGE", 0, "must be seconds, 1 or more"),
        ("GALERA_COOKIE_MAXAGE", 7, "Did you mean GALERA_COOKIE_AGE"),
    ],
)
def test_a_setting_of_the_token(
    databases: dict[str, Any], name: str, value: object, said: str
) -> None:
    with override_settings(**{name: value}):
        only("E019", f"{name} ", said)


def test_a_token_that_expires_before_a_node_counts_as_behind() -> None:
    use_nodes({}, {}, OPTIONS={"max_lag": 400})
    only("W022", "max_lag of default is longer than GALERA_COOKIE_AGE (300 s)", "Make GALERA_")
    with override_settings(GALERA_COOKIE_AGE=400):
        assert found() == []
    with override_settings(MIDDLEWARE=[]):
        assert "W022" not in str(found())
    for fine in (300, None):
        use_nodes({}, {}, OPTIONS={"max_lag": fine})
        assert found() == []


# The app


PROJECT = """
    import django, galera_router
    from django.conf import settings
    from django.core.management import call_command
    settings.configure(
        SECRET_KEY="x",
        INSTALLED_APPS=["django.contrib.contenttypes", *{apps!r}],
        DATABASES=galera_router.expand({databases!r}),
        DATABASE_ROUTERS=["galera_router.routers.GaleraRouter"],
    )
    django.setup()
    {then}
"""
QUERY = "from django.contrib.contenttypes.models import ContentType; ContentType.objects.first()"


def run(then: str, *apps: str) -> subprocess.CompletedProcess[str]:
    text = textwrap.dedent(PROJECT).format(apps=apps, databases={"default": CLUSTER}, then=then)
    command = [sys.executable, "-c", text]
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)


def test_the_app_is_missing() -> None:
    """Its own checks do not run then; expand() has left one behind."""
    check = 'call_command("check", tags=["galera_router"])'
    checked = run(check)
    assert checked.returncode == 1
    assert "galera_router.E002" in checked.stderr
    assert 'HINT: Add "galera_router" to INSTALLED_APPS' in checked.stderr
    assert "E002" not in run(check, "galera_router").stderr


def test_the_app_is_missing_and_nobody_has_checked() -> None:
    used = run(QUERY)
    assert used.returncode == 1
    expected = 'DATABASE_ROUTERS names GaleraRouter, but INSTALLED_APPS lacks "galera_router"'
    assert expected in used.stderr.splitlines()[-1]


def test_checks_of_settings_ask_no_server() -> None:
    assert found() == []
    assert not any(c.connection for c in connections.all(initialized_only=True))

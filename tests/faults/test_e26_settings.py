"""Settings that nothing checks, or that end in a traceback."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError
from django.test import override_settings

from galera_router import expand
from galera_router.exceptions import ConfigurationError
from tests.faults.known import both
from tests.faults.limits import within
from tests.faults.support import EitherShop
from tests.integration.support import use_databases
from tests.shop.models import Author

BASE = {
    "ENGINE": "django.db.backends.mysql",
    "NAME": "app",
    "USER": "u",
    "PASSWORD": "s3cret",
}
NODES = {"db1": {"HOST": "h1"}, "db2": {"HOST": "h2"}}


def _refused(settings: dict[str, Any], *named: str) -> None:
    """``expand`` refuses ``settings``, and names what is wrong with them."""
    with pytest.raises(ConfigurationError) as caught:
        expand({"default": settings})
    for text in ("default", *named):
        assert text in str(caught.value)
    assert "s3cret" not in str(caught.value)


# --- expand -------------------------------------------------------------------------------------


@both(stock=False)
@pytest.mark.parametrize(
    "options",
    [{"failover_enable": True}, {"reconnect_wait_time": 3}, {"reads": "any", "charset": "utf8mb4"}],
    ids=lambda options: next(iter(options)),
)
def test_nodes_were_forgotten(side: str, options: dict[str, Any]) -> None:
    """Our options are left: the driver would not know them."""
    _refused({**BASE, "HOST": "h1", "OPTIONS": options}, "NODES", next(iter(options)))


@both(stock=False)
def test_nodes_stand_among_the_options(side: str) -> None:
    _refused({**BASE, "OPTIONS": {"NODES": NODES}}, "NODES")


@both(stock=False)
@pytest.mark.parametrize(
    ("key", "meant"), [("USERNAME", "USER"), ("DATABASE", "NAME"), ("DB", "NAME")]
)
def test_another_name_for_a_setting(side: str, key: str, meant: str) -> None:
    settings: dict[str, Any] = {**BASE, "NODES": NODES}
    settings[key] = settings.pop(meant)
    _refused(settings, key, meant)


@both(stock=False)
@pytest.mark.parametrize("host", ["db_1", "DB1", "db-1", "db3"])
def test_a_host_that_is_nearly_the_name_of_a_node(side: str, host: str) -> None:
    _refused({**BASE, "NODES": NODES, "HOST": host}, "HOST")


@both(stock=False)
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("charset", 3),
        ("collation", 7),
        ("ssl_mode", "on"),
        ("compress", "false"),
        ("local_infile", "off"),
        ("use_unicode", "yes"),
        ("conv", 5),
        ("cursorclass", "MySQLdb.cursors.DictCursor"),
        ("sql_mode", ["ANSI"]),
        ("connect_timeout", -1),
        ("read_timeout", -3),
        ("read_default_file", 7),
        ("client_flag", "x"),
    ],
)
def test_a_wrong_value_for_the_driver(side: str, option: str, value: object) -> None:
    _refused({**BASE, "NODES": NODES, "OPTIONS": {option: value}}, option)


@both(stock=False)
@pytest.mark.parametrize(("key", "value"), [("CONN_MAX_AGE", -3), ("TIME_ZONE", 7)])
def test_a_wrong_value_for_django(side: str, key: str, value: object) -> None:
    _refused({**BASE, "NODES": NODES, key: value}, key)


@both(stock=False)
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"NODES": None}, "NODES"),
        ({"NODES": {}}, "NODES"),
        ({"NODES": NODES, "PASSWD": "x"}, "PASSWORD"),
        ({"NODES": NODES, "HOSTS": ["h1"]}, "HOST"),
        ({"NODES": NODES, "OPTIONS": {"init_command": ["SET x = 1"]}}, "init_command"),
        ({"NODES": NODES, "OPTIONS": {"failover_enabled": True}}, "failover_enable"),
        ({"NODES": NODES, "OPTIONS": {"ssl_ca": "/ca.pem"}}, "ssl_ca"),
    ],
)
def test_what_is_refused_already(side: str, settings: dict[str, Any], named: str) -> None:
    _refused({**BASE, **settings}, named)


# --- system checks ------------------------------------------------------------------------------


def _complaints() -> list[str]:
    """The IDs of our messages."""
    return [found.id for found in run_checks() if found.id and found.id.startswith("galera_router")]


def _set_password(databases: dict[str, Any]) -> None:
    databases["default"]["PASSWORD"] = "another"


def _add_option(databases: dict[str, Any]) -> None:
    databases["default"].setdefault("OPTIONS", {})["reconnect_wait_time"] = 3.0


def _add_node(databases: dict[str, Any]) -> None:
    databases["default"]["NODES"] = {"db4": {"HOST": "h4"}}


def _add_cluster(databases: dict[str, Any]) -> None:
    # Django 6.1 connects to it when it checks.
    way = {key: databases["default"][key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
    databases["other"] = {**BASE, **way, "NODES": NODES}


def _set_host_of_a_node(databases: dict[str, Any]) -> None:
    databases["default_db2"]["HOST"] = "another"


def _complaints_after(shop: EitherShop, change: Callable[[dict[str, Any]], None]) -> list[str]:
    databases = expand(shop.galera.databases())
    change(databases)
    use_databases(databases)
    return _complaints()


@both(stock=False)
@pytest.mark.parametrize("change", [_add_node, _set_host_of_a_node])
def test_settings_that_are_changed_after_expand(
    shop: EitherShop, change: Callable[[dict[str, Any]], None]
) -> None:
    assert _complaints_after(shop, change) != []


@both(stock=False)
@pytest.mark.parametrize("change", [_set_password, _add_option, _add_cluster])
def test_changes_that_are_noticed_already(
    shop: EitherShop, change: Callable[[dict[str, Any]], None]
) -> None:
    assert _complaints_after(shop, change) != []


@both(stock=False)
def test_the_middleware_of_the_tokens_is_missing(shop: EitherShop) -> None:
    """Without ATOMIC_REQUESTS it is what carries own writes to the next request."""
    with override_settings(MIDDLEWARE=[]):
        assert _complaints() != []


# --- check --database ---------------------------------------------------------------------------

CLOSED = {f"db{n}": {"HOST": "127.0.0.1", "PORT": n} for n in (1, 2)}
WRONG: dict[str, dict[str, Any]] = {
    "closed": {"NODES": CLOSED},
    "password": {"PASSWORD": "wrong"},
    "database": {"NAME": "nothing"},
    "user": {"USER": "nobody"},
}


@both(stock=False)
@pytest.mark.parametrize("what", WRONG)
def test_check_with_everything_wrong(shop: EitherShop, what: str) -> None:
    """It ends in a message of a check, not in a traceback."""
    shop.configure(**WRONG[what], OPTIONS={"reconnect_wait_time": 1.0})
    with pytest.raises(SystemCheckError, match="galera_router"):
        call_command("check", databases=["default"], stdout=io.StringIO())


# --- init_command -------------------------------------------------------------------------------


def _create() -> object:
    return Author.objects.create(name="Ann")


@both()
@pytest.mark.parametrize("work", [Author.objects.count, _create], ids=["read", "write"])
@pytest.mark.parametrize("command", ["SET nonsense = 1", "SELEKT 1"])
def test_an_init_command_with_an_error(
    shop: EitherShop, work: Callable[[], object], command: str
) -> None:
    """The error comes at once, and its message says where it comes from."""
    shop.configure(OPTIONS={"init_command": command, "reconnect_wait_time": 2.0})
    with within(1.0), pytest.raises(DatabaseError) as caught:
        work()
    assert shop.is_stock or "init_command" in str(caught.value)

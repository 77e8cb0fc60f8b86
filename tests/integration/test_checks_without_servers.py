"""``check --database``, ``migrate`` and the like while no node can be used."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import checks
from django.core.checks.registry import registry
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections

from galera_router.exceptions import NoNodeAvailable
from galera_router.testing import GaleraCluster, GaleraNode
from tests.faults.limits import within
from tests.integration.support import Shop, without_galera

LOGGER = "galera_router"
CLOSED = {f"db{n}": {"HOST": "127.0.0.1", "PORT": n} for n in (1, 2)}


@pytest.fixture(scope="module")
def lone() -> Iterator[GaleraNode]:
    """A server to be stopped and started with other options."""
    with GaleraCluster(size=1) as cluster:
        yield cluster.nodes[0]


def ids(**kwargs: Any) -> set[str]:
    found = checks.run_checks(**{"databases": ["default"], **kwargs})
    return {str(m.id).partition(".")[2] for m in found if str(m.id).startswith("galera_router")}


def at(node: GaleraNode) -> dict[str, Any]:
    return {"HOST": node.host, "PORT": node.port}


@pytest.mark.parametrize("command", ["check", "migrate"])
def test_nobody_answers(shop: Shop, command: str, caplog: pytest.LogCaptureFixture) -> None:
    """A message, and the log tells that it is waited for the nodes."""
    shop.configure(NODES=CLOSED, OPTIONS={"reconnect_wait_time": 0.7})
    given: dict[str, Any] = {"databases": ["default"]}
    if command == "migrate":
        given = {"database": "default", "skip_checks": False}
    with caplog.at_level(logging.WARNING, LOGGER), pytest.raises(SystemCheckError) as caught:
        call_command(command, **given)
    assert "(galera_router.E020) No node of 'default' can be used, so all" in str(caught.value)
    assert "Node db1 of 'default' cannot be reached" in str(caught.value)
    waits = [r.getMessage() for r in caplog.records if "system checks" in r.getMessage()]
    assert waits == [
        "default: no node can be used yet; the system checks wait for up to 0.7 s"
        " (reconnect_wait_time)"
    ]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"PASSWORD": "wrong"}, {"E010"}),
        ({"USER": "nobody"}, {"E010"}),
        ({"NAME": "nothing"}, {"E011"}),
        ({"OPTIONS": {"init_command": "SET nonsense = 1"}}, {"E021"}),
        ({"OPTIONS": {"charset": "nonsense"}}, {"E021"}),
        ({"OPTIONS": {"collation": "nonsense"}}, {"E021"}),
        ({"OPTIONS": {"sql_mode": "NONSENSE"}}, {"E021"}),
    ],
)
def test_what_waiting_does_not_mend_is_told_at_once(
    shop: Shop, what: dict[str, Any], expected: set[str]
) -> None:
    shop.configure(**what)
    with within(3.0):
        assert ids() == expected | {"E020"}


@pytest.mark.parametrize(
    ("option", "value"),
    [("init_command", "SET nonsense = 1"), ("collation", "nonsense"), ("sql_mode", "NONSENSE")],
)
def test_the_error_of_a_query_names_the_option(shop: Shop, option: str, value: str) -> None:
    shop.configure(OPTIONS={option: value})
    with within(3.0), pytest.raises(NoNodeAvailable, match="waiting would not help") as caught:
        shop.stock()
    assert f"OPTIONS {option!r})" in str(caught.value)


def test_nodes_that_come_are_waited_for(shop: Shop, lone: GaleraNode) -> None:
    shop.configure(NODES={"one": at(lone)}, OPTIONS={"reconnect_wait_time": 60})
    lone.stop()
    start = threading.Timer(1.0, lone.start)
    start.start()
    try:
        # One that is just coming may not take part for yet a moment (W006).
        assert ids() - {"W002", "W006", "W008"} == set()
    finally:
        start.join()
        connections.close_all()


@pytest.mark.parametrize(
    "version", ["8.0.36", "8.0.36-28.1-percona"], ids=["MySQL", "Percona XtraDB Cluster"]
)
def test_a_server_that_is_not_supported(shop: Shop, lone: GaleraNode, version: str) -> None:
    """Checks of others are left out: what they ask would fail there, and with a traceback."""
    with without_galera(lone, f"--version={version}"):
        shop.configure(NODES={"one": at(lone)})
        found = checks.run_checks(databases=["default"])
        ours = {str(m.id): m for m in found if str(m.id).startswith("galera_router")}
        message = ours.pop("galera_router.E014")
        assert set(ours) == {"galera_router.E020"}
        assert message.level == checks.ERROR
        assert "MySQL and Percona XtraDB Cluster are not supported" in str(message.hint)
        assert version in str(message.msg)
    connections.close_all()


# What is not ours


def _queries(**kwargs: Any) -> list[checks.CheckMessage]:
    connections["default"].ensure_connection()
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")
    return [checks.Info("asked", id="shop.I001")]


def _tells(**kwargs: Any) -> list[checks.CheckMessage]:
    return [checks.Info("told", id="shop.I002")]


def _breaks(**kwargs: Any) -> list[checks.CheckMessage]:
    raise RuntimeError("its own fault")


@pytest.fixture
def registered() -> Iterator[None]:
    before = set(registry.registered_checks)
    yield
    registry.registered_checks.clear()
    registry.registered_checks.update(before)


@pytest.mark.usefixtures("registered")
def test_checks_of_others(shop: Shop) -> None:
    """One that queries without saying so by its tag gets a message, once; others just run."""
    checks.register(_queries)
    checks.register(_tells)
    shop.configure(NODES=CLOSED, OPTIONS={"reconnect_wait_time": 0})
    found = [m for m in checks.run_checks() if m.id in ("shop.I001", "shop.I002", f"{LOGGER}.E020")]
    assert {m.id for m in found} == {"shop.I002", f"{LOGGER}.E020"}
    assert any("A system check needs a server: No node of 'default'" in m.msg for m in found)
    shop.configure()
    assert {m.id for m in checks.run_checks()} >= {"shop.I001", "shop.I002"}


def test_nobody_waits_where_no_database_was_named(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """As Django 6.1 calls them: with all aliases."""
    shop.configure(NODES=CLOSED)
    with caplog.at_level(logging.WARNING, LOGGER), within(5.0):
        assert "E020" in ids(databases=list(connections))
    assert "system checks wait" not in caplog.text


@pytest.mark.usefixtures("registered")
def test_errors_of_others_go_on(shop: Shop) -> None:
    checks.register(_breaks, "shop")
    with pytest.raises(RuntimeError, match="its own fault"):
        checks.run_checks()
    assert checks.run_checks(tags=["urls"]) == []
    assert checks.tag_exists("shop")

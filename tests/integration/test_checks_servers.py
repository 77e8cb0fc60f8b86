"""System checks of each node: ``manage.py check --database default``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections
from django.test.utils import override_settings

from galera_router import expand
from galera_router.checks import check_database, probe, servers
from galera_router.testing import GaleraCluster, GaleraNode
from galera_router.testing.ports import reserve_ports
from tests.integration.support import Shop, durable, use_databases, without_galera


@pytest.fixture(autouse=True)
def safe(shop: Shop) -> Iterator[None]:
    with durable(shop.galera.nodes):
        yield


@pytest.fixture(scope="module")
def lone() -> Iterator[GaleraNode]:
    """A server to be stopped and started with other options."""
    with GaleraCluster(size=1) as cluster:
        yield cluster.nodes[0]


def found(number: str, *texts: str) -> list[CheckMessage]:
    """The messages with this ID, of which one says all of ``texts``; no others are there."""
    messages = [m for m in run_checks(databases=["default"]) if "galera_router" in (m.id or "")]
    assert {m.id for m in messages} == {f"galera_router.{number}"}, messages
    whole = [f"{m.msg} {m.hint}" for m in messages]
    assert any(all(text in one for text in texts) for one in whole), whole
    assert all(m.hint for m in messages)
    return messages


def ids() -> set[str]:
    return {str(m.id)[14:] for m in run_checks(databases=["default"]) if "galera" in str(m.id)}


def nodes(shop: Shop, **changes: dict[str, Any]) -> None:
    """The cluster with other settings of single nodes."""
    common = {n.name: {"HOST": n.host, "PORT": n.port} for n in shop.galera.nodes}
    shop.configure(NODES={name: {**node, **changes.get(name, {})} for name, node in common.items()})


def at(node: GaleraNode) -> dict[str, Any]:
    return {"HOST": node.host, "PORT": node.port}


# Nodes that cannot be told apart


def test_servers_of_one_name(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloned machines that are all called localhost, say, and have the usual port."""
    monkeypatch.setattr(probe, "WHO", b"SELECT 'localhost 3306 localhost'")
    (message,) = found("E023", "The nodes db1, db2, db3 of 'default'", "'localhost 3306 localhost'")
    assert "wsrep_node_name" in str(message.hint)


# Nodes that cannot be used


def test_a_node_that_refuses_the_password(shop: Shop) -> None:
    nodes(shop, db2={"PASSWORD": "wr0ng"})
    (message,) = found("E010", "Node db2 of 'default' refuses the user 'galera'", "Access denied")
    assert "wr0ng" not in message.msg
    with pytest.raises(SystemCheckError):
        call_command("check", databases=["default"])


@pytest.mark.parametrize("name", ["test_nowhere", "mysql"])
def test_a_node_without_the_database(shop: Shop, name: str) -> None:
    nodes(shop, db3={"NAME": name})
    assert ids() == {"E011", "E018"}
    text = "Node db3 of 'default' lacks the database, or 'galera' may not use it: (10"
    (message,) = [m for m in run_checks(databases=["default"]) if m.id == "galera_router.E011"]
    assert text in message.msg
    assert name in message.msg


def test_no_database_at_all(shop: Shop) -> None:
    shop.configure(NAME="")
    assert len(found("E011", "Connections to Node db1", "NAME is empty")) == 3


def test_a_node_that_is_down(shop: Shop) -> None:
    """No error: migrate, which asks as well, must not fail for it."""
    ports = reserve_ports()
    nodes(shop, db1={"PORT": ports.client})
    found("W006", "Node db1 of 'default' cannot be reached", "Can't connect")
    ports.release()
    call_command("check", databases=["default"])


def test_a_node_that_is_out_of_its_cluster(shop: Shop) -> None:
    shop.galera["db2"].isolate()
    deadline = time.monotonic() + 20
    while ids() == set() and time.monotonic() < deadline:
        time.sleep(0.2)
    found("W006", "Node db2 of 'default' takes no part in its cluster now")


def test_two_names_of_one_server(shop: Shop) -> None:
    local = {"HOST": "localhost", "OPTIONS": {"unix_socket": str(shop.galera["db1"].socket)}}
    shop.configure(NODES={"db1": at(shop.galera["db1"]), "again": local})
    found("W014", "db1, again of 'default' are one server")
    shop.configure(HOST=str(shop.galera["db1"].socket))
    assert ids() == set(), "HOST may be another name of a node"


# Servers of another kind


def test_a_node_of_another_cluster(shop: Shop, lone: GaleraNode) -> None:
    with durable([lone]):
        nodes(shop, db1=at(lone))
        found("E013", "Node db1 of 'default' belongs to another cluster", "db2, db3 in ")
        nodes(shop)
        assert ids() == set()


def test_a_node_without_galera(shop: Shop, lone: GaleraNode) -> None:
    with without_galera(lone, "--innodb-flush-log-at-trx-commit=1"):
        nodes(shop, db3=at(lone))
        found("E012", "Node db3 of 'default' runs without Galera", "wsrep_provider = 'none'")
        shop.configure(NODES={"one": at(lone)})
        assert "E012" not in ids(), "a single server may be without"


def test_a_server_that_is_too_old(shop: Shop, lone: GaleraNode) -> None:
    """Of what is no MariaDB at all, test_checks_without_servers.py tells."""
    options = ("--innodb-flush-log-at-trx-commit=1", "--version=10.5.27-MariaDB")
    with without_galera(lone, *options):
        shop.configure(NODES={"one": at(lone)})
        found("E015", "Node one of 'default'", "runs 10.5.27-MariaDB")
    connections.close_all()


def test_the_guard_needs_a_server_that_has_it(shop: Shop, lone: GaleraNode) -> None:
    options = ("--innodb-flush-log-at-trx-commit=1", "--version=10.11.7-MariaDB")
    with without_galera(lone, *options):
        shop.configure(NODES={"one": at(lone)}, OPTIONS={"lost_update_guard": True})
        found("E016", "Node one", "10.11.7-MariaDB, which lacks innodb_snapshot_isolation")
        shop.configure(NODES={"one": at(lone)})
        assert ids() == set()
    shop.configure(OPTIONS={"lost_update_guard": True})
    assert ids() == set()


@pytest.mark.parametrize(
    ("version", "has"),
    [
        ("10.6.17-MariaDB", False), ("10.6.18-MariaDB", True), ("10.11.8-MariaDB-log", True),
        ("10.7.99-MariaDB", False), ("11.0.5-MariaDB", False), ("11.2.4-MariaDB", True),
        ("11.3.2-MariaDB", False), ("11.4.1-MariaDB", False), ("11.4.2-MariaDB", True),
        ("11.5.1-MariaDB", True), ("12.0.1-MariaDB", True), ("5.5.5-10.6.18-MariaDB", True),
        ("unknown", False),
    ],
)  # fmt: skip
def test_versions_with_the_guard(version: str, has: bool) -> None:
    assert servers._has_guard(servers._numbers(version)) is has


# How they are set


def test_commits_that_a_crash_of_all_nodes_may_undo(shop: Shop) -> None:
    shop.galera["db2"].query("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    (message,) = found("W008", "nodes of 'default': db2 (2)", "MDEV-38974")
    assert "db1" not in message.msg
    with override_settings(SILENCED_SYSTEM_CHECKS=["galera_router.W008"]):
        call_command("check", databases=["default"], fail_level="WARNING")


@pytest.mark.parametrize(("by", "way"), [(30, "ahead of"), (-30, "behind")])
def test_a_clock_that_differs(shop: Shop, by: int, way: str) -> None:
    later = f"SET TIMESTAMP = {time.time() + by}"
    nodes(shop, db2={"OPTIONS": {"init_command": later}})
    found("W009", "The clock of Node db2", f"s {way} this", "NTP")


def test_gtids_that_are_not_counted_alike(shop: Shop) -> None:
    assert ids() == set()
    shop.configure(OPTIONS={"wsrep_sync_use_gtid": True})
    found("W007", "wsrep_gtid_mode is off on db1, db2, db3", "MDEV-37373")


def test_isolation_that_makes_a_promise_worth_less(shop: Shop) -> None:
    shop.configure(OPTIONS={"isolation_level": "read uncommitted"})
    found("W012", "'default' run at READ UNCOMMITTED on db1")
    for level in ("read committed", "repeatable read", "serializable", None):
        shop.configure(OPTIONS={"isolation_level": level})
        assert ids() == set()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"init_command": "SET SESSION TRANSACTION READ ONLY"}, "tx_isolation = READ-COMMITTED"),
        (
            {"init_command": "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"},
            "tx_read_only = OFF",
        ),
        ({"init_command": None}, "tx_read_only = OFF"),
    ],
)
def test_sessions_of_a_node_that_do_not_see_one_snapshot(
    shop: Shop, options: dict[str, Any], text: str
) -> None:
    node = shop.galera["db2"]
    node.query("SET GLOBAL tx_isolation = 'READ-COMMITTED'")
    try:
        assert ids() == set()
        made = connections.settings["default_db2"]["OPTIONS"]
        made |= options
        if options["init_command"] is None:
            del made["init_command"]
        found("E017", "the alias 'default_db2' begin with", text)
    finally:
        node.query("SET GLOBAL tx_isolation = 'REPEATABLE-READ'")


# Tables


@pytest.fixture
def tables(shop: Shop) -> Iterator[GaleraNode]:
    node = shop.galera["db1"]
    yield node
    for (name,) in node.query(
        "SELECT TABLE_NAME FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = 'galera_router' AND TABLE_NAME LIKE 'odd%%'"
    ):
        node.query(f"DROP TABLE galera_router.{name}")
    shop.settle()


def test_tables_without_a_primary_key(tables: GaleraNode) -> None:
    for number in range(7):
        tables.query(f"CREATE TABLE galera_router.odd{number} (a INT UNIQUE, KEY (a))")
    (message,) = found("W010", "odd0, odd1, odd2, odd3, odd4 and 2 more", "'default'")
    assert "shop_book" not in message.msg


def test_tables_that_are_not_innodb(tables: GaleraNode) -> None:
    tables.query("CREATE TABLE galera_router.odd_isam (a INT PRIMARY KEY) ENGINE=MyISAM")
    tables.query("CREATE TABLE galera_router.odd_memory (a INT PRIMARY KEY) ENGINE=MEMORY")
    found("W011", "odd_isam (MyISAM), odd_memory (MEMORY)", "ENGINE=InnoDB")


def test_views_and_sequences_are_no_tables(tables: GaleraNode) -> None:
    tables.query("CREATE VIEW galera_router.odd_view AS SELECT 1")
    tables.query("CREATE SEQUENCE galera_router.odd_sequence NOCACHE")
    try:
        assert ids() == set()
    finally:
        tables.query("DROP VIEW galera_router.odd_view")
        tables.query("DROP SEQUENCE galera_router.odd_sequence")


# When


def test_nothing_is_asked_of_a_server_without_database(shop: Shop) -> None:
    with shop.traffic() as sent:
        run_checks(tags=["galera_router"])
        check_database(databases=[])
        check_database(databases=["other"])
    assert not any(sent.values())


def test_each_node_is_asked_on_connections_that_are_closed_again(shop: Shop) -> None:
    with shop.traffic() as sent:
        assert check_database(databases=["default"]) == []
    for log in sent.values():
        assert sum(s.startswith("Connect") for s in log) == 2
        assert not any("INSERT" in s or "UPDATE" in s or "CREATE" in s for s in log)


# How they read what is written


@contextmanager
def modes(shop: Shop, **added: str) -> Iterator[None]:
    """Servers with more in their sql_mode."""
    before = {name: shop.galera[name].query("SELECT @@GLOBAL.sql_mode")[0][0] for name in added}
    for name, mode in added.items():
        shop.galera[name].query(f"SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, ',{mode}')")
    try:
        yield
    finally:
        for name, mode in before.items():
            shop.galera[name].query("SET GLOBAL sql_mode = %s", [mode])


@pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES", "ANSI_QUOTES"])
def test_nodes_that_read_the_same_text_in_different_ways(shop: Shop, mode: str) -> None:
    with modes(shop, db2=mode, db3=mode):
        found("E022", f"different ways: {mode} on db2, db3, but not on all", 'OPTIONS["sql_mode"]')
        with modes(shop, db1=mode):
            assert ids() == set()
        shop.configure(OPTIONS={"sql_mode": "STRICT_TRANS_TABLES"})
        assert ids() == set(), "one for all of them"


def test_nodes_whose_modes_differ_otherwise(shop: Shop) -> None:
    with modes(shop, db3="ONLY_FULL_GROUP_BY,NO_ZERO_DATE"):
        found("W021", "sql_mode: NO_ZERO_DATE on db3; ONLY_FULL_GROUP_BY on db3, but not on all")
    with modes(shop, db1="ANSI_QUOTES", db3="NO_ZERO_DATE"):
        assert ids() == {"E022", "W021"}


def test_a_node_whose_alias_was_given_another_character_set(shop: Shop) -> None:
    databases = expand(shop.galera.databases())
    databases["default_db2"]["OPTIONS"]["charset"] = "latin1"
    use_databases(databases)
    found("E022", "latin1 on db2; utf8mb4 on db1, db2, db3, but not on all")


def test_an_init_command_of_one_node_that_changes_how_it_reads(shop: Shop) -> None:
    add = "SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')"
    nodes(shop, db2={"OPTIONS": {"init_command": add}})
    found("E022", "NO_BACKSLASH_ESCAPES on db2, but not on all", "init_command of single nodes")

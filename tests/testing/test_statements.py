"""What clients sent to a node is told, all of it and nothing else."""

from __future__ import annotations

import MySQLdb
import pytest

from galera_router.testing import ClusterError, GaleraCluster, GaleraNode, Statement

from .conftest import Connect, fetch


def told(sent: list[Statement]) -> list[tuple[str, str]]:
    return [(entry.command, entry.sql) for entry in sent]


@pytest.fixture
def node(galera: GaleraCluster) -> GaleraNode:
    return galera["db2"]


def test_a_clients_statements_are_told_and_the_administrators_are_not(
    node: GaleraNode, connect: Connect
) -> None:
    with node.statements() as sent:
        connection = connect(node)
        node.query("SELECT 'ours'")
        fetch(connection, "SELECT 'one'\n  , 'ü 😀'")
        connection.rollback()
        assert sent == []
    assert told(sent) == [
        ("Connect", "galera@127.0.0.1 on galera_router using TCP/IP"),
        ("Query", "SET NAMES utf8mb4"),
        ("Query", "SELECT 'one'\n  , 'ü 😀'"),
        ("Query", "ROLLBACK"),
    ]
    assert {entry.connection_id for entry in sent} == {connection.thread_id()}


def test_a_packet_of_several_statements_is_one_entry(node: GaleraNode, connect: Connect) -> None:
    connection = connect(node)
    with node.statements() as sent, connection.cursor() as cursor:
        cursor.execute("SELECT 1; SELECT 2; SELECT 3")
        while cursor.nextset():
            pass
    assert told(sent) == [("Query", "SELECT 1; SELECT 2; SELECT 3")]


def test_an_idle_node_is_sent_nothing(galera: GaleraCluster, connect: Connect) -> None:
    """Replication, the administrator and healing are not what clients sent."""
    with galera["db3"].statements() as sent:
        fetch(connect(galera["db1"]), "CREATE TABLE logged (n INT PRIMARY KEY)")
        fetch(connect(galera["db1"]), "INSERT INTO logged VALUES (1)")
        galera["db1"].query("DROP TABLE galera_router.logged")
        galera["db3"].wait_synced()
        galera.wait_synced()
    assert sent == []


def test_blocks_nest_and_the_log_is_off_after_the_last(node: GaleraNode, connect: Connect) -> None:
    connection = connect(node)
    with node.statements() as outer:
        fetch(connection, "SELECT 1")
        with node.statements() as inner:
            fetch(connection, "SELECT 2")
        fetch(connection, "SELECT 3")
    assert [entry.sql for entry in inner] == ["SELECT 2"]
    assert [entry.sql for entry in outer] == ["SELECT 1", "SELECT 2", "SELECT 3"]
    assert node.query("SELECT @@general_log") == [(0,)]


def test_a_mark_outlives_the_servers_death(node: GaleraNode, connect: Connect) -> None:
    mark = node.log_mark()
    fetch(connect(node), "SELECT 'before'")
    node.kill()
    assert [entry.sql for entry in node.log_since(mark)][-1] == "SELECT 'before'"
    node.start()
    fetch(connect(node), "SELECT 'after'")
    texts = [entry.sql for entry in node.log_since(mark) if entry.sql.startswith("SELECT")]
    assert texts == ["SELECT 'before'", "SELECT 'after'"]
    node.log_off()
    assert node.query("SELECT @@general_log") == [(0,)]


def test_the_log_is_told_though_the_node_freezes(node: GaleraNode, connect: Connect) -> None:
    connection = connect(node, read_timeout=1)
    with node.statements() as sent:
        fetch(connection, "SELECT 1")
        node.freeze()
        with pytest.raises(MySQLdb.OperationalError):
            fetch(connection, "SELECT 2")
    assert [entry.sql for entry in sent] == ["SELECT 1"]


def test_the_log_of_a_frozen_node_cannot_be_switched_on(node: GaleraNode) -> None:
    node.freeze()
    with pytest.raises(ClusterError, match="frozen"):
        node.log_mark()

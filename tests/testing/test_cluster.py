"""Each fault does to a node what it says, and heal() undoes it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import MySQLdb
import pytest

from galera_router.testing import ClusterError, GaleraCluster, GaleraNode
from galera_router.testing.reaper import processes_of

from .conftest import Connect, fetch, wait_for

NOT_READY = 1047


@pytest.fixture(scope="module")
def lone_cluster() -> Iterator[GaleraCluster]:
    with GaleraCluster(size=1) as cluster:
        yield cluster


@pytest.fixture
def lone(lone_cluster: GaleraCluster) -> GaleraNode:
    """A node without others, for what a node does by itself."""
    lone_cluster.heal()
    return lone_cluster.nodes[0]


def count(node: GaleraNode, table: str) -> int:
    return int(node.query(f"SELECT COUNT(*) FROM {table}")[0][0])


def view_size(node: GaleraNode) -> int:
    return int(node.status()["wsrep_cluster_size"])


def assert_same_everywhere(galera: GaleraCluster, table: str, rows: int) -> None:
    for node in galera.nodes:
        node.wait_applied()
        assert count(node, table) == rows


def test_nodes_are_named_and_found(galera: GaleraCluster) -> None:
    assert [node.name for node in galera.nodes] == ["db1", "db2", "db3"]
    assert galera["db2"] is galera.nodes[1]
    with pytest.raises(KeyError):
        galera["db4"]


def test_databases_can_be_given_to_expand(galera: GaleraCluster) -> None:
    default = galera.databases(ATOMIC_REQUESTS=True, USER="other")["default"]
    assert default["NODES"]["db3"] == {"HOST": "127.0.0.1", "PORT": galera["db3"].port}
    assert default["ENGINE"] == "django.db.backends.mysql"
    assert (default["NAME"], default["USER"]) == ("galera_router", "other")
    assert default["ATOMIC_REQUESTS"] is True


def test_nothing_listens_but_on_the_loopback(galera: GaleraCluster) -> None:
    for node in galera.nodes:
        assert node.query("SELECT @@bind_address") == [("127.0.0.1",)]
        options = node.query("SELECT @@wsrep_provider_options")[0][0]
        assert f"gmcast.listen_addr = tcp://127.0.0.1:{node.port + 1}" in options
        assert f"ist.recv_addr = 127.0.0.1:{node.port + 2}" in options


def test_servers_run_unprivileged_in_a_private_folder(galera: GaleraCluster) -> None:
    owners = {
        (galera.folder / node.name / "data" / "ibdata1").stat().st_uid for node in galera.nodes
    }
    assert 0 not in owners
    assert galera.folder.stat().st_mode & 0o077 == 0


def test_only_root_and_the_user_can_log_in(galera: GaleraCluster, connect: Connect) -> None:
    accounts = galera["db1"].query("SELECT User, Host FROM mysql.user ORDER BY 1, 2")
    assert set(accounts) == {
        ("galera", "%"), ("galera", "localhost"), ("root", "localhost"),
        ("mariadb.sys", "localhost"),
    }  # fmt: skip
    for user in ("root", ""):
        with pytest.raises(MySQLdb.OperationalError) as refused:
            connect(galera["db1"], user=user, password="")
        assert refused.value.args[0] in {1045, 1698}


def test_the_user_may_do_what_a_test_runner_does(galera: GaleraCluster, connect: Connect) -> None:
    connection = connect(galera["db2"])
    fetch(connection, "CREATE DATABASE test_galera_router_gw0")
    fetch(connection, "CREATE TABLE test_galera_router_gw0.t (n INT PRIMARY KEY)")
    fetch(connection, "DROP DATABASE test_galera_router_gw0")
    with pytest.raises(MySQLdb.OperationalError):
        fetch(connection, "CREATE DATABASE galeraXrouter")


def test_text_and_time_zones_are_as_django_wants_them(
    galera: GaleraCluster, connect: Connect
) -> None:
    connection = connect(galera["db3"])
    assert fetch(connection, "SELECT @@character_set_database") == [("utf8mb4",)]
    assert fetch(connection, "SELECT CONVERT_TZ('2026-01-01', '+00:00', 'UTC') IS NULL") == [(0,)]


def test_the_unix_socket_serves_the_user_too(galera: GaleraCluster) -> None:
    connection = MySQLdb.connect(
        unix_socket=str(galera["db1"].socket), user="galera", password="galera"
    )
    assert fetch(connection, "SELECT 1") == [(1,)]
    connection.close()


@pytest.mark.alone
def test_to_heal_what_is_well_takes_no_time(galera: GaleraCluster) -> None:
    begin = time.monotonic()
    galera.heal()
    assert time.monotonic() - begin < 0.5


def test_a_killed_node_comes_back_with_what_it_missed(galera: GaleraCluster, numbers: str) -> None:
    node = galera["db3"]
    pid = node.pid
    node.kill()
    assert (node.running, node.pid) == (False, None)
    with pytest.raises(MySQLdb.Error):
        node.query("SELECT 1")
    galera["db1"].query(f"INSERT INTO {numbers} VALUES (1), (2)")
    node.start()
    assert node.pid not in {pid, None}
    assert_same_everywhere(galera, numbers, 2)


def test_a_stopped_node_says_goodbye(galera: GaleraCluster) -> None:
    node = galera["db2"]
    node.stop()
    assert not node.running
    wait_for(lambda: view_size(galera["db1"]) == 2, 1)
    assert galera["db1"].is_synced()
    galera.wait_synced()


def test_stop_need_not_wait(lone: GaleraNode) -> None:
    lone.stop(wait=False)
    wait_for(lambda: not lone.running)
    lone.start()
    assert lone.query("SELECT 1") == [(1,)]


def test_a_running_node_is_not_started_again(lone: GaleraNode) -> None:
    with pytest.raises(ClusterError, match="running already"):
        lone.start()


def test_a_dead_node_takes_no_signal(lone: GaleraNode) -> None:
    lone.kill()
    lone.kill()
    with pytest.raises(ClusterError, match="not running"):
        lone.freeze()
    with pytest.raises(ClusterError, match="db1 is not running"):
        lone.wait_synced()


def test_a_frozen_node_answers_nothing_and_is_shut_out(
    galera: GaleraCluster, connect: Connect
) -> None:
    node = galera["db3"]
    connection = connect(node, read_timeout=1)
    node.freeze()
    assert node.running
    assert node.frozen
    with pytest.raises(MySQLdb.OperationalError):
        fetch(connection, "SELECT 1")
    wait_for(lambda: view_size(galera["db1"]) == 2)
    with pytest.raises(ClusterError, match="not synced"):
        node.wait_synced(timeout=0.1)
    galera.heal()
    assert not galera["db3"].frozen
    assert view_size(galera["db1"]) == 3


def test_a_frozen_node_can_be_stopped(lone: GaleraNode) -> None:
    lone.freeze()
    lone.stop()
    assert not lone.running


def test_a_node_that_was_frozen_goes_on(lone: GaleraNode, connect: Connect) -> None:
    connection = connect(lone)
    lone.freeze()
    lone.thaw()
    assert fetch(connection, "SELECT 1") == [(1,)]


def test_an_isolated_node_refuses_its_clients_but_not_the_administrator(
    galera: GaleraCluster, connect: Connect
) -> None:
    node = galera["db2"]
    connection = connect(node)
    node.isolate()
    wait_for(lambda: node.status()["wsrep_cluster_status"] == "non-Primary")
    with pytest.raises(MySQLdb.OperationalError) as refused:
        fetch(connection, "SELECT * FROM mysql.help_topic")
    assert refused.value.args[0] == NOT_READY
    assert node.query("SELECT 1") == [(1,)]
    node.rejoin()
    node.wait_synced()


@pytest.mark.parametrize("kind", ["ALL", "ALL_KILL"])
def test_a_node_can_refuse_queries(galera: GaleraCluster, connect: Connect, kind: str) -> None:
    node = galera["db2"]
    connection = connect(node)
    node.reject_queries(kind)
    with pytest.raises(MySQLdb.OperationalError) as refused:
        fetch(connection, "SELECT * FROM mysql.help_topic")
    assert refused.value.args[0] in ({NOT_READY} if kind == "ALL" else {2006, 2013})
    assert node.query("SELECT 1") == [(1,)]
    node.accept_queries()
    assert fetch(connect(node), "SELECT 1") == [(1,)]


def test_a_held_applier_falls_behind_and_catches_up(galera: GaleraCluster, numbers: str) -> None:
    node = galera["db3"]
    with node.hold_applier():
        galera["db1"].query(f"INSERT INTO {numbers} VALUES (1)")
        time.sleep(0.2)
        assert (count(galera["db1"], numbers), count(node, numbers)) == (1, 0)
    wait_for(lambda: count(node, numbers) == 1)
    node.hold_applier()
    galera["db1"].query(f"INSERT INTO {numbers} VALUES (2)")
    time.sleep(0.2)
    assert count(node, numbers) == 1
    node.release_applier()
    wait_for(lambda: count(node, numbers) == 2)


def test_all_connections_but_the_administrators_are_killed(
    galera: GaleraCluster, connect: Connect, numbers: str
) -> None:
    node = galera["db1"]
    connections = [connect(node) for _ in range(3)]
    galera["db3"].hold_applier()
    galera["db3"].kill_connections()
    assert node.kill_connections() == 3
    for connection in connections:
        with pytest.raises(MySQLdb.OperationalError):
            fetch(connection, "SELECT 1")
    node.query(f"INSERT INTO {numbers} VALUES (1)")
    assert count(galera["db3"], numbers) == 0


def test_the_administrator_gets_in_when_all_connections_are_used(
    galera: GaleraCluster, connect: Connect
) -> None:
    node = galera["db1"]
    limit = int(node.query("SELECT @@max_connections")[0][0])
    node.query("SET GLOBAL max_connections = 10")
    try:
        with pytest.raises(MySQLdb.OperationalError) as refused:
            [connect(node) for _ in range(12)]
        assert refused.value.args[0] == 1040
        node._admin.close()
        assert node.query("SELECT 1") == [(1,)]
    finally:
        node.query("SET GLOBAL max_connections = %s", [limit])


def test_healed_means_healed_for_good(galera: GaleraCluster) -> None:
    """A node that was cut off for about as long as the others bear it may yet be shut out."""
    galera["db3"].isolate()
    time.sleep(0.9)
    galera.heal()
    views = {node.status()["wsrep_cluster_conf_id"] for node in galera.nodes}
    time.sleep(1.5)
    assert views == {node.status()["wsrep_cluster_conf_id"] for node in galera.nodes}


def test_all_faults_at_once_are_healed(galera: GaleraCluster, numbers: str) -> None:
    galera["db1"].reject_queries()
    galera["db1"].query("SET GLOBAL wsrep_desync = 1, GLOBAL read_only = 1")
    galera["db1"].log_mark()
    galera["db2"].hold_applier()
    galera["db2"].freeze()
    galera["db3"].isolate()
    galera.heal()
    assert galera["db1"].query("SELECT @@general_log, @@wsrep_desync, @@read_only") == [(0, 0, 0)]
    galera["db2"].query(f"INSERT INTO {numbers} VALUES (1)")
    assert_same_everywhere(galera, numbers, 1)


def test_a_cluster_without_quorum_goes_on_from_the_most_advanced(
    galera: GaleraCluster, numbers: str
) -> None:
    # The one that lives is not the one that got furthest.
    galera["db3"].freeze()
    wait_for(lambda: view_size(galera["db1"]) == 2)
    galera["db1"].query(f"INSERT INTO {numbers} VALUES (1), (2), (3)")
    galera["db1"].kill()
    galera["db2"].kill()
    galera["db3"].thaw()
    galera.heal()
    assert_same_everywhere(galera, numbers, 3)


def test_a_cluster_of_which_nobody_is_left_comes_back_with_every_commit(
    galera: GaleraCluster, numbers: str
) -> None:
    for number in range(20):
        galera.nodes[number % 3].query(f"INSERT INTO {numbers} VALUES ({number})")
    for node in galera.nodes:
        node.kill()
    with pytest.raises(ClusterError):
        galera.wait_synced(timeout=0.1)
    galera.heal()
    assert_same_everywhere(galera, numbers, 20)


def test_a_node_without_data_fetches_all_of_it(galera: GaleraCluster, numbers: str) -> None:
    """And when it is killed while it does, the programs that it does it with go too."""
    galera["db1"].query(f"INSERT INTO {numbers} VALUES (1)")
    node = galera["db3"]
    node.kill()
    for file in ("grastate.dat", "ibdata1", "ib_logfile0", "galera.cache"):
        (node.place.data / file).unlink()
    node.start(wait=False)
    wait_for(lambda: len(processes_of(node.place.folder)) > 1)
    node.kill()
    assert processes_of(node.place.folder) == []
    node.start()
    assert_same_everywhere(galera, numbers, 1)


def test_heal_says_how_each_node_is_when_it_cannot(
    lone: GaleraNode, lone_cluster: GaleraCluster
) -> None:
    lone.kill()
    with pytest.raises(ClusterError, match="not healed after 0 s: db1 dead"):
        lone_cluster.heal(timeout=0)

"""Each fault does on the real cluster what its name says, and is over when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import MySQLdb
import pytest

from galera_router.testing import GaleraCluster, Proxy
from tests.chaos import heavy, light
from tests.chaos.children import Crew
from tests.chaos.plan import ALTERED, HEAVY, LIGHT, Strike
from tests.chaos.target import Target
from tests.chaos.ways import Way
from tests.testing.conftest import wait_for
from tests.testing.test_proxy import Background

MARKERS = "galera_router_marker"
DATABASE = "test_strikes"  # the other tests need their tables
TABLES = (MARKERS, *ALTERED)

Aim = Callable[..., Target]


@pytest.fixture
def ways(galera: GaleraCluster) -> Iterator[dict[str, Way]]:
    """Two client processes' ways to each node."""
    with galera.proxies() as first, galera.proxies() as second:
        yield {name: Way([first[name], second[name]]) for name in first}


@pytest.fixture
def aim(
    galera: GaleraCluster, ways: dict[str, Way], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Aim]:
    """``aim(kind, node, **strike)``; the tables that faults look for are there."""
    node = galera["db1"]
    monkeypatch.setattr(galera, "database", DATABASE)
    node.query(f"CREATE DATABASE {DATABASE}")
    for table in TABLES:
        key = "worker" if table == MARKERS else "id"
        node.query(f"CREATE TABLE {DATABASE}.{table} ({key} INT PRIMARY KEY)")

    def make(kind: str, name: str = "db1", **more: Any) -> Target:
        crew = Crew(lambda number, life: None, 0)  # type: ignore[arg-type, return-value]
        return Target(Strike(0.0, kind, (name,), **more), name, galera, ways, crew)

    yield make
    galera.heal()
    galera["db1"].query(f"DROP DATABASE {DATABASE}")


def connect(galera: GaleraCluster, proxy: Proxy) -> Any:
    return MySQLdb.connect(
        host=proxy.host,
        port=proxy.port,
        user=galera.user,
        password=galera.password,
        database=galera.database,
        autocommit=True,
    )


def run(connection: Any, sql: str) -> Any:
    with closing(connection.cursor()) as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def rows(target: Target, table: str = "chaos_page") -> int:
    return int(target.node.query(f"SELECT COUNT(*) FROM {DATABASE}.{table}")[0][0])


def assert_fails(number: int | set[int], work: Callable[[], Any]) -> None:
    with pytest.raises(MySQLdb.OperationalError) as caught:
        work()
    assert caught.value.args[0] in ({number} if isinstance(number, int) else number)


def desynced(target: Target) -> Any:
    return target.node.query("SELECT @@wsrep_desync")[0][0]


@pytest.mark.parametrize("kind", ["stall", "stall-all", "stall-desynced"])
def test_a_node_is_stalled(galera: GaleraCluster, aim: Aim, kind: str) -> None:
    """It answers, and says Synced unless it is desynced, but shows nothing that others write."""
    target = aim(kind, "db2")
    with heavy.FAULTS[kind](target):
        galera["db1"].query(f"INSERT INTO {DATABASE}.{MARKERS} VALUES (1)")
        galera["db1"].query(f"INSERT INTO {DATABASE}.chaos_page VALUES (1)")
        assert rows(target) == 0
        assert bool(desynced(target)) == (kind == "stall-desynced")
        assert target.node.is_synced() == (kind != "stall-desynced")
    wait_for(lambda: rows(target) == 1)
    wait_for(target.node.is_synced)


def test_a_node_is_read_only(galera: GaleraCluster, aim: Aim) -> None:
    """For clients; it applies what others write."""
    target = aim("read-only")
    with closing(target.connect()) as client:
        with heavy.FAULTS["read-only"](target):
            assert_fails(1290, lambda: run(client, "INSERT INTO chaos_page VALUES (1)"))
            galera["db2"].query(f"INSERT INTO {DATABASE}.chaos_page VALUES (2)")
            wait_for(lambda: rows(target) == 1)
        run(client, "INSERT INTO chaos_page VALUES (1)")


def test_a_node_is_full(galera: GaleraCluster, aim: Aim) -> None:
    """One process has lost its connections and gets none; another one keeps its own."""
    target = aim("full", process=1)
    lost, kept = (connect(galera, target.way[process]) for process in (1, 0))
    with heavy.FAULTS["full"](target):
        assert run(kept, "SELECT 1") == ((1,),)
        assert_fails({2006, 2013}, lambda: run(lost, "SELECT 1"))
        assert_fails(1040, lambda: connect(galera, target.proxy))
    connect(galera, target.proxy).close()
    kept.close()


def test_one_process_is_cut_off(galera: GaleraCluster, aim: Aim) -> None:
    """It is refused; the others are not, and it reaches the other nodes."""
    target = aim("cut-off", process=1)
    mine = connect(galera, target.proxy)
    with heavy.FAULTS["cut-off"](target):
        assert_fails({2006, 2013}, lambda: run(mine, "SELECT 1"))
        assert_fails({2002, 2003}, lambda: connect(galera, target.proxy))
        connect(galera, target.way[0]).close()
        connect(galera, target.ways["db2"][1]).close()
    connect(galera, target.proxy).close()


def test_one_process_is_cut_off_in_silence(galera: GaleraCluster, aim: Aim) -> None:
    """It hangs; the others do not."""
    target = aim("cut-off-silent", process=1)
    mine, other = (connect(galera, target.way[process]) for process in (1, 0))
    with heavy.FAULTS["cut-off-silent"](target):
        waiting = Background(lambda: run(mine, "SELECT 1"))
        assert waiting.hangs(0.3)
        assert run(other, "SELECT 1") == ((1,),)
    assert waiting.ends()
    assert waiting.error is None
    mine.close()
    other.close()


def test_a_commit_is_late(galera: GaleraCluster, aim: Aim) -> None:
    """It arrives when the fault is over; until then nobody new gets to the node."""
    target = aim("late-commit")
    mine = connect(galera, target.proxy)
    run(mine, "BEGIN")
    run(mine, "INSERT INTO chaos_page VALUES (1)")
    with heavy.FAULTS["late-commit"](target):
        waiting = Background(mine.commit)
        assert waiting.hangs(0.3)
        assert rows(target) == 0
        assert_fails({2002, 2003}, lambda: connect(galera, target.way[1]))
    assert waiting.ends()
    assert waiting.error is None
    assert rows(target) == 1
    mine.close()


def test_all_nodes_are_stopped(galera: GaleraCluster, aim: Aim) -> None:
    """Nobody is left, and nothing is lost."""
    galera["db3"].query(f"INSERT INTO {DATABASE}.chaos_page VALUES (1)")
    with ExitStack() as stack:
        targets = [aim("stop-all", name) for name in ("db2", "db3")]
        for target in targets:
            stack.enter_context(heavy.FAULTS["stop-all"](target))
        stack.enter_context(heavy.FAULTS["stop-all"](Target(
            targets[0].strike, "db1", galera, targets[0].ways, targets[0].crew
        )))  # fmt: skip
    assert not any(node.running for node in galera.nodes)
    galera.heal()
    assert rows(targets[0]) == 1


def test_markers_are_lost(galera: GaleraCluster, aim: Aim) -> None:
    """All of them; then there are none to lose."""
    galera["db1"].query(f"INSERT INTO {DATABASE}.{MARKERS} VALUES (1), (2)")
    target = aim("lose-markers")
    assert light.FAULTS["lose-markers"](target)
    assert rows(target, MARKERS) == 0
    assert not light.FAULTS["lose-markers"](target)


@pytest.mark.parametrize("kind", ["alter-index", "alter-column"])
def test_a_table_is_altered_for_a_moment(galera: GaleraCluster, aim: Aim, kind: str) -> None:
    """Then it is as it was."""
    target = aim(kind, "db2", number=1)
    show = f"SHOW CREATE TABLE {DATABASE}.chaos_page"
    [before] = galera["db1"].query(show)
    fault = Background(lambda: light.FAULTS[kind](target))
    wait_for(lambda: "extra" in galera["db1"].query(show)[0][1])
    assert fault.ends()
    assert galera["db1"].query(show) == [before]


def test_a_byte_is_the_last_one(galera: GaleraCluster, aim: Aim) -> None:
    """Of one process, in one direction; if none comes the fault has hit nobody."""
    target = aim("cut-byte", process=1, number=3, toward="client")
    mine = connect(galera, target.proxy)
    fired: list[bool] = []
    fault = Background(lambda: fired.append(light.FAULTS["cut-byte"](target)))
    wait_for(lambda: bool(target.proxy._running().faults.byte_rules))
    assert_fails({2006, 2013}, lambda: run(mine, "SELECT 1"))
    assert fault.ends()
    assert not light.FAULTS["cut-byte"](target)
    assert fired == [True]


def test_a_node_lags_and_does_not_hold_the_others_back(galera: GaleraCluster, aim: Aim) -> None:
    """What is written meanwhile is there a little later."""
    target = aim("lag", "db2")
    count = f"SELECT COUNT(*) FROM {DATABASE}.chaos_page"
    in_use = f"SHOW OPEN TABLES FROM {DATABASE} WHERE In_use > 0"
    fault = Background(lambda: light.FAULTS["lag"](target))
    wait_for(lambda: bool(galera["db2"].query(in_use)))
    galera["db1"].query(f"INSERT INTO {DATABASE}.{MARKERS} VALUES (1)")
    for key in range(30):
        galera["db1"].query(f"INSERT INTO {DATABASE}.chaos_page VALUES ({key})")
    assert galera["db2"].query(count) == [(0,)]
    assert fault.ends()
    wait_for(lambda: galera["db2"].query(count) == [(30,)])


def test_the_primary_of_the_moment_does_not_lag(galera: GaleraCluster, aim: Aim) -> None:
    """It would be stalled, which is another fault."""
    target, table = aim("lag", "db2"), f"{DATABASE}.galera_router_epoch"
    galera["db2"].query(f"CREATE TABLE {table} (server VARCHAR(99))")
    try:
        galera["db2"].query(f"INSERT INTO {table} VALUES ('a host 3306 db2')")
        assert not light.FAULTS["lag"](target)
    finally:
        galera["db2"].query(f"DROP TABLE {table}")


def test_every_kind_of_fault_can_be_carried_out() -> None:
    """No more and no fewer."""
    assert (set(heavy.FAULTS), set(light.FAULTS)) == (set(HEAVY), set(LIGHT))

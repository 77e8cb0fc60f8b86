"""Markers, their pool, and how a transaction stands to its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError
from hypothesis import given
from hypothesis import strategies as st

from galera_router import expand
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.conf import cluster_config
from galera_router.recovery import marker as markers
from galera_router.recovery.marker import TABLE, Marker, Marking, Pool, moved, pool_of


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    nodes = {f"db{n}": {"HOST": f"h{n}"} for n in (1, 2, 3)}
    databases: dict[str, Any] = expand(
        {"default": {"ENGINE": "django.db.backends.mysql", "NAME": "shop", "NODES": nodes}}
    )
    config = cluster_config(databases["default"])
    assert config is not None
    return Cluster(config)


@pytest.fixture
def node(cluster: Cluster) -> Node:
    return cluster.nodes[0]


@pytest.fixture
def marking(node: Node) -> Marking:
    """That of a transaction which the server has begun, with its marker."""
    marking = Marking()
    marking.marker, marking.wanted = Marker(node), True
    marking.begun([])
    return marking


# --- statements ---------------------------------------------------------------------------


def test_each_marker_has_a_name_of_its_own(node: Node) -> None:
    names = {Marker(node).worker for _ in range(100)}
    assert len(names) == 100
    assert all(len(name) == 32 and name.isalnum() for name in names)


def test_an_advance_is_refused_from_any_other_number(node: Node) -> None:
    marker = Marker(node, worker="w", seq=7)
    assert b"SET seq = IF(seq = 7, 8, -1)," in marker.advance(None)
    assert b"SET seq = IF(seq = 7, 9, -1)," in marker.fence()
    for statement in (marker.advance(None), marker.fence(), marker.record(None, rows=True)):
        checked = b"SET STATEMENT check_constraint_checks=1 FOR "
        assert statement.startswith(checked + b"UPDATE galera_router_marker ")
        assert statement.endswith(b" WHERE worker = 'w'")
        assert b"touched = UTC_TIMESTAMP()" in statement


def test_a_record_keeps_the_answer_of_the_statement_before_it(node: Node) -> None:
    rows, key = (Marker(node, seq=7).record(None, rows=rows) for rows in (True, False))
    assert b"found_rows = galera_router_rows, inserted_key = LAST_INSERT_ID()" in rows
    assert b"found_rows = ROW_COUNT(), inserted_key = LAST_INSERT_ID()" in key
    assert b"IF(seq = 7 AND galera_router_rows >= 0, 8, -1)" in rows
    assert b"IF(seq = 7, 8, -1)" in key


def test_a_look_locks_the_row(node: Node) -> None:
    assert Marker(node, worker="w").look().endswith(b" WHERE worker = 'w' FOR UPDATE")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ((4025, f"CONSTRAINT `galera_router_marker_seq` failed for `shop`.`{TABLE}`"), True),
        ((1146, f"Table 'shop.{TABLE}' doesn't exist"), True),
        ((4025, "CONSTRAINT `price` failed for `shop`.`shop_book`"), False),
        ((1146, "Table 'shop.shop_book' doesn't exist"), False),
        ((1213, f"Deadlock found on {TABLE}"), False),
        ((), False),
    ],
)
def test_the_refusal_of_an_advance_is_told_from_the_applications_errors(
    error: tuple[Any, ...], expected: bool
) -> None:
    assert moved(OperationalError(*error)) is expected


# --- the pool -----------------------------------------------------------------------------


def test_a_marker_is_taken_where_it_was_committed(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    pool, marker = Pool(), Marker(first)
    assert pool.take(first, "shop") is None
    pool.give(marker, first, "shop")
    assert pool.take(second, "shop") is None
    assert pool.take(first, "other") is None
    assert pool.take(first, "shop") is marker
    assert pool.take(first, "shop") is None


def test_a_marker_that_has_moved_is_taken_at_its_new_node(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    pool, marker = Pool(), Marker(first)
    marker.node = second
    pool.give(marker, second, "shop")
    assert pool.take(first, "shop") is None
    assert pool.take(second, "shop") is marker


def test_a_missing_table_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("galera_router.recovery.marker.time.monotonic", lambda: now[0])
    pool = Pool()
    seen = [pool.absent]
    pool.note_absent()
    seen.append(pool.absent)
    now[0] += markers.LOOK_AGAIN - 1
    seen.append(pool.absent)
    now[0] += 2
    seen.append(pool.absent)
    pool.note_absent()
    pool.note_present()
    seen.append(pool.absent)
    assert seen == [False, True, True, False, False]


def test_it_is_cleaned_at_the_start_and_once_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("galera_router.recovery.marker.time.monotonic", lambda: now[0])
    pool = Pool()
    assert [pool.time_to_clean() for _ in range(3)] == [True, False, False]
    now[0] += markers.CLEAN_EVERY - 1
    assert not pool.time_to_clean()
    now[0] += 1
    assert [pool.time_to_clean() for _ in range(2)] == [True, False]


@pytest.fixture
def _pools() -> Iterator[None]:
    before = dict(markers._pools)
    yield
    markers._pools.clear()
    markers._pools.update(before)


@pytest.mark.usefixtures("_pools")
def test_a_child_begins_with_an_empty_pool(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    pool_of(cluster).give(Marker(node), node, "shop")
    assert pool_of(cluster) is pool_of(cluster)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if pool_of(cluster).take(node, "shop") is None else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert pool_of(cluster).take(node, "shop") is not None


# --- a transaction ------------------------------------------------------------------------


def test_what_only_reads_advances_none(node: Node) -> None:
    marking = Marking()
    marking.marker = Marker(node)
    marking.begun([])
    assert marking.due() is None
    assert not marking.done
    marking.wanted = True
    assert marking.due() is marking.marker
    marking.advanced()
    assert marking.due() is None


def test_without_a_marker_none_is_due() -> None:
    marking = Marking()
    marking.wanted = True
    marking.begun([])
    assert marking.due() is None
    assert not marking.done


def test_the_one_that_came_with_begin_is_undone_by_no_savepoint(marking: Marking) -> None:
    marking.savepoint("SAVEPOINT", "a")
    marking.savepoint("ROLLBACK TO", "a")
    assert marking.done


def test_one_advanced_behind_a_savepoint_is_undone_with_it(marking: Marking) -> None:
    marking.done = False
    marking.savepoint("SAVEPOINT", "a")
    marking.savepoint("SAVEPOINT", "b")
    marking.advanced()
    marking.savepoint("RELEASE", "b")
    assert marking.done
    marking.savepoint("ROLLBACK TO", "a")
    assert marking.due() is marking.marker


def test_one_advanced_ahead_of_a_savepoint_stays(marking: Marking) -> None:
    marking.done = False
    marking.savepoint("SAVEPOINT", "a")
    marking.advanced()
    marking.savepoint("SAVEPOINT", "b")
    marking.savepoint("ROLLBACK TO", "b")
    assert marking.done
    marking.savepoint("ROLLBACK TO", "no such")
    assert marking.done


def test_a_savepoint_of_the_same_name_takes_the_place_of_the_older(marking: Marking) -> None:
    marking.done = False
    marking.savepoint("SAVEPOINT", "a")
    marking.advanced()
    marking.savepoint("SAVEPOINT", "a")
    marking.savepoint("ROLLBACK TO", "a")
    assert marking.done


def test_a_transaction_begun_again_has_the_savepoints_that_it_had(marking: Marking) -> None:
    marking.savepoint("SAVEPOINT", "a")
    marking.begun(None)
    assert marking.done
    marking.savepoint("ROLLBACK TO", "a")
    assert marking.done


class Server:
    """What a server does: the whole state is kept at each savepoint, and put back."""

    def __init__(self) -> None:
        self.advanced = False
        self.savepoints: list[tuple[str, bool]] = []

    def do(self, action: str, name: str) -> None:
        names = [other for other, _ in self.savepoints]
        if action == "SAVEPOINT":
            self.savepoints = [(n, kept) for n, kept in self.savepoints if n != name]
            self.savepoints.append((name, self.advanced))
        elif name in names:
            position = names.index(name)
            if action == "ROLLBACK TO":
                self.advanced = self.savepoints[position][1]
                position += 1
            self.savepoints = self.savepoints[:position]


ACTIONS = st.tuples(
    st.sampled_from(["SAVEPOINT", "RELEASE", "ROLLBACK TO", "write"]), st.sampled_from("abc")
)


@given(st.booleans(), st.lists(ACTIONS, max_size=20))
def test_it_knows_what_the_server_has(at_begin: bool, actions: list[tuple[str, str]]) -> None:
    marking, server = Marking(), Server()
    marking.marker = Marker(None)  # type: ignore[arg-type]
    marking.wanted = at_begin
    marking.begun([])
    server.advanced = at_begin
    for action, name in actions:
        if action == "write":
            marking.wanted = True
            if marking.due():
                assert not server.advanced
                server.advanced = True
                marking.advanced()
        else:
            marking.savepoint(action, name)
            server.do(action, name)
        assert marking.done == server.advanced

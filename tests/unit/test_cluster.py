"""The choice of nodes, with a clock and a die of our own."""

from __future__ import annotations

import random

import pytest

from galera_router import cluster as module
from galera_router.cluster import Cluster
from galera_router.conf import cluster_config, expand


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock | None = None, **overrides: object) -> Cluster:
    databases = expand(
        {
            "default": {
                "ENGINE": "django.db.backends.mysql",
                "NAME": "x",
                "NODES": {f"db{n}": {"HOST": f"10.0.0.{n}"} for n in (1, 2, 3)},
                **overrides,
            }
        }
    )
    config = cluster_config(databases["default"])
    assert config is not None
    return Cluster(config, clock or Clock(), random.Random(1))


LOST = OSError(2013, "lost")


def test_the_first_node_is_primary_and_is_not_read_from() -> None:
    cluster = make()
    primary = cluster.primary()
    assert primary is not None
    assert primary.name == "db1"
    names = {node.name for _ in range(50) if (node := cluster.reader())}
    assert names == {"db2", "db3"}


def test_the_host_is_preferred_until_it_is_down() -> None:
    cluster = make(HOST="10.0.0.3")
    assert {node.name for _ in range(20) if (node := cluster.reader())} == {"db3"}
    cluster.mark_down(cluster.nodes[2], LOST)
    assert {node.name for _ in range(20) if (node := cluster.reader())} == {"db2"}


def test_a_host_that_is_no_member_is_read_from_but_never_primary() -> None:
    cluster = make(HOST="/run/mysqld/mysqld.sock")
    reader = cluster.reader()
    assert reader is not None
    assert reader.alias == "default_host"
    for node in cluster.nodes[:3]:
        cluster.mark_down(node, LOST)
    assert cluster.primary() is None


def test_the_primary_is_read_from_when_nothing_else_is_left() -> None:
    cluster = make()
    for node in cluster.nodes[1:]:
        cluster.mark_down(node, LOST)
    reader = cluster.reader()
    assert reader is not None
    assert reader.name == "db1"


def test_the_next_node_is_elected_and_the_first_comes_back_after_a_while() -> None:
    clock = Clock()
    cluster = make(clock)
    first, second, _ = cluster.nodes
    cluster.mark_down(first, LOST)
    assert cluster.primary() is second
    cluster.mark_up(first)
    assert cluster.primary() is second
    clock.now += module.FAILBACK_DELAY
    assert cluster.primary() is first


def test_one_caller_at_a_time_tries_a_node_that_is_down() -> None:
    clock = Clock()
    cluster = make(clock)
    for node in cluster.nodes:
        cluster.mark_down(node, LOST)
    assert cluster.primary() is None
    clock.now += module.LONGEST_PAUSE
    assert cluster.primary() is cluster.nodes[0]
    assert cluster.primary() is cluster.nodes[1]
    assert cluster.primary() is cluster.nodes[2]
    assert cluster.primary() is None


def test_a_node_that_is_down_is_tried_while_others_serve() -> None:
    clock = Clock()
    cluster = make(clock, HOST="10.0.0.3")
    probed: list[str] = []
    cluster.probe = lambda _, node: probed.append(node.name)
    cluster.mark_down(cluster.nodes[0], LOST)
    assert cluster.primary() is cluster.nodes[1]
    assert probed == []
    clock.now += module.LONGEST_PAUSE
    for _ in range(3):
        assert cluster.primary() is cluster.nodes[1]
        assert cluster.reader() is cluster.nodes[2]
    assert probed == ["db1"], "once per pause"


def test_the_pauses_grow_up_to_a_bound() -> None:
    cluster = make()
    node = cluster.nodes[0]
    pauses = []
    for _ in range(12):
        cluster.mark_down(node, LOST)
        pauses.append(node.retry_at - Clock.now)
    assert pauses[0] <= 2 * module.FIRST_PAUSE
    assert module.LONGEST_PAUSE / 2 <= pauses[-1] <= module.LONGEST_PAUSE


def test_waiting_is_hopeless_only_where_every_node_refuses() -> None:
    cluster = make()
    denied = OSError(1045, "Access denied")
    for node in cluster.nodes:
        assert not cluster.hopeless(electable=True)
        cluster.mark_down(node, denied)
    assert cluster.hopeless(electable=True)
    assert "db2: " in cluster.complaints(electable=True)


@pytest.mark.parametrize("electable", [True, False])
def test_the_nodes_that_are_down_are_tried_in_turn(electable: bool) -> None:
    cluster = make()
    for node in cluster.nodes:
        cluster.mark_down(node, LOST)
    tried = {cluster.any_down(electable=electable).name for _ in range(30)}
    assert tried == {"db1", "db2", "db3"}

"""Which epoch a process believes to be the newest, whoever of its threads has heard what."""

from __future__ import annotations

import pytest

from galera_router.cluster.epoch import Epoch
from galera_router.cluster.nodes import Cluster
from tests.unit.test_cluster import make

OLD, NEW, NEWEST = (Epoch(number, f"server{number}") for number in (1, 2, 3))


@pytest.fixture
def cluster() -> Cluster:
    """A cluster whose first node has shown an epoch."""
    cluster = make()
    cluster.epochs.show(cluster.nodes[0], NEW.server, NEW)
    return cluster


def test_a_newer_one_is_believed_whoever_shows_it(cluster: Cluster) -> None:
    cluster.epochs.show(cluster.nodes[1], NEWEST.server, NEWEST)
    assert cluster.epochs.current == NEWEST
    assert cluster.nodes[1].epoch == NEWEST


@pytest.mark.parametrize("older", [OLD, None])
def test_an_older_one_is_believed_of_a_node_that_had_applied_all(
    cluster: Cluster, older: Epoch | None
) -> None:
    """As after somebody has emptied the tables."""
    cluster.epochs.show(cluster.nodes[1], "server1", older)
    assert cluster.epochs.current == NEW
    cluster.epochs.show(cluster.nodes[1], "server1", older, synced=cluster.epochs.changes)
    assert cluster.epochs.current == older


@pytest.mark.parametrize("older", [OLD, NEW, None])
def test_an_answer_that_another_thread_has_overtaken_puts_nothing_back(
    cluster: Cluster, older: Epoch | None
) -> None:
    """A question was on its way when another thread heard of a newer epoch."""
    asked = cluster.epochs.changes
    cluster.epochs.show(cluster.nodes[0], NEWEST.server, NEWEST)
    cluster.epochs.show(cluster.nodes[1], "server1", older, synced=asked)
    assert cluster.epochs.current == NEWEST
    assert cluster.nodes[1].epoch is None


def test_what_is_forgotten_is_learned_anew_from_any_answer(cluster: Cluster) -> None:
    asked = cluster.epochs.changes
    cluster.epochs.at("another database", "a cluster")
    cluster.epochs.show(cluster.nodes[1], OLD.server, OLD, synced=asked)
    assert cluster.epochs.current == OLD

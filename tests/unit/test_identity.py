"""Which cluster NODES are in: majorities, strangers, and a cluster that is built anew."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from galera_router import expand
from galera_router.cluster import membership
from galera_router.cluster.distance import TRIPS
from galera_router.cluster.membership import Membership, of
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.probe import Answer
from galera_router.conf import cluster_config

OLD, NEW, OTHER = "old", "new", "other"


def cluster(size: int = 3, **changes: Any) -> Cluster:
    nodes = {f"db{n}": {"HOST": f"h{n}"} for n in range(1, size + 1)}
    settings = {"ENGINE": "django.db.backends.mysql", "NODES": nodes, **changes}
    config = cluster_config(expand({"x": settings})["x"])
    assert config is not None
    return Cluster(config)


def agreed(known: Membership, nodes: tuple[Node, ...], identity: str = OLD) -> None:
    for node in nodes:
        assert known.hear(node, identity) is None
    known.agreed = identity


def dies(node: Node) -> None:
    node.cluster.mark_down(node, OperationalError(2003, "gone"))


def comes(node: Node) -> None:
    node.cluster.mark_answered(node, synced=True, started=None, at=0)


def test_most_nodes_say_which_cluster_it_is() -> None:
    known = Membership(c := cluster())
    assert known.hear(c.nodes[0], OTHER) is None, "alone, it may be right"
    assert known.hear(c.nodes[1], OLD) is None
    assert not known.agreed
    assert known.hear(c.nodes[2], OLD) is None
    assert known.agreed == OLD
    assert not c.nodes[0].up, "it has said that it is another one's"
    assert "Take it out of NODES" in c.nodes[0].reason
    error = known.hear(c.nodes[0], OTHER)
    assert error is not None
    assert "it is in 'other', db2, db3 in 'old'" in str(error)


class Far:
    """A connection to a node that is far away."""

    def round_trip(self) -> float | None:
        return 0.2


@pytest.mark.parametrize("links", [[], [Far()]])
def test_the_others_are_given_the_time_of_the_way_to_the_first(
    monkeypatch: pytest.MonkeyPatch, links: list[Any]
) -> None:
    asked: list[tuple[str, float]] = []
    monkeypatch.setattr(membership, "ASK", True)
    monkeypatch.setattr(
        membership, "started", lambda node, timeout: asked.append((node.name, timeout))
    )
    known = Membership(c := cluster())
    known.first(c.nodes[1], OLD, links)
    expected = 1.0 + TRIPS * 0.2 if links else 1.0
    assert [name for name, _ in asked] == ["db3", "db1"]
    assert [timeout for _, timeout in asked] == pytest.approx([expected] * 2)
    assert known.agreed == OLD


def test_a_stranger_stays_one_where_all_others_die() -> None:
    known = Membership(c := cluster())
    agreed(known, c.nodes[:2])
    assert known.hear(c.nodes[2], OTHER)
    for node in c.nodes[:2]:
        dies(node)
    assert known.hear(c.nodes[2], OTHER)
    assert known.agreed == OLD


def test_one_that_was_never_heard_of_may_be_the_first_of_a_new_one() -> None:
    """It was down when the process began."""
    known = Membership(c := cluster())
    agreed(known, c.nodes[:2])
    for node in c.nodes[:2]:
        dies(node)
    assert known.hear(c.nodes[2], NEW) is None
    assert known.agreed == NEW


def test_one_that_speaks_before_the_others_are_found_dead() -> None:
    """Nobody can say yet what it is, and it is not used."""
    known = Membership(c := cluster())
    agreed(known, c.nodes[:2])
    assert known.is_news(c.nodes[2], NEW)
    assert known.hear(c.nodes[2], NEW, sure=False)
    for node in c.nodes[:2]:
        dies(node)
    assert known.hear(c.nodes[2], NEW) is None
    assert known.agreed == NEW


def test_it_is_a_stranger_once_a_member_has_spoken_too() -> None:
    known = Membership(c := cluster())
    agreed(known, c.nodes[:2])
    assert known.hear(c.nodes[2], NEW, sure=False)
    assert known.hear(c.nodes[0], OLD) is None
    assert not known.is_news(c.nodes[2], NEW)
    for node in c.nodes[:2]:
        dies(node)
    assert known.hear(c.nodes[2], NEW, sure=False)
    assert known.agreed == OLD


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_cluster_built_anew_is_accepted_from_its_first_node_on(order: tuple[int, ...]) -> None:
    known = Membership(c := cluster())
    agreed(known, c.nodes)
    for node in c.nodes:
        dies(node)
    for number in order:
        assert known.hear(c.nodes[number], NEW) is None
        comes(c.nodes[number])
    assert known.agreed == NEW


def test_a_cluster_built_anew_while_nobody_looked() -> None:
    """The other nodes are thought to be as they were when they were last asked."""
    known = Membership(c := cluster())
    agreed(known, c.nodes)
    assert known.hear(c.nodes[0], NEW), "two are thought to be in the old one"
    assert known.hear(c.nodes[1], NEW) is None
    assert known.hear(c.nodes[0], NEW) is None
    assert known.hear(c.nodes[2], NEW) is None
    assert known.agreed == NEW


def test_the_others_of_a_cluster_built_anew_are_found_dead_later() -> None:
    known = Membership(c := cluster())
    agreed(known, c.nodes)
    assert known.hear(c.nodes[0], NEW)
    for node in c.nodes[1:]:
        dies(node)
    assert known.hear(c.nodes[0], NEW) is None


def test_a_cluster_of_two_built_anew() -> None:
    known = Membership(c := cluster(2))
    agreed(known, c.nodes)
    assert known.hear(c.nodes[1], NEW)
    assert known.hear(c.nodes[0], NEW) is None
    assert known.hear(c.nodes[1], NEW) is None


def test_one_of_two_is_begun_anew_by_mistake() -> None:
    known = Membership(c := cluster(2))
    agreed(known, c.nodes)
    assert known.hear(c.nodes[0], NEW)
    assert known.hear(c.nodes[1], OLD) is None
    assert known.agreed == OLD


def test_host_beside_the_nodes_has_no_vote_but_is_judged() -> None:
    known = Membership(c := cluster(3, HOST="elsewhere"))
    host = c.node("x_host")
    assert known.hear(host, OTHER) is None
    agreed(known, c.nodes[:2])
    error = known.hear(host, OTHER)
    assert error is not None
    assert "'other'" in str(error)


def test_a_single_node_may_be_any_server() -> None:
    known = Membership(c := cluster(1))
    for identity in (OLD, NEW, OLD):
        assert known.hear(c.nodes[0], identity) is None


@pytest.mark.parametrize(
    ("answer", "identity"),
    [
        (None, ""),
        (Answer(cluster_id="a", server="s"), "a"),
        (Answer(cluster_id="", server="s"), "s"),
        (Answer(cluster_id="a", error=OperationalError(1047, "out")), ""),
        (Answer(cluster_id="00000000-0000-0000-0000-000000000000", server="s"), ""),
    ],
)
def test_what_an_answer_says(answer: Answer | None, identity: str) -> None:
    assert of(answer) == identity

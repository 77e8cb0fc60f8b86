"""Which node is read from and which is primary: ELECTABLE, WEIGHT and ZONE."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from galera_router.cluster.membership import Membership
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.conf import cluster_config, expand

LOST = OSError(2013, "lost")


def make(
    *roles: dict[str, Any], seed: int = 1, options: dict[str, Any] | None = None, **more: Any
) -> Cluster:
    """A cluster of nodes db1, db2, … with these settings each."""
    nodes = {f"db{n}": {"HOST": f"h{n}", **role} for n, role in enumerate(roles, 1)}
    settings = {"ENGINE": "django.db.backends.mysql", "NAME": "x", "NODES": nodes, **more}
    config = cluster_config(expand({"default": {**settings, "OPTIONS": options or {}}})["default"])
    assert config is not None
    return Cluster(config, rng=random.Random(seed))


def shares(cluster: Cluster, count: int = 400) -> Counter[str]:
    """How often each node is chosen to read from."""
    chosen = [cluster.reader() for _ in range(count)]
    return Counter(node.name for node in chosen if node is not None)


def lose(cluster: Cluster, *names: str) -> None:
    for node in cluster.nodes:
        if node.name in names:
            cluster.mark_down(node, LOST)


def primary(cluster: Cluster) -> str | None:
    node = cluster.primary()
    return node.name if node is not None else None


# --- electable ----------------------------------------------------------------------------


def test_a_node_that_is_not_electable_is_never_primary() -> None:
    cluster = make({"ELECTABLE": False}, {}, {})
    assert primary(cluster) == "db2"
    assert shares(cluster).keys() == {"db1", "db3"}
    lose(cluster, "db2")
    assert primary(cluster) == "db3"
    lose(cluster, "db3")
    assert primary(cluster) is None
    assert cluster.any_down(electable=True).name in ("db2", "db3")
    assert shares(cluster).keys() == {"db1"}


def test_the_error_says_that_it_is_not_electable() -> None:
    cluster = make({}, {"ELECTABLE": False})
    lose(cluster, "db1")
    assert cluster.complaints(electable=True) == "db1: [Errno 2013] lost; db2: is not electable"
    assert cluster.complaints(electable=False) == "db1: [Errno 2013] lost; db2: not tried"


def test_waiting_is_hopeless_where_all_that_are_electable_refuse() -> None:
    cluster = make({}, {"ELECTABLE": False})
    cluster.mark_down(cluster.nodes[0], OSError(1045, "Access denied"))
    assert cluster.hopeless(electable=True)
    assert not cluster.hopeless(electable=False)


def test_it_has_a_vote_on_which_cluster_it_is() -> None:
    cluster = make({}, {"ELECTABLE": False}, {"ELECTABLE": False})
    known = Membership(cluster)
    for node in cluster.nodes[1:]:
        known.hear(node, "ours")
    assert known.agreed == "ours"
    assert known.hear(cluster.nodes[0], "another") is not None


# --- weight -------------------------------------------------------------------------------

WEIGHTS = st.lists(st.floats(0.05, 50), min_size=2, max_size=5)


@hypothesis_settings(max_examples=25, deadline=None)
@given(WEIGHTS, st.integers(0, 2**32))
def test_each_secondary_has_its_share_of_the_reads(weights: list[float], seed: int) -> None:
    count = 2000
    cluster = make({"WEIGHT": 1000}, *({"WEIGHT": weight} for weight in weights), seed=seed)
    seen = shares(cluster, count)
    assert "db1" not in seen, "the primary is left alone, whatever its weight"
    for number, weight in enumerate(weights, 2):
        share = weight / sum(weights)
        tolerance = 6 * (count * share * (1 - share)) ** 0.5 + 1
        assert abs(seen[f"db{number}"] - count * share) <= tolerance


def test_without_weights_all_are_alike() -> None:
    seen = shares(make({}, {}, {}, {}), 3000)
    assert all(900 < seen[name] < 1100 for name in ("db2", "db3", "db4"))


def test_a_node_without_a_weight_comes_after_all_others() -> None:
    cluster = make({}, {}, {"WEIGHT": 0}, {"WEIGHT": 0})
    assert shares(cluster).keys() == {"db2"}
    lose(cluster, "db2")
    assert shares(cluster).keys() == {"db1"}, "the primary comes before it"
    lose(cluster, "db1")
    assert primary(cluster) == "db3"
    assert shares(cluster).keys() == {"db4"}, "of those without a weight, the secondary"
    lose(cluster, "db4")
    assert shares(cluster).keys() == {"db3"}


def test_a_node_without_a_weight_does_not_stand_in_for_one_that_lags() -> None:
    cluster = make({}, {}, {"WEIGHT": 0})
    db1, db2, db3 = cluster.nodes
    assert not cluster.others(db2, ()), "there is no other secondary to wait for"
    cluster.note_lag(db2)
    assert shares(cluster).keys() == {"db2"}
    assert cluster.reader({db2}) is db1
    assert cluster.reader({db1, db2}) is db3


def test_where_no_node_has_a_weight_all_are_alike() -> None:
    seen = shares(make({"WEIGHT": 0}, {"WEIGHT": 0}, {"WEIGHT": 0}))
    assert seen.keys() == {"db2", "db3"}
    assert 150 < seen["db2"] < 250


# --- zone ---------------------------------------------------------------------------------

A, B = {"ZONE": "a"}, {"ZONE": "b"}


def test_reads_stay_in_the_zone_of_the_process() -> None:
    cluster = make(A, A, B, A, options={"zone": "a"})
    assert shares(cluster).keys() == {"db2", "db4"}
    lose(cluster, "db2")
    assert shares(cluster).keys() == {"db4"}
    lose(cluster, "db4")
    assert shares(cluster).keys() == {"db3"}, "the primary is left alone in its own zone too"
    lose(cluster, "db3")
    assert shares(cluster).keys() == {"db1"}


def test_without_a_zone_that_is_known_reads_go_anywhere() -> None:
    for options in ({}, {"zone": "c"}):
        assert shares(make(A, A, B, {}, options=options)).keys() == {"db2", "db3", "db4"}


def test_the_weights_count_within_the_zone() -> None:
    zone = ({**B, "WEIGHT": 1}, {**B, "WEIGHT": 3})
    cluster = make(A, {**A, "WEIGHT": 100}, *zone, options={"zone": "b"})
    seen = shares(cluster, 4000)
    assert seen.keys() == {"db3", "db4"}
    assert 2800 < seen["db4"] < 3200
    lose(cluster, "db3", "db4")
    assert shares(cluster).keys() == {"db2"}


def test_a_node_without_a_weight_is_not_read_from_for_its_zone() -> None:
    cluster = make(A, {**B, "WEIGHT": 0}, A, options={"zone": "b"})
    assert shares(cluster).keys() == {"db3"}


def test_a_node_out_of_step_or_that_lags_is_left_for_another_zone() -> None:
    cluster = make(A, B, A, options={"zone": "b"})
    cluster.note_lag(cluster.nodes[1])
    assert shares(cluster).keys() == {"db3"}
    cluster = make(A, B, A, options={"zone": "b"})
    cluster.nodes[1].fit = False
    assert shares(cluster).keys() == {"db3"}
    assert cluster.reader({cluster.nodes[2]}) is cluster.nodes[0]


@pytest.mark.parametrize("role", [A, {**B, "WEIGHT": 0, "ELECTABLE": False}])
def test_host_wins_over_zone_and_weight(role: dict[str, Any]) -> None:
    cluster = make(A, B, role, HOST="h3", options={"zone": "b"})
    assert shares(cluster).keys() == {"db3"}
    lose(cluster, "db3")
    assert shares(cluster).keys() == {"db2"}


def test_the_environment_names_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALERA_ZONE", "b")
    assert shares(make(A, B, A)).keys() == {"db2"}
    assert shares(make(A, B, A, options={"zone": "a"})).keys() == {"db3"}, "the option wins"
    monkeypatch.setenv("GALERA_ZONE", "")
    assert make(A, B, A).zone is None
    monkeypatch.delenv("GALERA_ZONE")
    assert make(A, B, A).zone is None


ROLE = st.fixed_dictionaries(
    {"WEIGHT": st.sampled_from((0, 0.5, 1, 3)), "ZONE": st.sampled_from(("a", "b", None))}
)


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.lists(ROLE, min_size=1, max_size=5), st.data())
def test_the_reader_is_as_the_rules_say(roles: list[dict[str, Any]], data: st.DataObject) -> None:
    """The rules, said otherwise: each node has a rank, and one of the best is read from."""
    cluster = make(*roles, options={"zone": "a"})
    down = data.draw(st.sets(st.sampled_from([node.name for node in cluster.nodes])))
    lose(cluster, *down)
    first = cluster._elected()

    def rank(node: Node) -> tuple[bool, bool, bool]:
        return not node.config.weight, node is first, node.config.zone != "a"

    reader = cluster.reader()
    up = [node for node in cluster.nodes if node.up]
    assert (reader is None) == (not up)
    assert reader is None or rank(reader) == min(map(rank, up))

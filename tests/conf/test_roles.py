"""What a node is used for: ELECTABLE, WEIGHT and ZONE."""

from __future__ import annotations

import ast
import copy
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galera_router import expand
from galera_router.conf import NodeConfig
from galera_router.exceptions import ConfigurationError
from tests.conf.support import expanded, found, settings


def nodes(**changes: dict[str, Any]) -> dict[str, Any]:
    """Three nodes, db1 to db3, with ``changes`` of each."""
    names = ("db1", "db2", "db3")
    return {name: {"HOST": f"h-{name}", **changes.get(name, {})} for name in names}


def roles(**changes: dict[str, Any]) -> list[tuple[bool, float, str | None]]:
    config = found(expanded(NODES=nodes(**changes))["default"])
    return [(node.electable, node.weight, node.zone) for node in config.nodes]


def refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        expand({"default": settings(**changes)})
    assert str(caught.value) == f"DATABASES['default']{message}"


def test_what_a_node_is_used_for() -> None:
    assert roles() == [(True, 1.0, None)] * 3
    assert roles(db2={"ELECTABLE": False, "WEIGHT": 2, "ZONE": "a"}, db3={"WEIGHT": 0.5}) == [
        (True, 1.0, None),
        (False, 2.0, "a"),
        (True, 0.5, None),
    ]
    assert roles(db1={"ELECTABLE": True, "WEIGHT": 0, "ZONE": None})[0] == (True, 0.0, None)


def test_nothing_of_it_is_handed_to_django() -> None:
    result = expanded(NODES=nodes(db1={"ELECTABLE": False, "WEIGHT": 2, "ZONE": "a"}))
    assert [
        alias for alias in result if {"ELECTABLE", "WEIGHT", "ZONE"} & result[alias].keys()
    ] == []
    config = found(result["default"])
    assert all(not {"ELECTABLE", "WEIGHT", "ZONE"} & n.role_settings.keys() for n in config.nodes)


def test_the_clusters_alias_is_that_of_the_first_that_may_be_primary() -> None:
    result = expanded(NODES=nodes(db1={"ELECTABLE": False}))
    assert list(result) == ["default", "default_db1", "default_db2", "default_db3"]
    assert (result["default"]["HOST"], result["default_db1"]["HOST"]) == ("h-db2", "h-db1")
    assert found(result["default"]).first.name == "db2"
    assert found(expanded()["default"]).first.name == "db1"


def test_the_node_that_host_adds_is_no_member() -> None:
    config = found(expanded(HOST="elsewhere", NODES=nodes(db3={"ELECTABLE": False}))["default"])
    assert [(node.name, node.electable, node.member) for node in config.nodes] == [
        ("db1", True, True),
        ("db2", True, True),
        ("db3", False, True),
        ("host", False, False),
    ]
    assert (config.nodes[3].weight, config.nodes[3].zone) == (1.0, None)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("ELECTABLE", None, "must be True or False, not NoneType."),
        ("ELECTABLE", 0, "must be True or False, not int."),
        ("ELECTABLE", "false", "must be True or False, not str."),
        ("WEIGHT", None, "must be a number, not NoneType."),
        ("WEIGHT", True, "must be a number, not bool."),
        ("WEIGHT", "2", "must be a number, not str."),
        ("WEIGHT", -0.5, "must be a number from 0 to 1000000."),
        ("WEIGHT", math.nan, "must be a number from 0 to 1000000."),
        ("WEIGHT", math.inf, "must be a number from 0 to 1000000."),
        ("WEIGHT", 10**400, "must be a number from 0 to 1000000."),
        ("ZONE", 1, "must be text, not int."),
        ("ZONE", b"a", "must be text, not bytes."),
        ("ZONE", "", "must be a name without white space around it, or None."),
        ("ZONE", "a ", "must be a name without white space around it, or None."),
        ("zone", "a", "is not a setting of a node. Did you mean 'ZONE'?"),
        ("WEIGTH", 2, "is not a setting of a node. Did you mean 'WEIGHT'?"),
    ],
)
def test_values_refused(key: str, value: Any, why: str) -> None:
    refused({"NODES": nodes(db2={key: value})}, f"['NODES']['db2'][{key!r}]: {why}")


def test_some_node_must_be_electable() -> None:
    barred = {"ELECTABLE": False}
    why = "has no node that may be primary: ELECTABLE is False for all of them."
    refused({"NODES": nodes(db1=barred, db2=barred, db3=barred)}, f"['NODES']: {why}")
    refused({"NODES": {"only": {"HOST": "h", **barred}}, "HOST": "other"}, f"['NODES']: {why}")


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("ELECTABLE", "belongs to a node. Move it into NODES."),
        ("WEIGHT", "belongs to a node. Move it into NODES."),
        (
            "ZONE",
            "belongs to a node. Move it into NODES. This process's own zone is the option 'zone'.",
        ),
    ],
)
def test_beside_the_nodes_it_is_misplaced(key: str, why: str) -> None:
    refused({key: "a"}, f"[{key!r}]: {why}")


def test_it_is_no_node_either() -> None:
    refused(
        {"NODES": {**nodes(), "WEIGHT": 2}},
        "['NODES']['WEIGHT']: is not a node. Move it into a node.",
    )


ROLES = st.fixed_dictionaries(
    {},
    optional={
        "ELECTABLE": st.booleans(),
        "WEIGHT": st.integers(0, 1_000_000) | st.floats(0, 1_000_000),
        "ZONE": st.none() | st.text(min_size=1).filter(lambda text: text == text.strip()),
    },
)


@given(ROLES, ROLES)
def test_it_comes_back_from_plain_data(second: dict[str, Any], third: dict[str, Any]) -> None:
    result = expanded(NODES=nodes(db2=second, db3=third))
    for again in (
        copy.deepcopy(result),
        pickle.loads(pickle.dumps(result)),
        ast.literal_eval(repr(result)),
        expand(result),
    ):
        assert again == result
        assert _attributes(found(again["default"]).nodes[1]) == _meant(second)
        assert _attributes(found(again["default"]).nodes[2]) == _meant(third)


def _attributes(node: NodeConfig) -> tuple[object, ...]:
    return node.electable, node.weight, node.zone


def _meant(node: dict[str, Any]) -> tuple[object, ...]:
    return node.get("ELECTABLE", True), float(node.get("WEIGHT", 1)), node.get("ZONE")

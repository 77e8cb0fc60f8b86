"""How a node is, in one word, and which one is the primary, for metrics."""

from __future__ import annotations

from collections.abc import Mapping

from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.events import (
    Event,
    NodeAccepting,
    NodeCaughtUp,
    NodeDown,
    NodeInStep,
    NodeLagging,
    NodeOutOfStep,
    NodeRefusing,
    NodeUp,
    PrimaryChanged,
)

#: What a node can be; the first of these that is true.
STATES = ("down", "refusing", "lagging", "out_of_step", "well")
#: Events after which a node is not what it was.
CHANGES: frozenset[type[Event]] = frozenset(
    {
        NodeAccepting, NodeCaughtUp, NodeDown, NodeInStep, NodeLagging, NodeOutOfStep,
        NodeRefusing, NodeUp, PrimaryChanged,
    }
)  # fmt: skip


def state_of(node: Node) -> str:
    """One of :data:`STATES`."""
    found: Mapping[str, bool] = {
        "down": not node.up,
        "refusing": not node.writable,
        "lagging": node.behind,
        "out_of_step": not node.fit,
        "well": True,
    }
    return next(state for state in STATES if found[state])


def primary_of(cluster: Cluster) -> Node | None:
    """The primary, as this process knows it; without the tables of epochs, the one it has used."""
    epochs = cluster.epochs
    return epochs.leader if epochs.current is not None else cluster.acting


def lag_of(node: Node) -> float:
    """Seconds for which it has lacked what another node has; 0 while it is down."""
    return node.lag if node.up else 0.0

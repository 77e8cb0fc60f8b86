"""Which of several nodes is read from: by chance and weight."""

from __future__ import annotations

import itertools
import random

from galera_router.cluster.epoch import Epochs
from galera_router.cluster.node import Node


class Choice:
    """Nodes that are as good to read from, for a moment.

    Args:
        nodes: at least one.
        epochs: who is the primary, and which nodes are drained.
        until: when to look again (by the cluster's clock).
    """

    def __init__(self, nodes: list[Node], epochs: Epochs, until: float) -> None:
        weights = [node.config.weight for node in nodes]
        if not any(weights):
            weights = [1.0 for _ in nodes]
        self._nodes = nodes
        self._ladder = tuple(zip(nodes, itertools.accumulate(weights), strict=True))
        self._total = sum(weights)
        self._epochs, self._until = epochs, until
        self._leader, self._drained = epochs.leader, epochs.drained

    def holds(self, now: float) -> bool:
        """Returns True if nothing is known that would make it another one."""
        epochs = self._epochs
        return (
            now < self._until and epochs.leader is self._leader and epochs.drained is self._drained
        )

    def draw(self, rng: random.Random, wanted: Node | None = None) -> Node:
        """``wanted`` if it is one of them, else one by chance and weight."""
        if wanted is not None and wanted in self._nodes:
            return wanted
        point = rng.random() * self._total
        for node, reach in self._ladder:
            if point < reach:
                return node
        return self._ladder[-1][0]

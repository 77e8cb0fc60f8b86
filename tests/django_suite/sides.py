"""The two sides of the comparison: stock Django on one node, the router on all."""

from __future__ import annotations

from typing import Any

from galera_router.testing import GaleraCluster

STOCK, ROUTER = "stock", "router"
SIDES = (STOCK, ROUTER)
ALIASES = {"default": "galera_router", "other": "other"}  # and their databases' names


def databases(side: str, cluster: GaleraCluster) -> dict[str, dict[str, Any]]:
    """DATABASES of ``side``, before :func:`galera_router.expand`.

    Stock Django has one node of the same cluster, so that what Galera itself does (the keys that
    AUTO_INCREMENT draws, DDL in total order) is the same on both sides.
    """
    settings = {alias: cluster.databases(NAME=name)["default"] for alias, name in ALIASES.items()}
    return settings if side == ROUTER else {a: _one_node(s) for a, s in settings.items()}


def _one_node(settings: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = next(iter(settings["NODES"].values()))
    return {key: value for key, value in settings.items() if key != "NODES"} | first

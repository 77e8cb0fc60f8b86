"""What the nodes are used for: ELECTABLE and ZONE, and the zone of this process."""

from __future__ import annotations

import re

from django.core.checks import CheckMessage

from galera_router.cluster.nodes import ZONE_VARIABLE, Cluster
from galera_router.conf import did_you_mean

from .messages import listed, warning

_NO_LETTERS = re.compile(r"[\W_]+")


def check(found: list[Cluster]) -> list[CheckMessage]:
    """Writes can fail over, and zones are those that are meant."""
    return [
        message
        for cluster in found
        for message in (*_only_one(cluster), *_spelling(cluster), *_own_zone(cluster))
    ]


def _only_one(cluster: Cluster) -> list[CheckMessage]:
    members = [node for node in cluster.config.nodes if node.member]
    electable = [node.name for node in members if node.electable]
    if len(members) == 1 or len(electable) > 1:
        return []
    return [
        warning(
            16,
            f"Only the node {electable[0]!r} of {cluster.alias!r} is ELECTABLE: while it is down"
            " nothing can be written.",
            "Leave out ELECTABLE for one more node.",
        )
    ]


def _spelling(cluster: Cluster) -> list[CheckMessage]:
    """Zones of one node each are usual, so only what is nearly the same is told."""
    spelt: dict[str, list[str]] = {}
    for zone in _zones(cluster):
        spelt.setdefault(_NO_LETTERS.sub("-", zone.casefold()), []).append(zone)
    return [
        warning(
            17,
            f"Nodes of {cluster.alias!r} are in the zones {listed([repr(zone) for zone in zones])},"
            " which are different ones.",
            "Spell them alike if they are the same.",
        )
        for zones in spelt.values()
        if len(zones) > 1
    ]


def _own_zone(cluster: Cluster) -> list[CheckMessage]:
    """The environment is the same for all clusters, and some of them may have no zones."""
    zones, option = _zones(cluster), cluster.config.options.zone
    if cluster.zone is None or cluster.zone in zones or not (zones or option):
        return []
    source = "the option 'zone'" if option else ZONE_VARIABLE
    names = listed([repr(zone) for zone in zones]) if zones else "none"
    return [
        warning(
            18,
            f"This process is in the zone {cluster.zone!r} by {source}, but no node of"
            f" {cluster.alias!r} is: it reads from any node. Zones of nodes: {names}.",
            f"Write it as the ZONE of a node, or correct it.{did_you_mean(cluster.zone, zones)}",
        )
    ]


def _zones(cluster: Cluster) -> list[str]:
    """Each zone once, in the order of NODES."""
    return list(dict.fromkeys(node.zone for node in cluster.config.nodes if node.zone))

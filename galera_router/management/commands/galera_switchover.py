"""``manage.py galera_switchover [NODE]``: make another node the primary, on purpose."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from galera_router.cluster import change, membership
from galera_router.cluster.epoch import Epoch
from galera_router.cluster.failback import Plain, move
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.probe import Ping
from galera_router.cluster.registry import cluster_of, roles
from galera_router.connections.errors import ERRORS

#: Seconds between two looks at a node that is to follow.
LOOK = 0.01
#: Seconds for an answer, and for a node to follow.
TIMEOUT = 10.0


class Command(BaseCommand):
    """The command; it ends with status 1 if the primary could not be moved."""

    help = (
        "Makes NODE the primary of the cluster: what is open on the old one is replayed there."
        " Without NODE, the first electable one of NODES. Waits until all nodes have heard of it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("node", nargs="?", help="its name in NODES; default: the first one")
        parser.add_argument("--database", default="default", help="the alias of the cluster")

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = find_cluster(options["database"])
        node = _node(cluster, options["node"])
        held = node is not _first(cluster)
        try:
            epoch, paused = move(node, "by hand", held=held)
            if not paused:
                self.stdout.write(f"{node.name} is the primary already.")
                return
            late = _followers(cluster, epoch)
        except ERRORS as error:
            raise CommandError(f"{node.name} has not become the primary: {error}") from error
        self.stdout.write(
            f"{node.name} is the primary now. Writes have paused for {paused * 1000:.0f} ms."
            + (" It stays there until it is moved by hand or lost." if held else "")
        )
        if late:
            self.stderr.write(f"Not heard of it yet, or not reachable: {', '.join(late)}.")


def find_cluster(alias: str) -> Cluster:
    """The cluster that is called so; raises CommandError, with the names that there are."""
    cluster = cluster_of(alias)
    if cluster is None or cluster.alias != alias:
        raise CommandError(
            f"{alias!r} is no cluster in DATABASES. There is: {', '.join(roles()) or 'none'}."
        )
    return cluster


def _first(cluster: Cluster) -> Node:
    return next(node for node in cluster.nodes if node.config.electable)


def _node(cluster: Cluster, name: str | None) -> Node:
    if name is None:
        return _first(cluster)
    electable = [node for node in cluster.nodes if node.config.electable]
    return named(electable, name, "node that can be the primary")


def named(nodes: Iterable[Node], name: str, what: str = "node of the cluster") -> Node:
    """The one that is called so; raises CommandError, with the names that there are."""
    names = []
    for node in nodes:
        if name in (node.name, node.alias):
            return node
        names.append(node.name)
    raise CommandError(f"{name!r} is no {what}. There is: {', '.join(names)}.")


def _shown(node: Node) -> Epoch | None:
    with closing(Ping(node, (), TIMEOUT).connect()) as driver:
        server = Plain(driver)
        _, epoch = change.ask(server, membership.identity_of(server), synced=False)
    return epoch


def _followers(cluster: Cluster, epoch: Epoch) -> list[str]:
    """Wait until each node has the new epoch; returns the names of those that have not."""
    return [node.name for node in cluster.nodes if not _follows(node, epoch)]


def _follows(node: Node, epoch: Epoch) -> bool:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            shown = _shown(node)
        except ERRORS:  # lost, or out of the cluster: it cannot commit anything
            return False
        if shown is not None and shown.number >= epoch.number:
            return True
        time.sleep(LOOK)
    return False

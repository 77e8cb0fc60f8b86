"""Commands for a running cluster, one a line: what a person types, or a program writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .cluster import GaleraCluster
from .errors import ClusterError
from .node import GaleraNode

HELP = """\
kill NODE…     end it at once, as a machine that loses its power
freeze NODE…   stop its process: its connections stay open and answer nothing
start NODE…    let a frozen one go on, start one that was killed; without a name: all
status         of each node"""


def answers(cluster: GaleraCluster, lines: Iterable[str]) -> Iterator[str]:
    """Carry out each of ``lines``, and give the answer to it; what is wrong is an answer too."""
    for line in lines:
        words = line.split()
        if words:
            yield answer(cluster, words[0], words[1:])


def answer(cluster: GaleraCluster, command: str, names: list[str]) -> str:
    """Carry out one command.

    Args:
        cluster: which has been started.
        command: kill, freeze, start or status.
        names: of nodes.

    Returns:
        The state of the nodes afterwards, or what was wrong.
    """
    try:
        if command == "start" and not names:
            cluster.heal()
            return status(cluster.nodes)
        if command == "status" and not names:
            return status(cluster.nodes)
        if command not in _ACTIONS or not names:
            return HELP
        nodes = [_node(cluster, name) for name in names]
        for node in nodes:
            _ACTIONS[command](cluster, node)
    except ClusterError as error:
        return str(error)
    return status(nodes)


def status(nodes: Iterable[GaleraNode]) -> str:
    """Returns a line for each of ``nodes``."""
    return "\n".join(f"{node.name}  {_state(node)}" for node in nodes)


def _state(node: GaleraNode) -> str:
    if not node.running:
        return "does not run"
    if node.frozen:
        return f"frozen  pid {node.pid}"
    told = node.try_status()
    state = told.get("wsrep_local_state_comment", "does not answer")
    size = told.get("wsrep_cluster_size", "?")
    return f"{state}, {told.get('wsrep_cluster_status', '?')} of {size}  pid {node.pid}"


def _node(cluster: GaleraCluster, name: str) -> GaleraNode:
    try:
        return cluster[name]
    except KeyError:
        names = ", ".join(node.name for node in cluster.nodes)
        raise ClusterError(f"there is no node {name!r}: {names}") from None


def _kill(cluster: GaleraCluster, node: GaleraNode) -> None:
    node.kill()


def _freeze(cluster: GaleraCluster, node: GaleraNode) -> None:
    if not node.running:
        raise ClusterError(f"{node.name} does not run")
    node.freeze()


def _start(cluster: GaleraCluster, node: GaleraNode) -> None:
    """Also of the last one: it must not begin a cluster without what another one may have more."""
    if node.frozen:
        node.thaw()
    elif not any(one.running for one in cluster.nodes) and len(cluster.nodes) > 1:
        raise ClusterError(
            "no node is left: start without a name starts all, beginning with the one that has most"
        )
    elif not node.running:
        node.start()
    node.wait_synced()


_ACTIONS: dict[str, Callable[[GaleraCluster, GaleraNode], None]] = {
    "kill": _kill,
    "freeze": _freeze,
    "start": _start,
}

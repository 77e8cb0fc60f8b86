"""The nodes to try when one is lost, and what is told of it when another has taken over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .cluster import Node
from .context import Context
from .exceptions import NoNodeAvailable
from .signals import Failover, report

#: Seconds between two rounds over nodes that are all down.
ROUND = 0.1


def candidates(
    context: Context, choose: Callable[[], Node | None], *, electable: bool
) -> Iterator[Node]:
    """The nodes to try, best first, until ``reconnect_wait_time`` is over."""
    deadline = time.monotonic() + context.options.reconnect_wait_time
    while (node := choose()) is not None:
        yield node
    cluster = context.cluster
    while not cluster.hopeless(electable=electable) and time.monotonic() < deadline:
        yield cluster.any_down(electable=electable)
        time.sleep(min(ROUND / len(cluster.nodes), max(0.0, deadline - time.monotonic())))
    raise no_node(context, electable=electable)


def no_node(context: Context, *, electable: bool) -> NoNodeAvailable:
    cluster = context.cluster
    return NoNodeAvailable(
        f"No node of {cluster.alias!r} can serve: {cluster.complaints(electable=electable)}"
    )


@dataclass(frozen=True)
class Loss:
    """A node that was lost, how that was noticed, and when (monotonic seconds)."""

    node: Node
    error: Exception
    at: float = field(default_factory=time.monotonic)


def tell(context: Context, loss: Loss | None, new: Node) -> None:
    """Report that ``new`` has taken over, if a node was lost and it is another one."""
    if loss is None or loss.node is new:
        return
    seconds = time.monotonic() - loss.at
    alias, replayed = context.cluster.alias, len(context.journal)
    report(Failover(alias, loss.node.name, new.name, str(loss.error), seconds, replayed))

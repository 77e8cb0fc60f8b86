"""The nodes to try when one is lost, and what is told of it when another has taken over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from galera_router.causality.scope import in_outage, note_outage
from galera_router.cluster.nodes import Node
from galera_router.connections.errors import Verdict, verdict
from galera_router.exceptions import NoNodeAvailable
from galera_router.signals import Failover, report
from galera_router.transactions.context import Context

#: Seconds between two rounds over nodes that are all down.
ROUND = 0.1
#: Nodes that may go down under one statement before the next loss is the application's error: a
#: statement that kills its server must not be carried from node to node.
DEATHS = 2
#: Connections that one statement may lose, of whatever node.
LOSSES = 10


def candidates(
    context: Context, choose: Callable[[], Node | None], *, electable: bool
) -> Iterator[Node]:
    """The nodes to try, best first, until ``reconnect_wait_time`` is over."""
    deadline = time.monotonic() + patience(context)
    while (node := choose()) is not None:
        yield node
    cluster = context.cluster
    while not cluster.hopeless(electable=electable) and time.monotonic() < deadline:
        # The watchdog may have found one to be well meanwhile.
        yield choose() or cluster.any_down(electable=electable)
        time.sleep(min(ROUND / len(cluster.nodes), max(0.0, deadline - time.monotonic())))
    raise no_node(context, electable=electable)


def patience(context: Context) -> float:
    """Return the seconds to wait for a node; 0 if this request has waited for one in vain."""
    return 0.0 if in_outage(context.cluster.alias) else context.options.reconnect_wait_time


def no_node(context: Context, *, electable: bool) -> NoNodeAvailable:
    """Return the error for a wait that has ended; further queries of the request wait no more."""
    cluster, waited = context.cluster, patience(context)
    complaints = cluster.complaints(electable=electable)
    note_outage(cluster.alias)
    if cluster.hopeless(electable=electable):
        how_long = "waiting would not help"
    elif waited:
        how_long = f"waited {waited:g} s, as reconnect_wait_time says"
    else:
        how_long = "this request has waited before, or reconnect_wait_time is 0"
    return NoNodeAvailable(f"No node of {cluster.alias!r} can serve ({how_long}): {complaints}")


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


class Patience:
    """How often one statement is tried again after a loss.

    A node out of the cluster does not count, it is waited for until ``reconnect_wait_time`` is
    over: the nodes may be forming a new cluster. A connection that was lost to a node that is
    well counts little.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lost: list[Node] = []
        self._deaths = 0
        self._deadline = time.monotonic() + patience(context)

    def again(self, node: Node) -> bool:
        """Whether a connection to ``node`` has been lost before."""
        return node in self._lost

    def spend(self, node: Node, error: Exception) -> None:
        """Count a loss of a connection to ``node``; wait a moment if that may help.

        Raises:
            NoNodeAvailable: the time is over; each node's reason is in the message.
            Exception: ``error``, where it has been met too often.
        """
        if verdict(error) is Verdict.OUT:
            self.wait(error)
            return
        self._deaths += bool(self._lost) and not self._lost[-1].up
        self._lost.append(node)
        if self._deaths >= DEATHS or len(self._lost) >= LOSSES:
            raise error

    def wait(self, error: Exception) -> None:
        """Wait a moment: the nodes may be forming a new view.

        Raises:
            NoNodeAvailable: the time is over; each node's reason is in the message.
        """
        if time.monotonic() >= self._deadline:
            raise no_node(self._context, electable=False) from error
        time.sleep(ROUND / len(self._context.cluster.nodes))

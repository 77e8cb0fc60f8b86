"""From a lost node to the next one: which to try, how often, and what to tell."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db.utils import OperationalError

from galera_router import signals
from galera_router.causality.scope import in_outage, note_outage
from galera_router.cluster.compare import lacks_something
from galera_router.cluster.epoch import NotPrimary
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import DISK_FULL, READ_ONLY
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import (
    ERRORS,
    Verdict,
    errno,
    is_conflict,
    is_full_disk,
    is_lost,
    refuses_writes,
    verdict,
)
from galera_router.events import Conflict, Failover, Waited
from galera_router.exceptions import ClusterError, FailoverImpossible, NoNodeAvailable

from .marker import is_fenced
from .retry import pause

if TYPE_CHECKING:
    from galera_router.transactions.session import Session

logger = logging.getLogger("galera_router")

Action = Callable[[NodeConnection], None]

#: Seconds between two rounds over nodes that are all down.
ROUND = 0.1
#: Nodes that may go down under one statement before the next loss is the application's error: a
#: statement that kills its server must not be carried from node to node.
DEATHS = 2
#: Connections that one statement may lose, of whatever node.
LOSSES = 10
_WAITED = "galera_waited"
#: Seconds that a new primary is given to catch up, if another node could take its place: at
#: first; doubled each time.
CATCH_UP = 2.0


# --- which node ---------------------------------------------------------------------------


def candidates(
    session: Session, choose: Callable[[], Node | None], *, electable: bool
) -> Iterator[Node]:
    """The nodes to try, best first, until ``reconnect_wait_time`` is over.

    Raises:
        NoNodeAvailable: the time is over; the message has each node's reason.
    """
    began = time.monotonic()
    node = choose()
    if node is not None:  # nearly always it does
        yield node
    deadline = began + patience(session)
    tried = [] if node is None else [node]
    waited = False
    try:
        while (node := choose()) is not None:
            if tried.count(node) > 1:  # it is well for everybody but the caller
                if time.monotonic() >= deadline:
                    raise no_node(session, electable=electable, began=began)
                waited = True
                _pause(session, deadline)
            yield node
            tried.append(node)
        cluster = session.cluster
        while not cluster.hopeless(electable=electable) and time.monotonic() < deadline:
            # The monitor may have found one to be well meanwhile.
            node = choose() or cluster.any_down(electable=electable)
            yield node
            waited = True
            _pause(session, deadline)
        raise no_node(session, electable=electable, began=began)
    finally:  # also where the caller needs no further one
        if waited:
            tell_wait(session, node, "for a node", began)


def tell_wait(session: Session, node: Node | None, why: str, began: float) -> None:
    """Tell that a statement has waited since ``began`` (monotonic seconds)."""
    name, seconds = node.name if node is not None else "", time.monotonic() - began
    signals.send(Waited, session.cluster.alias, name, why, seconds)


def _pause(session: Session, deadline: float) -> None:
    left = max(0.0, deadline - time.monotonic())
    time.sleep(min(ROUND / len(session.cluster.nodes), left))


def patience(session: Session) -> float:
    """Returns the seconds to wait for a node; 0 if this request has waited for one in vain."""
    return 0.0 if in_outage(session.cluster.alias) else session.options.reconnect_wait_time


def no_node(session: Session, *, electable: bool, began: float) -> NoNodeAvailable:
    """Returns the error for a wait that has ended; further queries of the request do not wait."""
    cluster, waited = session.cluster, time.monotonic() - began
    if cluster.hopeless(electable=electable):
        how_long = "waiting would not help"
    elif patience(session):
        limit = session.options.reconnect_wait_time
        how_long = f"waited {waited:.1f} s; reconnect_wait_time is {limit:g} s"
    else:
        how_long = "this request has waited before, or reconnect_wait_time is 0"
    note_outage(cluster.alias)
    complaints = cluster.complaints(electable=electable)
    return NoNodeAvailable(f"No node of {cluster.alias!r} can serve ({how_long}): {complaints}")


class Patience:
    """How often one statement is tried again after a loss.

    A node out of the cluster does not count, it is waited for until ``reconnect_wait_time`` is
    over: the nodes may be forming a new cluster. A connection that was lost to a node that is
    well counts little. What the driver has ended on two connections to one node, because of its
    ``read_timeout``, would take as long on each node.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lost: list[Node] = []
        self._deaths = 0
        self._began = time.monotonic()
        self._limit = patience(session)

    def blames(self, link: NodeConnection) -> bool:
        """Returns True if the node of ``link``, which is lost, is at fault: it is not the first."""
        return link.node in self._lost and not link.timed_out

    def spend(self, link: NodeConnection, error: Exception) -> None:
        """Count the loss of ``link``; wait a moment if that may help.

        Raises:
            NoNodeAvailable: the time is over; each node's reason is in the message.
            Exception: ``error``, where it has been met too often.
        """
        if verdict(error) is Verdict.OUT:
            self.wait(error)
            return
        if link.timed_out and link.node in self._lost:
            raise error
        self._deaths += bool(self._lost) and not self._lost[-1].up
        self._lost.append(link.node)
        if self._deaths >= DEATHS or len(self._lost) >= LOSSES:
            raise error

    def wait(self, error: Exception) -> None:
        """Wait a moment: the nodes may be forming a new view.

        Raises:
            NoNodeAvailable: the time is over; each node's reason is in the message.
        """
        deadline = self._began + self._limit
        if time.monotonic() >= deadline:
            raise no_node(self._session, electable=False, began=self._began) from error
        _pause(self._session, deadline)


# --- the primary --------------------------------------------------------------------------


def connect_primary(session: Session) -> NodeConnection:
    """A usable connection to the elected primary, outside a transaction.

    Raises:
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
    """
    return on_primary(session, lambda link: None)


def on_primary(session: Session, action: Action) -> NodeConnection:
    """Connect to the elected primary and do ``action`` there, on another node if one is lost.

    Raises:
        NoNodeAvailable: no node answered within ``reconnect_wait_time``.
        Exception: what ``action`` raises for other reasons; nothing is open then.
    """
    _keep_state(session)
    tried: set[Node] = set()
    waits = CatchingUp(session)
    for node in candidates(session, lambda: _elected(session), electable=True):
        try:
            link = session.to_primary(node, waits)
            _keep_state(session)
            action(link)
        except LagsBehind as lag:
            waits.in_vain(node, lag)
        except ERRORS as error:
            if isinstance(error, NotPrimary) or is_fenced(error):
                _not_primary(session, node, error)
            else:
                _primary_failed(session, node, error, again=node in tried)
            tried.add(node)
            _keep_state(session)
        else:
            return link
    raise AssertionError("the candidates end with an error")


class LagsBehind(OperationalError):
    """A new primary has not caught up with the others in the time that it was given."""


class CatchingUp:
    """How long each new primary is waited for.

    One whose applier stands still would never be ready, and the next one may be at once. But while
    the cluster forms a new view no node is ready, and all processes must wait for the same one: it
    is passed by only if another one has more. Where there is no other one, or something was set on
    the connection, it is waited for until ``reconnect_wait_time`` is over.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._limit = session.options.reconnect_wait_time
        self._deadline = time.monotonic() + self._limit
        self._next = self._given = CATCH_UP

    def seconds(self, link: NodeConnection) -> float:
        """Returns how long the node of ``link`` may take, where no other comes back meanwhile."""
        now = time.monotonic()
        left = max(CATCH_UP, self._deadline - now)
        another = link.state is None and self._session.cluster.another_primary(link.node)
        self._given = min(left, self._next) if another else left
        link.spare = now + self._next if link.state is None else 0.0
        return self._given

    def in_vain(self, node: Node, lag: LagsBehind) -> None:
        """``node`` has not caught up: if it is its own fault, another one is to be chosen.

        Raises:
            NoNodeAvailable: the time is over.
        """
        link = self._session.primary
        if link is not None and link.state is None:
            self._session.lose_primary()
        alias = self._session.cluster.alias
        signals.send(Waited, alias, node.name, "for a new primary", self._given)
        if lacks_something(node):
            self._session.cluster.mark_behind(node, self._given)
        self._next *= 2
        if time.monotonic() >= self._deadline:
            raise NoNodeAvailable(
                f"Node {node.name} has not caught up with its cluster within"
                f" {self._limit:g} s (reconnect_wait_time)."
            ) from lag


def _elected(session: Session) -> Node | None:
    """The primary of the next transaction; a connection with state on it is not left for it."""
    kept = session.primary
    return kept.node if kept is not None and kept.state else session.cluster.primary()


def _not_primary(session: Session, node: Node, error: Exception) -> None:
    """Another node is to be tried; what was set on a connection cannot go there."""
    undo(session)
    if is_fenced(error):
        session.cluster.epochs.over(node)
    if session.primary is not None and session.primary.state is not None:
        session.lose_primary(idle=True)


def _keep_state(session: Session) -> None:
    """Refuse to go on silently without what the application has set on its connection."""
    kept = session.primary
    if kept is not None and kept.state is not None and (_is_over(session, kept) or kept.is_stale()):
        session.lose_primary(idle=True)
    forgotten, session.forgotten = session.forgotten, None
    if forgotten is not None:
        raise FailoverImpossible(
            "The connection to the primary was lost, or another node is the primary now, and with"
            f" it went what the application had set on it: {forgotten}."
        )


def _is_over(session: Session, link: NodeConnection) -> bool:
    """Returns True if the epoch in which something was set on ``link`` is known to be over."""
    current = session.cluster.epochs.current
    return link.epoch is not None and current is not None and current.number > link.epoch


def _primary_failed(session: Session, node: Node, error: Exception, *, again: bool) -> None:
    if isinstance(error, ClusterError):
        raise error
    connected = session.primary is not None
    if connected and not is_lost(error):
        elsewhere = note_refusal(session, error)
        undo(session)
        if not elsewhere:
            raise error
        return
    session.lose_primary()
    # A kept connection may be dead while its node is well: the next round connects anew.
    if not connected or again or verdict(error) is Verdict.OUT:
        session.cluster.mark_down(node, error)


def note_refusal(
    session: Session, error: Exception, *, wait: bool = True, stays: str | None = None
) -> bool:
    """Note that the primary takes no writes now, if that is what ``error`` says.

    Args:
        session: the thread's session.
        error: what the primary has answered.
        wait: for another node, if there is none just now.
        stays: why the open transaction cannot be moved there; None if it can.

    Returns:
        True if another node is the primary for that, which is waited for while nodes are down. Else
        ``error`` is the application's, also where it has set something on its connection, which is
        nowhere else.
    """
    link = session.primary
    if link is None or not refuses_writes(error):
        return False
    refusal = DISK_FULL if is_full_disk(error) else READ_ONLY
    session.cluster.mark_refusing(link.node, refusal, error)
    obstacle = _why_stay(session, link, wait and not hasattr(error, _WAITED), stays)
    if obstacle is not None:
        setattr(error, _WAITED, True)  # whoever handles it further does not wait again
        text = "%s: %s takes no writes, and nothing is written elsewhere: %s"
        logger.info(text, session.cluster.alias, link.node.name, obstacle)
    return obstacle is None


def _why_stay(session: Session, link: NodeConnection, wait: bool, stays: str | None) -> str | None:
    """Why no other node is written to in the place of that of ``link``; None if one is."""
    if not session.options.failover_enable:
        return "failover_enable is False"
    if link.state is not None:
        return link.state
    if stays is not None:
        return f"the open transaction cannot be moved: {stays}"
    if not _takes_over(session, link.node, patience(session) if wait else 0.0):
        return session.cluster.complaints(electable=True)
    return None


def _takes_over(session: Session, refusing: Node, seconds: float) -> bool:
    """Returns True if a node takes writes in the place of ``refusing``, or that does so again.

    While another one is down it is waited for, as where all are down. The watchdog tries it.
    """
    cluster, began = session.cluster, time.monotonic()
    while not (found := _elected(session) not in (None, refusing) or refusing.well):
        if not cluster.may_come_back(electable=True) or time.monotonic() >= began + seconds:
            break
        _pause(session, began + seconds)
    waited = time.monotonic() - began
    if waited >= ROUND:
        tell_wait(session, refusing, "for a node that takes writes", began)
    if not found and 0 < seconds <= waited:
        note_outage(cluster.alias)
    return found


def undo(session: Session) -> None:
    """Roll back whatever the server has open; a connection that is lost does so by itself."""
    link = session.primary
    if link is None:
        return
    try:
        link.roll_back()
    except ERRORS as error:
        logger.info("%s: lost %s in a rollback: %s", session.cluster.alias, link.node.name, error)
        session.lose_primary()


class Conflicts:
    """How often one transaction is begun again on the spot after a conflict.

    Args:
        session: whose.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._met = 0

    def worth_while(self, error: Exception) -> bool:
        """Count a conflict and tell of it; returns True, after a pause, if it may be tried again.

        A lock is waited for once more only: each time takes as long as the server allows.
        """
        limit: int = self._session.options.conflict_retries
        if verdict(error) is Verdict.LOCK_WAIT:
            limit = min(limit, 1)
        self.tell(error, again=self._met < limit)
        if self._met >= limit:
            return False
        self._met += 1
        time.sleep(pause(self._met))
        return True

    def tell(self, error: Exception, *, again: bool) -> None:
        """Tell of the conflict ``error``; ``again``: the transaction is begun again on the spot."""
        link = self._session.primary
        name = link.node.name if link is not None else ""
        signals.send(Conflict, self._session.cluster.alias, name, errno(error), again)

    def persist(self, action: Action) -> NodeConnection:
        """:func:`on_primary`, again after a conflict for as long as that is worth while."""
        self._session.promoted = True
        while True:
            try:
                return on_primary(self._session, action)
            except ERRORS as error:
                if not is_conflict(error) or not self.worth_while(error):
                    raise


# --- what is told -------------------------------------------------------------------------


def refused(session: Session, error: Exception) -> Loss | None:
    """Returns what is told if another node takes over from one that takes no writes."""
    link = session.primary
    return Loss(link.node, error) if link is not None and refuses_writes(error) else None


@dataclass(frozen=True)
class Loss:
    """A node that was lost, how that was noticed, and when (monotonic seconds)."""

    node: Node
    error: Exception
    at: float = field(default_factory=time.monotonic)

    def tell(self, alias: str, node: Node, replayed: int) -> None:
        """Tell that ``node`` has taken over."""
        names, reason, seconds = (self.node.name, node.name), str(self.error), self.seconds
        signals.send(Failover, alias, *names, reason, seconds, replayed)

    @property
    def seconds(self) -> float:
        """The seconds since then."""
        return time.monotonic() - self.at

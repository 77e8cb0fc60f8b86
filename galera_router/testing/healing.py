"""Bring a cluster back to where all its nodes are Synced, whatever was done to it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence

from .admin import driver
from .errors import ClusterError
from .node import POLL_SECONDS, GaleraNode
from .state import NO_POSITION, save_memberships, seqno
from .status import is_primary, is_synced, progress, view_id, view_size

# How long nodes that are cut off get to find each other again before one is told to begin anew,
# and how long if some are dead, so that they may wait in vain.
MERGE_SECONDS = 6.0
QUORUM_LOST_SECONDS = 1.0
# How long a living node may be out of step before all are started again.
STUCK_SECONDS = 20.0


def heal(nodes: Sequence[GaleraNode], timeout: float) -> None:
    """Undo every fault and wait until all are together; ClusterError after ``timeout`` seconds."""
    for node in nodes:
        node.relieve()
    if are_well(nodes):
        return
    _Recovery(nodes, timeout).run()


def are_together(nodes: Sequence[GaleraNode]) -> bool:
    """Returns True if these nodes are all the Synced members of a primary component."""
    views = set()
    for node in nodes:
        status = node.try_status()
        if not is_synced(status) or view_size(status) != len(nodes):
            return False
        views.add(view_id(status))
    return len(views) == 1


def are_well(nodes: Sequence[GaleraNode]) -> bool:
    """Returns True if these nodes are together, hear each other, and will stay so.

    A node that was cut off for a moment may be about to be shut out while all still believe in
    their view; a message to the group then waits for the next view.
    """
    return are_together(nodes) and _hear_each_other(nodes) and are_together(nodes)


def report(nodes: Sequence[GaleraNode]) -> str:
    """Returns one line that says how each node is."""
    return ", ".join(f"{node.name} {_condition(node)}" for node in nodes)


def _hear_each_other(nodes: Sequence[GaleraNode]) -> bool:
    try:
        for node in nodes:
            node.wait_applied()
    except driver().Error:
        return False
    return True


def _condition(node: GaleraNode) -> str:
    if not node.running:
        return "dead"
    if node.frozen:
        return "frozen"
    status = node.try_status()
    keys = ("wsrep_cluster_status", "wsrep_local_state_comment")
    return "/".join(status[key] for key in keys) if status else "starting"


class _Recovery:
    """One run of heal() that found something to do."""

    def __init__(self, nodes: Sequence[GaleraNode], timeout: float) -> None:
        self.nodes = nodes
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        self.restart_all_at = time.monotonic() + STUCK_SECONDS
        self.lonely_since: float | None = None
        self.started: set[str] = set()

    def run(self) -> None:
        while not are_well(self.nodes):
            if time.monotonic() > self.deadline:
                raise ClusterError(f"not healed after {self.timeout} s: {report(self.nodes)}")
            self.step()
            time.sleep(POLL_SECONDS)

    def step(self) -> None:
        for node in self.nodes:
            node.relieve()
        views = [view for node in self.nodes if (view := node.try_status())]
        primary = [view for view in views if is_primary(view)]
        if self.is_hopeless():
            self.restart_all()
        elif not primary:
            self.begin_anew_in_time()
        elif self.is_lasting(primary):
            self.lonely_since = None
            self.start_the_dead()

    def is_hopeless(self) -> bool:
        """Returns True if nobody is left, a started node has died again, or it takes too long."""
        dead = {node.name for node in self.nodes if not node.running}
        is_late = time.monotonic() > self.restart_all_at
        return is_late or len(dead) == len(self.nodes) or bool(dead & self.started)

    def is_lasting(self, views: Sequence[Mapping[str, str]]) -> bool:
        """Returns True if one of these views of a primary component will not end in the loss of it.

        For a second or so after a loss the survivors believe in the view that they had.
        """
        running = sum(node.running for node in self.nodes)
        return any(2 * running > view_size(view) for view in views)

    def start_the_dead(self) -> None:
        for node in self.nodes:
            if not node.running:
                self.started.add(node.name)
                node.start(wait=False)

    def begin_anew_in_time(self) -> None:
        now = time.monotonic()
        if self.lonely_since is None:
            self.lonely_since = now
        is_complete = all(node.running for node in self.nodes)
        patience = MERGE_SECONDS if is_complete else QUORUM_LOST_SECONDS
        if now - self.lonely_since < patience:
            return
        self.lonely_since = None
        if is_complete:
            _bootstrap(self.nodes)
        else:
            self.restart_all()

    def restart_all(self) -> None:
        self.started.clear()
        self.restart_all_at = time.monotonic() + STUCK_SECONDS
        restart_from_best(self.nodes)


def restart_from_best(nodes: Sequence[GaleraNode]) -> None:
    """Start all nodes on copies of the data of the one that got furthest; do not wait.

    This is what an operator does who has lost them all, but for the state transfers.
    """
    for node in nodes:
        node.kill()
    positions = {node.name: node.place.position() for node in nodes}
    best = max(nodes, key=lambda node: seqno(positions[node.name]))
    for node in nodes:
        node.place.take_over(best.place, positions[best.name] or NO_POSITION)
    save_memberships([node.place.data for node in nodes])
    for node in nodes:
        node.start_as_member()


def _bootstrap(nodes: Sequence[GaleraNode]) -> None:
    reached = {node: progress(view) for node in nodes if (view := node.try_status())}
    # Who does not answer now, or refuses, is met again at the next step.
    if reached:
        best = max(reached, key=lambda node: reached[node])
        with contextlib.suppress(driver().Error):
            best.query("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")

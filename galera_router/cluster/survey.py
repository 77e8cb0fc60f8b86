"""How all nodes are, by their own account, for whoever looks at the cluster.

The monitor asks what the router has to know. This asks for more, only when somebody wants to know,
at most once a second in each process, and never waits for a node that does not answer.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import Error, connections

from galera_router.cluster import lag
from galera_router.cluster.epoch import ASK, Epoch, read
from galera_router.cluster.membership import apart
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.position import STATUS as PLACE
from galera_router.cluster.position import position
from galera_router.cluster.probe import QUESTION, WHO, Ping, put
from galera_router.connections.errors import errno

logger = logging.getLogger("galera_router")

#: Seconds between two questions to a node, and for its answer, at most.
AGE, TIMEOUT = 1.0, 2.0
#: Seconds that a caller waits for answers; a node that has let it wait is not waited for again.
WAIT = 0.25
_STATUS = (
    "wsrep_local_state_comment", "wsrep_cluster_status", "wsrep_cluster_size", "wsrep_ready",
    "wsrep_local_recv_queue", "wsrep_flow_control_paused_ns", "wsrep_provider_version", "Uptime",
    "Com_select", *PLACE,
)  # fmt: skip
_QUESTIONS = (
    f"SHOW GLOBAL STATUS WHERE Variable_name IN {_STATUS}".encode(),
    WHO,
    b"SELECT @@version, @@GLOBAL.read_only, @@wsrep_on OR @@wsrep_provider = 'none'",
    b"SET STATEMENT wsrep_sync_wait=0 FOR " + ASK,
    QUESTION,
)
_MARKERS = (
    b"SET STATEMENT wsrep_sync_wait=0, max_statement_time=1 FOR"
    b" SELECT COUNT(*) FROM galera_router_marker"
)
_WELL = frozenset({1146, 1142})
_SYNCED = ("Synced", "")  # without Galera there is no state

#: Exit statuses, and what they mean.
WELL, DEGRADED, NO_PRIMARY = 0, 1, 2


# --- what comes of it ---------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """One node, as it was when it was last asked.

    Attributes:
        node: which.
        answered: it can be reached from here.
        error: why it cannot be reached, or takes no statements; empty if it does.
        server: what it calls itself.
        version: of the server.
        read_only: it refuses writes.
        status: the server's status variables.
        epoch: the row that names the primary, as this node has it.
        markers: rows in the table of markers; None if that was not asked.
        lag: seconds for which it has lacked what another node has; 0 when it is first asked.
        behind: transactions that it lacks.
        select_rate: SELECT statements a second since it was last asked; None if that is not known.
        paused: share of the time since then in which flow control has stopped it, from 0 to 1.
        at: when that was (monotonic seconds).
    """

    node: Node
    answered: bool = False
    error: str = "not asked yet"
    server: str = ""
    version: str = ""
    read_only: bool = False
    status: Mapping[str, str] = field(default_factory=dict, repr=False)
    epoch: Epoch | None = None
    markers: int | None = None
    lag: float = 0.0
    behind: int = 0
    select_rate: float | None = None
    paused: float | None = None
    at: float = float("-inf")

    @property
    def takes_statements(self) -> bool:
        """Returns True if it can be worked on."""
        return not self.error

    @property
    def state(self) -> str:
        """In a word or two: "Synced" and what else Galera calls it, or why it cannot be used."""
        if not self.answered:
            return "unreachable"
        if self.error:
            return "not in the cluster"
        return self.status.get("wsrep_local_state_comment", "") or "alone"

    @property
    def synced(self) -> bool:
        """Returns True if it is in step with the cluster."""
        return self.takes_statements and self.status.get("wsrep_local_state_comment", "") in _SYNCED

    def number(self, name: str) -> int:
        """A status variable that counts; 0 if there is none."""
        value = self.status.get(name, "")
        return int(value) if value.isdecimal() else 0


@dataclass(frozen=True)
class Survey:
    """All nodes of a cluster.

    Attributes:
        cluster: which.
        reports: one for each node, in the order of NODES.
        at: when it was made (seconds of the time of day).
    """

    cluster: Cluster
    reports: Sequence[Report]
    at: float

    @property
    def epoch(self) -> Epoch | None:
        """The newest that any node has shown; None if none has."""
        told = [report.epoch for report in self.reports if report.epoch is not None]
        return max(told, key=lambda epoch: (epoch.number, epoch.drained.serial), default=None)

    @property
    def primary(self) -> Report | None:
        """The node that is written to; None if none can be."""
        epoch = self.epoch
        for report in self.reports:
            if report.takes_statements and not report.read_only and self._leads(report, epoch):
                return report
        return None

    def _leads(self, report: Report, epoch: Epoch | None) -> bool:
        if epoch is None:  # an election by rule: the first that can
            return report.node.config.electable
        return report.server == epoch.server

    def is_drained(self, report: Report) -> bool:
        """Returns True if no new work goes to it."""
        epoch = self.epoch
        if epoch is None:
            return False
        if report.server:
            return report.server in epoch.drained.servers.values()
        return epoch.drained.holds(report.node)

    def role(self, report: Report) -> str:
        """Of a node: "primary", "secondary", or "drained"."""
        if report is self.primary:
            return "primary"
        return "drained" if self.is_drained(report) else "secondary"

    def complaints(self) -> list[str]:
        """What is not as it should be, a sentence each; none if all is well."""
        found = [] if self.primary is not None else ["No node is the primary."]
        for report in self.reports:
            found += [f"{report.node.name}: {text}" for text in self._of(report)]
        return found + self._together()

    def _of(self, report: Report) -> list[str]:
        if report.error:
            return [report.error]
        limit = self.cluster.config.options.max_lag or float("inf")
        texts = {
            f"it is {report.state}, not Synced": not report.synced,
            "it is read-only": report.read_only,
            "it is drained": self.is_drained(report),
            f"it lags by {report.lag:.1f} s": report.lag > limit,
            "this process takes it to be down": not report.node.up,
        }
        return [text for text, holds in texts.items() if holds]

    def _together(self) -> list[str]:
        up = [report for report in self.reports if report.takes_statements]
        sizes = {report.number("wsrep_cluster_size") for report in up}
        clusters = {report.status.get("wsrep_cluster_state_uuid", "") for report in up}
        found = []
        if len(clusters) > 1:
            found.append("The nodes are in different clusters.")
        elif len(sizes) > 1:
            found.append(f"The nodes see clusters of different sizes: {sorted(sizes)}.")
        elif sizes and 0 < max(sizes) < len(up):
            found.append(f"{len(up)} nodes answer, but the cluster has {max(sizes)}.")
        return found

    @property
    def exit_status(self) -> int:
        """0 all well, 1 something is wrong, 2 no node is the primary."""
        if self.primary is None:
            return NO_PRIMARY
        return DEGRADED if self.complaints() else WELL

    def as_dict(self) -> dict[str, Any]:
        """For JSON. Durations are in seconds, ``at`` and ``since`` in seconds of Unix time."""
        epoch, primary = self.epoch, self.primary
        return {
            "cluster": self.cluster.alias,
            "at": round(self.at, 3),
            "status": self.exit_status,
            "complaints": self.complaints(),
            "primary": primary.node.name if primary is not None else None,
            "epoch": None if epoch is None else self._epoch(epoch),
            "nodes": [self._node(report) for report in self.reports],
        }

    def _epoch(self, epoch: Epoch) -> dict[str, Any]:
        return {
            "number": epoch.number,
            "reason": epoch.reason,
            "held": epoch.held,
            "flips": epoch.flips,
            "since": round(time.time() - (time.monotonic() - epoch.began), 3),
        }

    def _node(self, report: Report) -> dict[str, Any]:
        status = report.status
        return {
            "name": report.node.name,
            "role": self.role(report),
            "drained": self.is_drained(report),
            "state": report.state,
            "error": report.error,
            "server": report.server,
            "zone": report.node.config.zone,
            "lag": round(report.lag, 3),
            "behind": report.behind,
            "receive_queue": report.number("wsrep_local_recv_queue"),
            "flow_control": report.paused,
            "selects_per_second": report.select_rate,
            "epoch": report.epoch.number if report.epoch is not None else None,
            "version": report.version,
            "galera": status.get("wsrep_provider_version", ""),
            "uptime": report.number("Uptime"),
            "markers": report.markers,
            "here": self._here(report),
            "own": {
                "component": status.get("wsrep_cluster_status", ""),
                "size": report.number("wsrep_cluster_size"),
                "ready": status.get("wsrep_ready", ""),
                "position": report.number("wsrep_last_committed"),
            },
        }

    @staticmethod
    def _here(report: Report) -> dict[str, Any]:
        """What this process knows, as against what the server says of itself."""
        node = report.node
        return {"reachable": report.answered, "up": node.up, "trouble": node.trouble}


# --- asking -------------------------------------------------------------------------------


class Surveyor:
    """Asks the nodes of one cluster, for all threads of this process.

    Args:
        cluster: whose nodes.
        markers: count the rows in the table of markers, too.
    """

    def __init__(self, cluster: Cluster, *, markers: bool = False) -> None:
        self._cluster = cluster
        self._markers = markers
        self._reports = {node: Report(node) for node in cluster.nodes}
        self._tracks = {node: lag.Track() for node in cluster.nodes}
        self._asked: dict[Node, float] = {}  # when, by the clock: no answer has come yet
        self._waited: set[Node] = set()  # in vain; until an answer has come in time
        self._last = float("-inf")
        self._news = threading.Condition()

    def look(self, *, wait: float = WAIT, age: float = AGE) -> Survey:
        """What is known, after all that is older than ``age`` seconds was asked for again.

        Args:
            wait: seconds to wait for the answers.
            age: seconds; 0 asks in any case.
        """
        with self._news:
            now = time.monotonic()
            if now - self._last >= age:
                self._last = now
                for node in self._cluster.nodes:
                    self._ask(node, now)
            self._news.wait_for(lambda: not self._awaited, wait)
            self._give_up(time.monotonic(), wait)
            reports = [self._reports[node] for node in self._cluster.nodes]
        return Survey(self._cluster, reports, time.time())

    @property
    def _awaited(self) -> set[Node]:
        return self._asked.keys() - self._waited

    def _ask(self, node: Node, now: float) -> None:
        if node in self._asked:
            return
        self._asked[node] = now
        name = f"galera_router: survey of {node.alias}"
        try:
            threading.Thread(target=self._run, args=(node,), name=name, daemon=True).start()
        except RuntimeError as error:  # the interpreter is ending, say
            del self._asked[node]
            logger.warning("%s: cannot ask node %s: %s", node.cluster.alias, node.name, error)

    def _give_up(self, now: float, wait: float) -> None:
        """Say of those that have not answered in time that they do not."""
        for node in self._awaited:
            since = now - self._asked[node]
            if since >= min(wait, WAIT):
                self._waited.add(node)
                self._reports[node] = Report(node, error=f"no answer for {since:.1f} s", at=now)

    def _run(self, node: Node) -> None:
        try:
            report = ask(node, markers=self._markers)
        except Exception as error:  # nobody else would ever see it
            logger.exception("%s: cannot ask node %s", node.cluster.alias, node.name)
            report = Report(node, error=str(error), at=time.monotonic())
        with self._news:
            self._reports[node] = self._compared(report, self._reports[node])
            if report.at - self._asked.pop(node, report.at) < WAIT:
                self._waited.discard(node)
            self._news.notify_all()

    def _compared(self, report: Report, before: Report) -> Report:
        place = position(report.status.items())
        if place is None or not report.takes_statements:
            self._tracks[report.node].clear()
            return report
        others = [track for node, track in self._tracks.items() if node is not report.node]
        seconds = lag.seconds(place, others, report.at)
        self._tracks[report.node].note(place, report.at)
        known = [other.number("wsrep_last_committed") for other in self._reports.values()]
        return replace(
            report,
            lag=seconds,
            behind=max(0, max(known, default=0) - place.seqno) if seconds else 0,
            select_rate=_rate(report, before, "Com_select"),
            paused=_rate(report, before, "wsrep_flow_control_paused_ns", 1e-9),
        )


def _rate(report: Report, before: Report, name: str, unit: float = 1.0) -> float | None:
    """By how much ``name`` has grown in a second; None if the server was not asked before."""
    grown = report.number(name) - before.number(name)
    seconds = report.at - before.at
    if before.server != report.server or grown < 0 or not 0 < seconds < float("inf"):
        return None
    return round(grown * unit / seconds, 3)


def ask(node: Node, *, markers: bool = False) -> Report:
    """Ask ``node``, and wait for its answer; a report without an answer if there is none."""
    wrapper = connections[node.alias]
    errors = (Error, wrapper.Database.Error)  # type: ignore[attr-defined]
    try:
        with closing(Ping(node, (), TIMEOUT).connect()) as driver:
            return _report(node, driver, errors, markers)
    except errors as error:
        return Report(node, error=str(error), at=time.monotonic())


def _report(node: Node, driver: Any, errors: tuple[type[Exception], ...], markers: bool) -> Report:
    questions = [*_QUESTIONS[:-1], *([_MARKERS] if markers else []), _QUESTIONS[-1]]
    answers = put(driver, questions, errors)
    while len(answers) < len(questions):
        answers += put(driver, questions[len(answers) :], errors)
    (status, _), (who, _), (facts, _), (epochs, _), *counted, (_, trouble) = answers
    told = {name: str(value) for name, value in status}
    server = "".join(name for (name,) in who)
    identity = told.get("wsrep_cluster_state_uuid", "") or server
    return Report(
        node,
        answered=True,
        error=_why_not(node, trouble, facts),
        server=server,
        version=str(facts[0][0]) if facts else "",
        read_only=bool(facts) and str(facts[0][1]) not in ("0", "OFF"),
        status=told,
        epoch=read(epochs, identity)[1],
        markers=int(counted[0][0][0][0]) if counted and counted[0][0] else None,
        at=time.monotonic(),
    )


def _why_not(node: Node, trouble: Exception | None, facts: Sequence[Sequence[Any]]) -> str:
    """Why it takes no statements; empty if it does."""
    if trouble is not None and errno(trouble) not in _WELL:
        return str(trouble)
    alone = bool(facts) and not int(facts[0][2])
    return str((alone and apart(node)) or "")


_surveyors: dict[Cluster, Surveyor] = {}
_lock = threading.Lock()


def surveyor(cluster: Cluster) -> Surveyor:
    """The one of this process for ``cluster``."""
    with _lock:
        found = _surveyors.get(cluster)
        if found is None:
            for other in [c for c in _surveyors if c.alias == cluster.alias]:
                del _surveyors[other]  # DATABASES was replaced
            found = _surveyors[cluster] = Surveyor(cluster)
        return found


def _after_fork() -> None:
    """The parent's questions are not answered here."""
    global _lock
    _lock = threading.Lock()
    _surveyors.clear()


os.register_at_fork(after_in_child=_after_fork)

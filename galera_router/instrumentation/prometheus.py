"""Counters, histograms and gauges for Prometheus; needs ``prometheus-client``.

``galera_router.instrumentation.prometheus.Prometheus`` in ``GALERA_INSTRUMENTATION`` fills them, in
the usual registry. Where several processes serve one application, as under gunicorn, set
``PROMETHEUS_MULTIPROC_DIR``, as the client's own documentation says; :func:`metrics` is a view that
minds that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from galera_router import instrumentation
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.registry import clusters_met
from galera_router.events import (
    Conflict,
    Event,
    Failover,
    NodeDown,
    NoTurn,
    OutcomeSettled,
    OutcomeUnknown,
    PrimaryChanged,
    Promotion,
    Replay,
    Rerun,
    RerunRefused,
    TokenIgnored,
    Waited,
)

from .states import CHANGES, STATES, lag_of, primary_of, state_of

_MULTIPROC = "PROMETHEUS_MULTIPROC_DIR"
#: Seconds. A promotion or a replay takes milliseconds, a failover up to reconnect_wait_time.
SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Prometheus:
    """Fills the metrics.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._counted: dict[tuple[str, str, bool], int] = {}
        self._process = os.getpid()
        self._make_counters(registry)
        self._make_histograms(registry)
        self._make_gauges(registry)
        self._handlers: Mapping[type[Event], Callable[[Any], None]] = {
            NodeDown: self._node_down,
            PrimaryChanged: self._primary_changed,
            Failover: self._failover,
            Promotion: self._promotion,
            Replay: self._replay,
            Conflict: self._conflict,
            Rerun: self._rerun,
            RerunRefused: lambda event: self._refused.labels(event.alias).inc(),
            OutcomeSettled: self._settled,
            OutcomeUnknown: lambda event: self._unknown.labels(event.alias, event.lost).inc(),
            Waited: self._waited,
            NoTurn: lambda event: self._turns.labels(event.alias).inc(),
            TokenIgnored: lambda event: self._tokens.labels(event.alias).inc(),
        }
        self.events = self._handlers.keys() | CHANGES

    # --- the metrics

    def _make_counters(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"galera_router_{name}", text, ("cluster", *labels), registry=registry)

        self._sent = counter("statements", "Statements sent to a node.", "node", "kind")
        self._losses = counter("node_losses", "Times that a node was found to be down.", "node")
        self._changes = counter("primary_changes", "Times that it became the primary.", "node")
        self._replayed = counter("replayed_statements", "Statements replayed.", "node")
        self._conflicts = counter("conflicts", "Conflicts with others.", "node", "again")
        self._reruns = counter("reruns", "Functions and requests that were run again.", "error")
        self._refused = counter("reruns_refused", "Those that could not be run again.")
        self._unknown = counter("outcomes_unknown", "Changes nobody knows the outcome of.", "node")
        self._turns = counter("turns_missed", "Times that code could not queue for its turn.")
        self._tokens = counter("tokens_ignored", "Causal tokens that were not used.")

    def _make_histograms(self, registry: CollectorRegistry) -> None:
        def histogram(
            name: str, text: str, *labels: str, buckets: tuple[float, ...] = LONG
        ) -> Histogram:
            names = ("cluster", *labels)
            name = f"galera_router_{name}_seconds"
            return Histogram(name, text, names, registry=registry, buckets=buckets)

        self._failovers = histogram("failover", "Pause of a failover, by the node lost.", "node")
        self._promotions = histogram(
            "promotion", "Duration of a promotion to the primary.", "node", buckets=SHORT
        )
        self._replays = histogram("replay", "Duration of a replay.", "node", "cause", buckets=SHORT)
        self._outcomes = histogram(
            "outcome_settled", "From a lost answer until it was found out.", "node", "committed"
        )
        self._waits = histogram("wait", "How long a node was waited for.", "node", "why")

    def _make_gauges(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(
                f"galera_router_{name}",
                text,
                ("cluster", "node", *labels),
                registry=registry,
                multiprocess_mode="livemostrecent",
            )

        self._state = gauge("node_state", "1 for the state that the node is in.", "state")
        self._primary = gauge("primary", "1 for the primary, 0 for the others.")
        self._lag = gauge("node_lag_seconds", "For how long it has lacked what another one has.")

    # --- filling them

    def event(self, event: Event) -> None:
        """Count it."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)
        if type(event) in CHANGES:
            self.nodes(clusters_met())

    def counts(self, totals: Mapping[tuple[str, str, bool], int]) -> None:
        """Add what has been counted since the last call."""
        if self._process != os.getpid():  # after a fork it is counted from the beginning
            self._process = os.getpid()
            self._counted.clear()
        for key, total in totals.items():
            cluster, node, reads = key
            new = total - self._counted.get(key, 0)
            if new > 0:
                self._sent.labels(cluster, node, "read" if reads else "write").inc(new)
            self._counted[key] = total

    def nodes(self, clusters: Sequence[Cluster]) -> None:
        """Set the gauges."""
        for cluster in clusters:
            primary = primary_of(cluster)
            for node in cluster.nodes:
                names, state = (cluster.alias, node.name), state_of(node)
                self._primary.labels(*names).set(node is primary)
                self._lag.labels(*names).set(lag_of(node))
                for known in STATES:
                    self._state.labels(*names, known).set(known == state)

    def _node_down(self, event: NodeDown) -> None:
        self._losses.labels(event.alias, event.node).inc()

    def _primary_changed(self, event: PrimaryChanged) -> None:
        if event.before:
            self._changes.labels(event.alias, event.node).inc()

    def _failover(self, event: Failover) -> None:
        self._failovers.labels(event.alias, event.lost).observe(event.seconds)

    def _promotion(self, event: Promotion) -> None:
        self._promotions.labels(event.alias, event.node).observe(event.seconds)

    def _replay(self, event: Replay) -> None:
        self._replays.labels(event.alias, event.node, event.cause).observe(event.seconds)
        self._replayed.labels(event.alias, event.node).inc(event.replayed)

    def _conflict(self, event: Conflict) -> None:
        self._conflicts.labels(event.alias, event.node, "yes" if event.again else "no").inc()

    def _rerun(self, event: Rerun) -> None:
        self._reruns.labels(event.alias, event.error).inc()

    def _settled(self, event: OutcomeSettled) -> None:
        committed = "yes" if event.committed else "no"
        self._outcomes.labels(event.alias, event.lost, committed).observe(event.seconds)

    def _waited(self, event: Waited) -> None:
        self._waits.labels(event.alias, event.node, event.why).observe(event.seconds)


def metrics(request: HttpRequest) -> HttpResponse:
    """A view with all metrics of the usual registry, of all processes where there are several.

    It asks no server. Who may see it is for the project to say.
    """
    instrumentation.refresh()
    registry = REGISTRY
    if os.environ.get(_MULTIPROC):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

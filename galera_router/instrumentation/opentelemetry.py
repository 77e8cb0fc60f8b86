"""Metrics, and what a span has to do with the cluster; needs ``opentelemetry-api``.

``galera_router.instrumentation.opentelemetry.OpenTelemetry`` in ``GALERA_INSTRUMENTATION`` puts
the node into the current span, each event as an event of that span, and fills metrics. It makes no
spans: those of the statements are made by ``opentelemetry-instrumentation-mysqlclient``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation

import galera_router
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.registry import clusters_met
from galera_router.events import (
    Event,
    Failover,
    OutcomeSettled,
    Promotion,
    Replay,
    Waited,
)

from .states import STATES, lag_of, primary_of, state_of

NAME = "galera_router"
#: Events that have a duration.
_TIMED: tuple[type[Event], ...] = (Failover, OutcomeSettled, Promotion, Replay, Waited)
#: Fields that tell one series of a metric from another; a reason is not among them.
_LABELS = frozenset(
    {"node", "lost", "taken_over_by", "cause", "why", "error", "again", "committed", "refusal"}
)


class OpenTelemetry:
    """Fills metrics, and tells the current span.

    Args:
        meter_provider: whose metrics; None for the usual one.
    """

    def __init__(self, meter_provider: metrics.MeterProvider | None = None) -> None:
        version = galera_router.__version__
        meter = metrics.get_meter(NAME, version, meter_provider=meter_provider)
        self._statements = meter.create_counter(
            f"{NAME}.statements", description="Statements sent to a node."
        )
        self._events = meter.create_counter(
            f"{NAME}.events", description="Events, by their kind and what they are about."
        )
        self._durations = meter.create_histogram(
            f"{NAME}.event.duration", unit="s", description="Of those events that take a while."
        )
        gauge = meter.create_observable_gauge
        gauge(f"{NAME}.node.state", [_states], description="1 for the state that it is in.")
        gauge(f"{NAME}.primary", [_primaries], description="1 for the primary.")
        gauge(f"{NAME}.node.lag", [_lags], unit="s", description="What it lacks, in time.")

    def event(self, event: Event) -> None:
        """Count it, and add it to the current span."""
        kind, values = kind_of(event), event.values()
        del values["alias"]
        labels = {f"galera.{name}": _plain(values[name]) for name in values.keys() & _LABELS}
        labels |= {"galera.cluster": event.alias, "galera.event": kind}
        self._events.add(1, labels)
        if isinstance(event, _TIMED):
            self._durations.record(values["seconds"], labels)
        span = trace.get_current_span()
        if span.is_recording():
            told = {f"galera.{name}": _plain(value) for name, value in values.items()}
            span.add_event(f"galera.{kind}", {"galera.cluster": event.alias, **told})

    def statement(self, cluster: str, node: str, reads: bool) -> None:
        """Count it, and name the node in the current span."""
        kind = "read" if reads else "write"
        labels = {"galera.cluster": cluster, "galera.node": node, "galera.kind": kind}
        self._statements.add(1, labels)
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attributes({"galera.cluster": cluster, "galera.node": node})


def kind_of(event: Event) -> str:
    """The name of the event's class as that of its signal: ``node_down``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, bool, int, float)) else [str(item) for item in value]


# --- how the nodes are --------------------------------------------------------------------


def _all() -> Iterable[tuple[Cluster, Node, dict[str, str]]]:
    clusters: Sequence[Cluster] = clusters_met()
    for cluster in clusters:
        for node in cluster.nodes:
            yield cluster, node, {"galera.cluster": cluster.alias, "galera.node": node.name}


def _states(options: CallbackOptions) -> Iterable[Observation]:
    for _, node, labels in _all():
        for state in STATES:
            yield Observation(int(state == state_of(node)), {**labels, "galera.state": state})


def _primaries(options: CallbackOptions) -> Iterable[Observation]:
    for cluster, node, labels in _all():
        yield Observation(int(node is primary_of(cluster)), labels)


def _lags(options: CallbackOptions) -> Iterable[Observation]:
    for _, node, labels in _all():
        yield Observation(lag_of(node), labels)

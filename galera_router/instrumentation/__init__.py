"""What listens to a cluster: metrics, traces, or something of one's own.

``GALERA_INSTRUMENTATION`` in the settings names what is to listen::

    GALERA_INSTRUMENTATION = [
        "galera_router.instrumentation.prometheus.Prometheus",
        "galera_router.instrumentation.opentelemetry.OpenTelemetry",
    ]

Each is a class that is called without arguments, or an object. It is an :class:`Instrumentation`,
and may be a :class:`CountsStatements`, a :class:`SeesNodes` or a :class:`SeesStatements` as well.
What it raises is logged and goes no further. What is not named there is not imported and costs
nothing.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from logging import getLogger  # not the module: there is one of that name here
from typing import Any, Protocol, runtime_checkable

from django.conf import settings
from django.utils.module_loading import import_string

from galera_router.cluster import monitor
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.registry import clusters_met
from galera_router.connections.connection import NodeConnection
from galera_router.events import Event
from galera_router.exceptions import ConfigurationError
from galera_router.signals import SIGNALS
from galera_router.transactions import watching
from galera_router.transactions.statements import Statement

logger = getLogger("galera_router")

SETTING = "GALERA_INSTRUMENTATION"
#: Seconds between two calls of what is not called at once.
LOOK = 1.0


@runtime_checkable
class Instrumentation(Protocol):
    """What is told of events."""

    def event(self, event: Event) -> None:
        """Called with each event, in the thread that has met it: it may be the watchdog's.

        It is called with events of the classes in the attribute ``events``; with all without it.
        """


@runtime_checkable
class SeesStatements(Protocol):
    """What is also told of each statement of the application. This costs something for each."""

    def statement(self, cluster: str, node: str, reads: bool) -> None:
        """Called when a node has answered a statement, in the statement's thread.

        It is called in the middle of things, and must not use the database.

        Args:
            cluster: the cluster's alias.
            node: the node's name.
            reads: it is a plain read.
        """


@runtime_checkable
class CountsStatements(Protocol):
    """What is also told how many statements were answered; that costs next to nothing."""

    def counts(self, totals: Mapping[tuple[str, str, bool], int]) -> None:
        """Called about once a second, and at the end of the process.

        Args:
            totals: how many so far, in this process, by the cluster's alias, the node's name, and
                whether they were plain reads.
        """


@runtime_checkable
class SeesNodes(Protocol):
    """What also looks at the nodes, about once a second."""

    def nodes(self, clusters: Sequence[Cluster]) -> None:
        """Called in the watchdog's thread as long as the process has connections.

        Args:
            clusters: those that this process has used.
        """


_installed: list[Any] = []


def install(*listeners: Instrumentation) -> None:
    """Have ``listeners`` listen; one that does already is left as it is."""
    for listener in listeners:
        if listener not in _installed:
            _installed.append(listener)
            _connect(listener)
    _watch()


def uninstall(*listeners: Instrumentation) -> None:
    """Have ``listeners`` listen no more."""
    for listener in listeners:
        if listener in _installed:
            _installed.remove(listener)
            for signal in SIGNALS.values():
                signal.disconnect(dispatch_uid=_uid(listener))
    _watch()


def install_configured() -> None:
    """Install what the settings name.

    Raises:
        ConfigurationError: something cannot be imported, or is no instrumentation.
    """
    named = getattr(settings, SETTING, ())
    if isinstance(named, str) or not isinstance(named, Iterable):
        raise ConfigurationError(f"{SETTING} must be a list, not {named!r}.")
    install(*(_made(item) for item in named))


def _made(item: Any) -> Instrumentation:
    found = _imported(item) if isinstance(item, str) else item
    made = found() if isinstance(found, type) else found
    if not isinstance(made, Instrumentation):
        raise ConfigurationError(f"{SETTING}: {item!r} has no method event(event).")
    return made


def _imported(path: str) -> Any:
    try:
        return import_string(path)
    except ImportError as error:
        package = getattr(error, "name", None) or ""
        known = {"prometheus_client": "prometheus", "opentelemetry": "opentelemetry"}
        extra = known.get(package.partition(".")[0])
        advice = f" Install galera-router[{extra}]." if extra else ""
        raise ConfigurationError(f"{SETTING}: cannot import {path!r}: {error}.{advice}") from error


def _uid(listener: Instrumentation) -> str:
    return f"galera_router.instrumentation.{id(listener)}"


def _connect(listener: Instrumentation) -> None:
    def receive(event: Event, **kwargs: Any) -> None:
        listener.event(event)

    wanted = getattr(listener, "events", SIGNALS)
    for kind, signal in SIGNALS.items():
        if kind in wanted:
            signal.connect(receive, weak=False, dispatch_uid=_uid(listener))


# --- what signals do not tell -------------------------------------------------------------


def refresh() -> None:
    """Tell what is counted and looked at now, ahead of the watchdog's next time."""
    with _lock:
        counted = _counted()
        for listener in _installed:
            try:
                _tell(listener, counted)
            except Exception:  # the others are to be told all the same
                logger.exception("an instrumentation has failed to look at the nodes")


def _tell(listener: Any, counted: Mapping[tuple[str, str, bool], int]) -> None:
    if isinstance(listener, CountsStatements):
        listener.counts(counted)
    if isinstance(listener, SeesNodes):
        listener.nodes(clusters_met())


def _counted() -> dict[tuple[str, str, bool], int]:
    return {
        (node.cluster.alias, node.name, reads): count
        for (node, reads), count in watching.totals().items()
    }


def _watch() -> None:
    observers = [_observer(found) for found in _installed if isinstance(found, SeesStatements)]
    counts = any(isinstance(found, CountsStatements) for found in _installed)
    watching.watch(*observers, count=counts)
    looks = counts or any(isinstance(found, SeesNodes) for found in _installed)
    monitor.after_looks(*([_look] if looks else []))


def _observer(listener: SeesStatements) -> watching.Observer:
    statement = listener.statement

    def observe(sent: Statement, link: NodeConnection) -> None:
        node = link.node
        statement(node.cluster.alias, node.config.name, sent.readable)

    return observe


_due = 0.0
_lock = threading.Lock()


def _look(last: bool) -> None:
    """Called by the watchdog; ``last``: it does not look again soon."""
    global _due
    now = time.monotonic()
    if now < _due and not last:
        return
    _due = now + LOOK
    refresh()


def _at_exit() -> None:
    """What was counted since the last look is not to be lost."""
    if _installed:
        refresh()


def _renew_lock() -> None:
    """After a fork another thread's lock would never be released."""
    global _lock
    _lock = threading.Lock()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_renew_lock)

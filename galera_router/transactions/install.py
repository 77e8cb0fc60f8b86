"""Make a cluster's wrappers ours, in every thread, from their creation on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from galera_router import signals
from galera_router.cluster import epoch, monitor
from galera_router.cluster.registry import cluster_of
from galera_router.compat import internals, wrappers
from galera_router.connections.connection import NodeConnection
from galera_router.events import Event
from galera_router.recovery import marker

from .node_alias import attach_node, is_connecting
from .session import Session
from .sessions import attach, session_of, sessions

logger = logging.getLogger("galera_router")

_inherited: list[Any] = []  # connections of the parent, kept from being destroyed


def hold_logs() -> None:
    """Have what happens in the middle of a statement be told at its end; may be repeated."""
    signals.hold = _hold_event
    if _hold_record not in logger.filters:
        logger.addFilter(_hold_record)


def _hold_event(event: Event) -> bool:
    return _hold(partial(signals.deliver, event))


def _hold_record(record: logging.LogRecord) -> bool:
    return not _hold(partial(logger.handle, record))


def _hold(tell: Callable[[], None]) -> bool:
    return any(session.hold(tell) for session in sessions()) or monitor.hold(tell)


def install(wrapper: BaseDatabaseWrapper) -> None:
    """Take charge of ``wrapper`` if its alias belongs to a cluster; harmless when repeated."""
    cluster = cluster_of(wrapper.alias)
    if cluster is None or "galera_installed" in vars(wrapper):
        return
    wrapper.galera_installed = True  # type: ignore[attr-defined]
    internals.share_server_data(wrapper, cluster.server_data)
    wrappers.keep_quickly(wrapper)
    if wrapper.connection is not None:  # made before the app was ready
        wrapper.close()
    if cluster.alias == wrapper.alias:
        _install_session(wrapper, attach(wrapper, cluster))
    else:
        _install_node(wrapper)
    if cluster.config.options.disable_update_can_self_select:
        wrapper.features.update_can_self_select = False


def _install_session(wrapper: BaseDatabaseWrapper, session: Session) -> None:
    wrapper.connect = session.open  # type: ignore[method-assign]
    internals.ask_server_through(wrapper, session.question)
    # Markers and epochs are of the servers as they are: without its epoch a connection with state
    # is lost, and a marker may refer to an epoch that is no row any more.
    internals.keep_out_of_flush(wrapper, {marker.TABLE, epoch.TABLE, epoch.SLOTS})
    internals.keep_out_of_serialized(wrapper, "galera_router")


def _install_node(wrapper: BaseDatabaseWrapper) -> None:
    cluster = cluster_of(wrapper.alias)
    assert cluster is not None
    node = attach_node(wrapper, cluster.node(wrapper.alias))
    wrapper.connect = node.open  # type: ignore[method-assign]

    def question() -> Any:
        session = session_of(wrapper.alias)
        assert session is not None
        return session.question(node.link)

    internals.ask_server_through(wrapper, question)


def role_of(alias: str) -> str:
    """The cluster's alias for the alias of one of its nodes; any other alias unchanged."""
    cluster = cluster_of(alias)
    if cluster is None or alias == cluster.alias or is_connecting(alias):
        return alias
    return cluster.alias


def connected(wrapper: BaseDatabaseWrapper) -> None:
    """Share what ``wrapper`` has learned of its server with this thread's and later wrappers."""
    cluster = cluster_of(wrapper.alias)
    if cluster is None or "galera_installed" not in vars(wrapper):
        return
    data = internals.server_data(wrapper)
    cluster.server_data = cluster.server_data or data
    internals.share_server_data(connections[cluster.alias], data)


def forget_inherited() -> None:
    """After a fork: leave every connection of this thread to the parent process."""
    for session in sessions():
        for link in session.leave_all():
            _leave(link)


def _leave(link: NodeConnection) -> None:
    internals.point_elsewhere(link.connection)
    _inherited.append(link.connection)

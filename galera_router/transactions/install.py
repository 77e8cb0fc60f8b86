"""Make a cluster's wrappers ours, in every thread, from their creation on."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from galera_router.cluster.nodes import Node, cluster_of
from galera_router.compat import internals
from galera_router.transactions import links, recorder
from galera_router.transactions.context import Context, attach, context_of, contexts
from galera_router.transactions.session import Session
from galera_router.transactions.standin import StandIn, UnboundCursor

_inherited: list[Any] = []  # connections of the parent, kept from being destroyed


def adopt(wrapper: BaseDatabaseWrapper) -> None:
    """Take charge of ``wrapper`` if its alias belongs to a cluster; harmless when repeated."""
    cluster = cluster_of(wrapper.alias)
    if cluster is None or "galera_adopted" in vars(wrapper):
        return
    wrapper.galera_adopted = True  # type: ignore[attr-defined]
    internals.share_server_data(wrapper, cluster.server_data)
    if wrapper.connection is not None:  # made before the app was ready
        wrapper.close()
    if cluster.alias == wrapper.alias:
        _adopt_role(wrapper, attach(wrapper, cluster))
    else:
        _adopt_node(wrapper, cluster.node(wrapper.alias))
    if cluster.config.options.disable_update_can_self_select:
        wrapper.features.update_can_self_select = False


def _adopt_role(wrapper: BaseDatabaseWrapper, context: Context) -> None:
    session = Session(context)
    wrapper.connect = session.open  # type: ignore[method-assign]
    internals.ask_server_through(wrapper, session.question)
    wrapper.execute_wrappers.insert(0, functools.partial(recorder.on_role, context))


def _adopt_node(wrapper: BaseDatabaseWrapper, node: Node) -> None:
    wrapper.connect = functools.partial(_open_node, wrapper)  # type: ignore[method-assign]
    wrapper.execute_wrappers.insert(0, functools.partial(_on_node, node))
    internals.ask_server_through(wrapper, functools.partial(_question, node))


def _question(node: Node) -> AbstractContextManager[Any]:
    context = context_of(node.alias)
    assert context is not None
    return Session(context).question()


def _on_node(node: Node, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    current = context_of(node.alias)
    assert current is not None
    return recorder.on_node(current, node, execute, sql, params, many, context)


def _open_node(wrapper: BaseDatabaseWrapper) -> None:
    """In the place of ``connect``: a node that is down must not fail before its first query."""
    internals.open_lazily(wrapper, StandIn(NodeDelegate(wrapper)))


def role_of(alias: str) -> str:
    """The cluster's alias for the alias of one of its nodes; any other alias unchanged."""
    cluster = cluster_of(alias)
    return cluster.alias if cluster is not None else alias


def connected(wrapper: BaseDatabaseWrapper) -> None:
    """Share what ``wrapper`` has learnt of its server with this thread's and later wrappers."""
    cluster = cluster_of(wrapper.alias)
    if cluster is None or "galera_adopted" not in vars(wrapper):
        return
    data = internals.server_data(wrapper)
    cluster.server_data = cluster.server_data or data
    internals.share_server_data(connections[cluster.alias], data)


class NodeDelegate:
    """Behind the stand-in of a node's wrapper until its first statement connects it.

    Args:
        wrapper: the wrapper of the node's alias.
    """

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self._wrapper = wrapper

    def driver(self) -> Any:
        context = context_of(self._wrapper.alias)
        assert context is not None
        return links.to_node(context, context.cluster.node(self._wrapper.alias)).connection

    def cursor(self) -> Any:
        return UnboundCursor(lambda: self.driver().cursor())

    def set_autocommit(self, flag: bool) -> None:
        if not flag:
            self.driver().autocommit(False)

    # Nothing has been sent yet, so there is nothing to do.

    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def ping(self) -> None: ...
    def close(self) -> None: ...


def forget_inherited() -> None:
    """After a fork: leave every connection of this thread to the parent process."""
    for context in contexts():
        link, context.primary = context.primary, None
        if link is not None:
            _leave(link.connection)
        context.end_transaction()
        for node in context.cluster.nodes:
            wrapper = connections[node.alias]
            if wrapper.connection is not None and not isinstance(wrapper.connection, StandIn):
                _leave(wrapper.connection)
                wrapper.connection = None


def _leave(connection: Any) -> None:
    internals.point_elsewhere(connection)
    _inherited.append(connection)

"""One node by its own alias: where the connection lives that reads go through."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from galera_router.cluster import membership
from galera_router.cluster.node import Node
from galera_router.compat import internals
from galera_router.connections.connection import NodeConnection
from galera_router.exceptions import ReadOnlyNode

from .connection import Connection
from .cursor import Call
from .following import note_loss
from .lane import Lane
from .statements import Statement


class NodeAlias:
    """A node's read-only connection in one thread.

    The session's reads are sent through it. An explicit ``using("default_db2")`` reaches that very
    node, outside the session's transaction and without a failover.

    Args:
        wrapper: the wrapper of the node's alias.
        node: the node.

    Attributes:
        link: its connection; None before the first statement and after a loss.
        connecting: it is being made; a block of a receiver's is one of that connection alone.
    """

    def __init__(self, wrapper: BaseDatabaseWrapper, node: Node) -> None:
        self.wrapper = wrapper
        self.node = node
        self.link: NodeConnection | None = None
        self.connecting = False
        self._database = ""  # a test runner gives the alias another one

    # --- what the door asks

    lane: Lane | None = None  # it has none

    def open(self) -> None:
        """In the place of ``connect``: a node that is down must not fail before its first query."""
        self.forget()
        internals.open_lazily(self.wrapper, Connection(self))
        internals.announce(self.wrapper)

    def run(self, call: Call) -> Any:
        """Send a statement to this very node.

        Raises:
            ReadOnlyNode: it plainly writes.
            MySQLdb.Error: the server's error.
        """
        if call.statement.write:
            role = self.node.cluster.alias
            raise ReadOnlyNode(
                f"{self.node.alias!r} is one node of the cluster {role!r} and read-only;"
                f" {call.statement.verb} through {role!r} instead."
            )
        return call.send(self.connect())

    def any_link(self, statement: Statement | None) -> NodeConnection:
        return self.connect()

    def is_open(self, link: NodeConnection) -> bool:
        return link is self.link

    def set_autocommit(self, flag: bool) -> None:
        if self.link is not None or not flag:
            self.connect().connection.autocommit(flag)

    def commit(self) -> None:
        if self.link is not None:
            self.link.commit()

    def rollback(self) -> None:
        if self.link is not None:
            self.link.roll_back()

    def ping(self) -> None:
        if self.link is not None:
            self.link.drain()
            self.link.connection.ping()

    def close(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.close()

    def direct_link(self) -> NodeConnection:
        return self.connect()

    def note_left(self, link: NodeConnection, left: Statement | str) -> None:
        """What is set by a node's alias is for nobody else."""

    # --- what the session asks

    def connect(self) -> NodeConnection:
        """The connection to the node, made anew if it is not usable any more.

        Raises:
            Error: the driver's or Django's, where the node cannot be connected to.
        """
        link = self.link
        if link is not None:
            if self.is_current() and not link.is_stale():
                return link
            self.forget()
        return self._connect()

    def is_current(self) -> bool:
        """Returns True if the connection is to the database that the alias now stands for."""
        return bool(self._database == self.wrapper.settings_dict["NAME"])

    def _connect(self) -> NodeConnection:
        wrapper = self.wrapper
        self.connecting = True
        try:
            internals.connect_node(wrapper, self._initialise)
        except BaseException:
            self.forget()
            wrapper.connection = None
            raise
        finally:
            self.connecting = False
        wrapper.connection = Connection(self)
        assert self.link is not None
        self.link.note_way()
        return self.link

    def _initialise(self, wrapper: BaseDatabaseWrapper) -> None:
        """Have the statements of a connection's set-up watched as well."""
        options = connections[self.node.cluster.alias]  # has them as attributes
        self._database = wrapper.settings_dict["NAME"]
        self.link = link = NodeConnection(self.node, wrapper.connection, options)
        with link.in_flight():
            wrapper.init_connection_state()
        membership.confirm(link)

    def forget(self) -> None:
        """Let go of the connection, which is lost or not to be trusted."""
        link, self.link = self.link, None
        if link is not None:
            link.drop()
            note_loss(self.node)


_ATTRIBUTE = "galera_node"


def is_connecting(alias: str) -> bool:
    """Returns True if this thread is connecting to the node ``alias``."""
    found = vars(connections[alias]).get(_ATTRIBUTE)
    return found is not None and found.connecting


def attach_node(wrapper: BaseDatabaseWrapper, node: Node) -> NodeAlias:
    """Give ``wrapper`` its node, once."""
    found = vars(wrapper).get(_ATTRIBUTE)
    if found is None:
        found = NodeAlias(wrapper, node)
        setattr(wrapper, _ATTRIBUTE, found)
    assert isinstance(found, NodeAlias)
    return found

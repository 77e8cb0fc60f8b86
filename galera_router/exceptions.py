"""The errors of galera_router's own, in one tree.

::

    GaleraRouterError
    ├── ConfigurationError      (also ImproperlyConfigured) a setting is wrong
    ├── NotCommitted            (also TransactionManagementError) a token asked for too early
    └── ClusterError            (also django.db.OperationalError) met while running
        ├── NoNodeAvailable         no node answered within ``reconnect_wait_time``
        ├── FailoverImpossible      a node was lost and the transaction cannot be moved
        ├── ReplayMismatch          what was read before is not what is there now
        ├── CommitOutcomeUnknown    a COMMIT or autocommit write whose answer was lost
        └── ReadOnlyNode            a write sent to the alias of a single node

Code that handles ``django.db.OperationalError`` handles every ``ClusterError``. A wrong argument is
a ``ValueError`` or ``TypeError``; the error of a statement itself stays Django's.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import TransactionManagementError
from django.db.utils import OperationalError


class GaleraRouterError(Exception):
    """Root of all errors of this package."""


class ConfigurationError(GaleraRouterError, ImproperlyConfigured):
    """A setting is wrong; the message names the alias, the node and the key."""


class NotCommitted(GaleraRouterError, TransactionManagementError):
    """``causal_token()`` in a transaction that has written: call it in ``on_commit``."""


class ClusterError(GaleraRouterError, OperationalError):
    """An error that a query or a transaction meets."""


class NoNodeAvailable(ClusterError):
    """No node can serve. The message names each node and why it cannot, or the one node that is to
    be the primary and has not caught up.
    """


class FailoverImpossible(ClusterError):
    """A transaction, or what was set on a connection, cannot be moved. The message says why.

    A node was lost, another node is the primary now, or a statement was interrupted. Outside of a
    transaction: what was set on the connection is gone. Nothing of the transaction was committed,
    unless the message says so.

    Args:
        message: what was lost, and why that cannot be mended.
        again: the code may be run again as a whole: nothing that came before its transaction
            is missing. An attribute, too.
    """

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


class ReplayMismatch(ClusterError):
    """A replayed statement gave another answer than the one the application has seen.

    Nothing of the transaction was committed; running the code again is safe, and is what
    ``galera_atomic`` and the middleware do.
    """


class CommitOutcomeUnknown(ClusterError):
    """The connection was lost in a COMMIT or an autocommit write, and its answer with it.

    The change is either there as a whole or not at all; look before you repeat it.

    Args:
        message: what happened, where and why it cannot be found out.
        node: the name of the node that was lost.
        connection_id: the server's number of the lost connection, as in its logs.
        writes: verb and table of each write, in order: ``UPDATE shop_book``.

    The last three are attributes, too; empty where nothing is known.
    """

    def __init__(
        self,
        message: str,
        *,
        node: str = "",
        connection_id: int = 0,
        writes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.node = node
        self.connection_id = connection_id
        self.writes = writes


class ReadOnlyNode(ClusterError):
    """A write was sent to a node's own alias; write through the cluster's alias instead."""

"""Everything that galera_router raises, in one tree.

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

Code that already handles ``django.db.OperationalError`` needs no change to handle these.
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
    """An error that a running transaction meets."""


class NoNodeAvailable(ClusterError):
    """No node can serve; the message names each node and why it cannot."""


class FailoverImpossible(ClusterError):
    """A node was lost and the open transaction cannot be replayed; the message says why.

    Nothing of the transaction was committed.

    Args:
        message: what was lost, and why that cannot be mended.
        again: the code may be run again as a whole: nothing that came before its transaction
            is missing.
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

"""Everything that galera_router raises, in one tree.

::

    GaleraRouterError
    ├── ConfigurationError      (also ImproperlyConfigured) a setting is wrong
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
from django.db.utils import OperationalError


class GaleraRouterError(Exception):
    """Root of all errors of this package."""


class ConfigurationError(GaleraRouterError, ImproperlyConfigured):
    """A setting is wrong; the message names the alias, the node and the key."""


class ClusterError(GaleraRouterError, OperationalError):
    """An error that a running transaction meets."""


class NoNodeAvailable(ClusterError):
    """No node can serve; the message names each node and why it cannot."""


class FailoverImpossible(ClusterError):
    """A node was lost and the open transaction cannot be replayed; the message says why.

    Nothing of the transaction was committed.
    """


class ReplayMismatch(ClusterError):
    """A replayed statement gave another answer than the one the application has seen.

    Nothing of the transaction was committed; running the code again is safe, and is what
    ``galera_atomic`` and the middleware do.
    """


class CommitOutcomeUnknown(ClusterError):
    """The connection was lost in a COMMIT or an autocommit write, and its answer with it.

    The change is either there as a whole or not at all; look before you repeat it.
    """


class ReadOnlyNode(ClusterError):
    """A write was sent to a node's own alias; write through the cluster's alias instead."""

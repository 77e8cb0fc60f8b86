"""A real Galera cluster on the loopback, for tests and for trying things out.

    from galera_router.testing import GaleraCluster

    with GaleraCluster(size=3) as cluster:
        cluster["db1"].kill()
        cluster.heal()

The pytest plugin is ``galera_router.testing.plugin``; ``python -m galera_router.testing`` starts a
cluster and takes commands.
"""

from __future__ import annotations

from .cluster import GaleraCluster
from .errors import ClusterError, MissingPackages
from .generallog import LogMark, Statement
from .node import GaleraNode
from .proxy import Proxy
from .rules import Rule

__all__ = [
    "ClusterError",
    "GaleraCluster",
    "GaleraNode",
    "LogMark",
    "MissingPackages",
    "Proxy",
    "Rule",
    "Statement",
]

"""What a user writes in DATABASES: checked, expanded for Django, and read by the other packages.

Imported by settings modules, so importing it does not need Django's settings.
"""

from __future__ import annotations

from galera_router.conf.config import (
    CLUSTER_KEY,
    ClusterConfig,
    NodeConfig,
    cluster_config,
    node_role,
)
from galera_router.conf.expand import APP, expand
from galera_router.conf.nodes import DEFAULT_PORT
from galera_router.conf.options import DEFAULTS, MODES, Options, check_option
from galera_router.conf.texts import did_you_mean

__all__ = [
    "APP",
    "CLUSTER_KEY",
    "DEFAULTS",
    "DEFAULT_PORT",
    "MODES",
    "ClusterConfig",
    "NodeConfig",
    "Options",
    "check_option",
    "cluster_config",
    "did_you_mean",
    "expand",
    "node_role",
]

"""The settings of a cluster, as a user writes them and as expand() returns them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from galera_router.conf import ClusterConfig, cluster_config, expand

ENGINE = "django.db.backends.mysql"
NODES = {"db1": {"HOST": "10.0.1.2"}, "db2": {"HOST": "10.0.1.3"}, "db3": {"HOST": "10.0.1.4"}}


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "ENGINE": ENGINE,
        "NAME": "shop",
        "USER": "app",
        "PASSWORD": "s3cret",
        "NODES": copy.deepcopy(NODES),
        **changes,
    }


def expanded(**changes: Any) -> dict[str, Any]:
    return expand({"default": settings(**changes)})


def found(settings_dict: Mapping[str, Any]) -> ClusterConfig:
    """Returns the cluster with these settings, which must be there."""
    config = cluster_config(settings_dict)
    assert config is not None
    return config

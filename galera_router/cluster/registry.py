"""The clusters of this process, found by alias."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db import connections

from galera_router.cluster.nodes import Cluster
from galera_router.conf import CLUSTER_KEY, ClusterConfig, cluster_config, node_role

_clusters: dict[str, Cluster] = {}
_lock = threading.Lock()


class _Found(NamedTuple):
    """A cluster that :func:`cluster_of` has found, and the settings that led to it."""

    own: Mapping[str, Any]
    role: str
    settings: Mapping[str, Any]  # of the cluster's alias
    data: Any
    cluster: Cluster


_found: dict[str, _Found] = {}


def cluster_of(alias: str) -> Cluster | None:
    """The cluster that ``alias``, its own or a node's, belongs to; None for other databases.

    It is asked for several times in each request: what was found is taken from a look-up, as
    long as the settings are those by which it was found.
    """
    try:
        own, role, settings, data, cluster = _found[alias]
        if (
            connections.settings[alias] is own
            and connections.settings[role] is settings
            and settings[CLUSTER_KEY] is data
            and _clusters[role] is cluster
        ):
            return cluster
    except KeyError:
        pass
    return _look_up(alias)


def _look_up(alias: str) -> Cluster | None:
    if alias not in connections.settings:
        return None
    own = connections.settings[alias]
    role = node_role(own) or alias
    settings = connections.settings[role]
    config = cluster_config(settings)
    if config is None:
        return None
    cluster = _cluster(role, config)
    _found[alias] = _Found(own, role, settings, settings[CLUSTER_KEY], cluster)
    return cluster


def _cluster(role: str, config: ClusterConfig) -> Cluster:
    known = _clusters.get(role)
    if known is not None and known.config is config:
        return known
    with _lock:
        known = _clusters.get(role)
        if known is None or not _same(known.config, config):
            known = _clusters[role] = Cluster(config)
        return known


def _same(known: ClusterConfig, config: ClusterConfig) -> bool:
    """Compares by value too: a test runner gives the processes that it spawns copies."""
    return known is config or known == config


_roles: tuple[Any, int, tuple[str, ...]] = ({}, -1, ())


def roles() -> tuple[str, ...]:
    """The aliases of all clusters in DATABASES."""
    global _roles
    settings, count, found = _roles
    if settings is not connections.settings or count != len(settings):
        settings = connections.settings
        clusters = (cluster_of(alias) for alias in settings)
        found = tuple(dict.fromkeys(cluster.alias for cluster in clusters if cluster is not None))
        _roles = settings, len(settings), found
    return found


def clusters() -> list[Cluster]:
    """All clusters in DATABASES."""
    found = [cluster_of(alias) for alias in roles()]
    return [cluster for cluster in found if cluster is not None]


def clusters_met() -> list[Cluster]:
    """The clusters that this process has used."""
    with _lock:
        return list(_clusters.values())


def _renew_locks() -> None:
    """A lock that another thread held at the fork would never be released in the child."""
    global _lock
    _lock = threading.Lock()
    for cluster in _clusters.values():
        cluster._lock = threading.Lock()
        cluster.epochs.renew_lock()


os.register_at_fork(after_in_child=_renew_locks)

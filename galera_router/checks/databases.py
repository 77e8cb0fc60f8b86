"""DATABASES: made by expand(), and not changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.checks import CheckMessage
from django.db import connections

from galera_router.cluster.nodes import Cluster
from galera_router.conf import DEFAULT_PORT, DEFAULTS, cluster_config, did_you_mean, node_role

from .messages import error, listed, warning

FORMER_ENGINE = "galera.backends.readwritesplit"
#: What connections to the primary take from the node that it is, and not from DATABASES. The
#: test runner changes NAME, which is heeded.
_TAKEN = ("HOST", "PORT", "USER", "PASSWORD", "OPTIONS")


def check(found: list[Cluster]) -> list[CheckMessage]:
    """Aliases are as expand() has made them."""
    messages = [message for alias in connections.settings for message in _unexpanded(alias)]
    for cluster in found:
        for question in (_changed, _moved, _replaced, _atomic, _names, _beside, _cursors):
            messages += question(cluster)
    return messages


def _unexpanded(alias: str) -> list[CheckMessage]:
    settings = connections.settings[alias]
    messages = []
    if "NODES" in settings and cluster_config(settings) is None:
        messages.append(
            error(
                5,
                f"DATABASES[{alias!r}] has NODES, but has not been expanded: Django does not know"
                " what they are.",
                "Write DATABASES = galera_router.expand({...}) in the settings.",
            )
        )
    if settings.get("ENGINE") == FORMER_ENGINE:
        messages.append(
            error(
                6,
                f"DATABASES[{alias!r}] has the ENGINE {FORMER_ENGINE!r}, which belongs to"
                " django-galera.",
                'Write "ENGINE": "django.db.backends.mysql", and expand DATABASES:'
                " DATABASES = galera_router.expand({...}).",
            )
        )
    return messages


def _changed(cluster: Cluster) -> list[CheckMessage]:
    """The message shows no values, and no names of unknown options: they may be passwords."""
    now = connections.settings[cluster.alias]
    made = cluster.config.first.role_settings
    changed = [key for key in _TAKEN if key != "OPTIONS" and now.get(key) != made[key]]
    changed += [f"OPTIONS[{name!r}]{_meant(name)}" for name in _options_changed(now, made)]
    changed += ["NODES"] if "NODES" in now else []
    if not changed:
        return []
    return [
        error(
            4,
            f"DATABASES[{cluster.alias!r}] was changed after expand(), which has no effect:"
            f" {listed(changed)}.",
            "Change the argument of expand() instead of its result. For the current connection"
            " alone, options are attributes of django.db.connection.",
        )
    ]


def _moved(cluster: Cluster) -> list[CheckMessage]:
    """The cluster's alias does not look at the aliases of nodes: it would go elsewhere."""
    changed = [
        f"{node.alias!r} {key}"
        for node in cluster.config.nodes
        if node_role(now := connections.settings.get(node.alias, {})) == cluster.alias
        for key in ("HOST", "PORT")
        if now.get(key) != node.role_settings[key]
    ]
    if not changed:
        return []
    return [
        error(
            4,
            f"Aliases of nodes of {cluster.alias!r} were changed after expand(): {listed(changed)}."
            f" Reads go there, and writes to what {cluster.alias!r} has.",
            "Change NODES in the argument of expand() instead of its result.",
        )
    ]


def _options_changed(now: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    is_now, was = now.get("OPTIONS", {}), made["OPTIONS"]
    missing = object()
    names = {**was, **is_now}
    return [str(n) for n in names if is_now.get(n, missing) != was.get(n, missing)]


def _meant(name: str) -> str:
    hint = "" if name in DEFAULTS else did_you_mean(name, DEFAULTS)
    return hint and f" ({hint.strip()})"


def _replaced(cluster: Cluster) -> list[CheckMessage]:
    wrong = [
        alias
        for alias in cluster.config.node_aliases
        if alias not in connections.settings
        or node_role(connections.settings[alias]) != cluster.alias
    ]
    if not wrong:
        return []
    return [
        error(
            7,
            f"The aliases {listed(wrong)} of the nodes of {cluster.alias!r} are not those that"
            " expand() has made: their sessions may write.",
            "Leave them out of DATABASES, or give the node another name.",
        )
    ]


def _atomic(cluster: Cluster) -> list[CheckMessage]:
    wrong = [
        alias
        for alias in cluster.config.node_aliases
        if alias in connections.settings and connections.settings[alias].get("ATOMIC_REQUESTS")
    ]
    if not wrong:
        return []
    return [
        error(
            8,
            f"ATOMIC_REQUESTS is on for {listed(wrong)}, aliases of single nodes: every request"
            " would begin a transaction on each.",
            f"Set ATOMIC_REQUESTS on {cluster.alias!r}, before expand().",
        )
    ]


def _names(cluster: Cluster) -> list[CheckMessage]:
    names = {node.name: str(node.role_settings["NAME"]) for node in cluster.config.nodes}
    if len(set(names.values())) < 2:
        return []
    return [
        error(
            18,
            f"The nodes of {cluster.alias!r} have different NAMEs:"
            f" {listed([f'{node} {name!r}' for node, name in names.items()])}. Which database is"
            " used would depend on which node is.",
            "Write one NAME beside NODES: a database is on all nodes of a cluster.",
        )
    ]


def _beside(cluster: Cluster) -> list[CheckMessage]:
    """Aliases of somebody's own that lead to a node, past everything that is promised."""
    nodes = {_database(n.role_settings): n.name for n in cluster.config.nodes}
    wrong = [
        f"{alias!r} (node {nodes[_database(settings)]})"
        for alias in connections.settings
        if _is_own(settings := connections.settings[alias]) and _database(settings) in nodes
    ]
    if not wrong:
        return []
    return [
        warning(
            5,
            f"Aliases lead to nodes of {cluster.alias!r} and were not made by expand():"
            f" {listed(wrong)}. What is written there is not checked, replayed or routed.",
            f"Use {cluster.alias!r}. A node that is missing there belongs into its NODES.",
        )
    ]


def _cursors(cluster: Cluster) -> list[CheckMessage]:
    """A class is built upon; what a function makes cannot be."""
    made = cluster.config.first.role_settings["OPTIONS"].get("cursorclass")
    if made is None or isinstance(made, type):
        return []
    return [
        warning(
            15,
            f"The option cursorclass of {cluster.alias!r} is a function and no class: each"
            " statement goes to the primary, and none is replayed.",
            "Name a class that is built on one of MySQLdb.cursors.",
        )
    ]


def _is_own(settings: Mapping[str, Any]) -> bool:
    by_hand = cluster_config(settings) is None and node_role(settings) is None
    return by_hand and bool(settings.get("HOST")) and "mysql" in settings.get("ENGINE", "")


def _database(settings: Mapping[str, Any]) -> tuple[str, str, str]:
    host = str(settings["HOST"]).lower()
    port = "" if host.startswith("/") else str(settings.get("PORT") or DEFAULT_PORT)
    return host, port, str(settings.get("NAME"))

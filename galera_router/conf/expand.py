"""From the DATABASES that a user writes to those that Django reads: one alias per node.

Imported by settings modules, so ``expand`` looks only at its argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.core import checks
from django.db import connections

from galera_router.conf.config import CLUSTER_KEY, ROLE_KEY, plain_cluster, plain_copy
from galera_router.conf.nodes import (
    check_connection,
    check_engine,
    check_nodes,
    check_settings,
    connection_settings,
    mapping,
    node_alias_options,
    node_roles,
    role_options,
    server,
)
from galera_router.conf.options import DEFAULTS, from_text, split_options
from galera_router.conf.single import check_name, check_single, is_mysql
from galera_router.conf.texts import nearly, wrong
from galera_router.conf.urls import lift_settings, nodes_from_hosts, settings_from_url, with_commas

Path = tuple[object, ...]

APP = "galera_router"  # in INSTALLED_APPS
HOST_NODE = "host"  # the node that HOST names when it is none of NODES


def expand(databases: Mapping[str, Any]) -> dict[str, Any]:
    """Returns DATABASES for Django, with one alias per node of each database that has NODES.

    Such a database is a cluster, and its own alias leads to the primary. Databases without NODES
    stay as they are. A database may also be a URL, or have one as ``URL`` beside further settings;
    with several hosts it is a cluster. What ``env.db()`` makes of such a URL is accepted as well;
    a port in it is then the port of every host.

    The result is plain data, as long as the argument is: it can be copied, pickled, and read back
    from its ``repr()``. The argument is not changed.

    Args:
        databases: what the user writes, by alias.

    Raises `ConfigurationError`, which names the alias, the node and the key, if something is wrong.
    """
    if not isinstance(databases, Mapping):
        raise wrong((), f"must be a mapping of aliases, not {type(databases).__name__}.")
    if "NODES" in databases or isinstance(databases.get("ENGINE"), str):
        raise wrong((), "must be a mapping of aliases. Write {'default': {'ENGINE': …}}.")
    plain = {alias: _settings((alias,), value) for alias, value in databases.items()}
    result: dict[str, Any] = {}
    for alias, settings in plain.items():
        if "NODES" not in settings:
            check_single((alias,), settings)
        pairs = _cluster(alias, settings) if "NODES" in settings else [(alias, settings)]
        for new, expanded in pairs:
            if new in result or (new != alias and new in plain):
                raise wrong(
                    (alias, "NODES", new[len(str(alias)) + 1 :]),
                    f"needs the alias {new!r}, which is taken. Rename the node or the other alias.",
                )
            result[new] = expanded
            if CLUSTER_KEY in expanded:
                checks.register(check_installed, APP)  # harmless when repeated
    return result


def check_installed(**kwargs: Any) -> list[checks.CheckMessage]:
    """Returns E002 if DATABASES has a cluster but the app is not installed.

    The app's own checks cannot say so, because they are not run then.
    """
    found = [alias for alias in connections.settings if CLUSTER_KEY in connections.settings[alias]]
    if not found or apps.is_installed(APP):
        return []
    return [
        checks.Error(
            f"DATABASES has a Galera cluster, {', '.join(map(repr, found))}, but the app is not"
            " installed: everything goes to the first node, and there is no failover.",
            hint=f'Add "{APP}" to INSTALLED_APPS.',
            id="galera_router.E002",
        )
    ]


def _settings(path: Path, value: Any) -> dict[str, Any]:
    """Returns a copy of the settings of one alias, with URLs read."""
    if isinstance(value, str):
        value = {"URL": value}
    if not isinstance(value, Mapping):
        raise wrong(path, f"must be a mapping or a URL, not {type(value).__name__}.")
    settings: dict[str, Any] = plain_copy(value)
    if "URL" in settings:
        settings = _merge_url(path, settings)
    elif _has_host_list(settings):
        nodes = nodes_from_hosts((*path, "HOST"), with_commas(settings.pop("HOST")))
        settings = lift_settings(from_text(settings)) | {"NODES": nodes}
    check_name(path, settings)
    for key in settings:
        if key != "NODES" and str(key).upper() in ("NODES", "NODE"):
            raise wrong((*path, key), "is not a setting. Did you mean 'NODES'?")
    return settings


def _merge_url(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    url = settings.pop("URL")
    if not isinstance(url, str):
        raise wrong((*path, "URL"), f"must be text, not {type(url).__name__}.")
    parsed = settings_from_url((*path, "URL"), url)
    if "NODES" in parsed and "NODES" in settings:
        raise wrong((*path, "URL"), "names several hosts, and so does NODES. Keep one of them.")
    options = parsed.get("OPTIONS", {}) | mapping((*path, "OPTIONS"), settings.get("OPTIONS"))
    merged = {**parsed, **settings} | ({"OPTIONS": options} if options else {})
    ours = [name for name in options if name in DEFAULTS]
    if ours and "NODES" not in merged:
        raise wrong((*path, "URL"), f"names one host, but {ours[0]!r} is an option of a cluster.")
    return merged


def _has_host_list(settings: dict[str, Any]) -> bool:
    host = settings.get("HOST")
    several = isinstance(host, str) and "," in with_commas(host)
    return several and "NODES" not in settings and is_mysql(settings)


def _cluster(alias: Any, settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields alias and settings of the cluster itself, then of each node."""
    if not isinstance(alias, str):
        raise wrong((alias,), f"the alias of a cluster must be text, not {type(alias).__name__}.")
    engine = check_engine((alias, "ENGINE"), settings.get("ENGINE"))
    check_settings((alias,), settings)
    check_connection((alias,), settings)
    path = (alias, "OPTIONS")
    options, driver = split_options(path, engine, mapping(path, settings.get("OPTIONS")))
    common = settings | {"OPTIONS": driver}
    members = _members(alias, engine, common)
    outsider, preferred = _preferred(alias, engine, common, members)
    found = members | outsider
    autocommit = bool(settings.get("AUTOCOMMIT", True))
    roles = node_roles((alias, "NODES"), common["NODES"])
    roles |= {name: {"electable": False, "member": False} for name in outsider}
    nodes: list[dict[str, Any]] = [
        {
            "name": name,
            "alias": f"{alias}_{name}",
            "role_settings": _role_settings(connection, autocommit),
            **roles[name],
        }
        for name, connection in found.items()
    ]
    first = next(node for node in nodes if node["electable"])
    read_first = f"{alias}_{preferred}" if preferred else None
    inherited = {key: value for key, value in settings.items() if key != "NODES"}
    role = plain_copy(inherited | first["role_settings"])
    yield alias, role | {CLUSTER_KEY: plain_cluster(alias, nodes, read_first, options)}
    for name, connection in found.items():
        yield f"{alias}_{name}", _node_alias(alias, inherited, connection)


def _members(alias: str, engine: str, common: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns how to connect to each of NODES; `ConfigurationError` if two are the same server."""
    members: dict[str, dict[str, Any]] = {}
    seen: dict[object, str] = {}
    for name, node in check_nodes((alias, "NODES"), common["NODES"]).items():
        path = (alias, "NODES", name)
        members[name] = connection_settings(path, engine, common, node)
        other = seen.setdefault(server(members[name]), name)
        if other != name:
            raise wrong((*path, "HOST"), f"is the same server as node {other!r}. Keep one of them.")
    return members


def _preferred(
    alias: str, engine: str, common: dict[str, Any], members: dict[str, dict[str, Any]]
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Returns the node that HOST adds if it is none of ``members``, and the name to read first."""
    host = common.get("HOST")
    if not host:
        return {}, None
    own = connection_settings((alias,), engine, common, {"HOST": host})
    named = {name: server(node) for name, node in members.items()}
    same = [name for name, found in named.items() if found[0] == server(own)[0]]
    exact = [name for name in same if named[name][1] == server(own)[1]]
    if exact or (len(same) == 1 and not common.get("PORT")):
        return {}, (exact or same)[0]
    if same and not common.get("PORT"):
        raise wrong((alias, "HOST"), f"fits the nodes {', '.join(same)}. Add the PORT of one.")
    if host in members:  # a node's name, as django-galera reads it
        return {}, host
    if not re.search(r"[.:/]|^localhost$", host) and (name := nearly(host, members)):
        raise wrong(
            (alias, "HOST"),
            f"{host!r} is none of NODES. Did you mean {name!r}? Another server has to be written"
            " as an address, or with its domain.",
        )
    if HOST_NODE in members:
        raise wrong(
            (alias, "HOST"),
            f"is none of NODES and needs the name {HOST_NODE!r} for itself. Rename that node.",
        )
    return {HOST_NODE: own}, HOST_NODE


def _role_settings(connection: dict[str, Any], autocommit: bool) -> dict[str, Any]:
    return connection | {"OPTIONS": role_options(connection["OPTIONS"], autocommit=autocommit)}


def _node_alias(role: str, inherited: dict[str, Any], connection: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of a node's own alias: it only reads, and a test makes no database."""
    options = node_alias_options((role, "OPTIONS"), connection["OPTIONS"])
    settings: dict[str, Any] = plain_copy(inherited | connection)
    return settings | {
        "OPTIONS": options,
        "ATOMIC_REQUESTS": False,
        "AUTOCOMMIT": True,
        "TEST": {"MIRROR": role},
        ROLE_KEY: role,
    }

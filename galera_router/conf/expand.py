"""From the DATABASES that a user writes to those that Django reads: one alias per node.

Imported by settings modules, so it looks at nothing but its argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from galera_router.conf.installation import CLUSTER_KEY, watch
from galera_router.conf.node_settings import (
    check_connection,
    check_engine,
    check_nodes,
    check_settings,
    connection_settings,
    mapping,
    node_alias_options,
    role_options,
    server,
)
from galera_router.conf.options import (
    DEFAULTS,
    Options,
    check_option,
    from_text,
    split_options,
    wrong,
)
from galera_router.conf.urls import is_mysql, lift_settings, nodes_from_hosts, settings_from_url

__all__ = [
    "DEFAULTS",
    "ClusterConfig",
    "NodeConfig",
    "Options",
    "check_option",
    "cluster_config",
    "expand",
    "node_role",
]

Path = tuple[object, ...]

ROLE_KEY = "GALERA_ROLE"
HOST_NODE = "host"  # the node that HOST names when it is none of NODES


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node of a cluster.

    ``name``: as in NODES. ``alias``: its own alias. ``role_settings``: HOST, PORT, USER, PASSWORD,
    NAME and OPTIONS that the role's alias has while this node is the primary. ``electable``: may
    become the primary.
    """

    name: str
    alias: str
    role_settings: dict[str, Any] = field(repr=False, hash=False)
    electable: bool = True


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """A cluster behind one role alias.

    ``nodes``: in the order of NODES, so the preferred primary first. ``preferred``: the alias of
    the node to read from first, None for any.
    """

    alias: str
    nodes: tuple[NodeConfig, ...]
    preferred: str | None
    options: Options

    @property
    def node_aliases(self) -> tuple[str, ...]:
        """The aliases of all nodes, in their order."""
        return tuple(node.alias for node in self.nodes)

    def node(self, alias: str) -> NodeConfig:
        """The node with this alias; raises `KeyError` if this cluster has none."""
        for node in self.nodes:
            if node.alias == alias:
                return node
        raise KeyError(alias)


def cluster_config(settings_dict: Mapping[str, Any]) -> ClusterConfig | None:
    """The cluster behind the settings of an alias; None if that is no cluster's role."""
    config = settings_dict.get(CLUSTER_KEY)
    return config if isinstance(config, ClusterConfig) else None


def node_role(settings_dict: Mapping[str, Any]) -> str | None:
    """The role alias that a node's alias belongs to; None if that is no node's alias."""
    role = settings_dict.get(ROLE_KEY)
    return role if isinstance(role, str) else None


def expand(databases: Mapping[str, Any]) -> dict[str, Any]:
    """DATABASES for Django, with one alias per node of each database that has NODES.

    The alias itself stays and leads to the primary. Databases without NODES pass as they are. A
    database may also be a URL, or have one as ``URL`` beside further settings; with several hosts
    it is a cluster, and so is what ``env.db()`` makes of such a URL (there PORT is every host's).

    Raises `ConfigurationError`, naming the alias, the node and the key, for what is wrong.
    The argument is not changed.
    """
    if not isinstance(databases, Mapping):
        raise wrong((), f"must be a mapping of aliases, not {type(databases).__name__}.")
    if "NODES" in databases or isinstance(databases.get("ENGINE"), str):
        raise wrong((), "must be a mapping of aliases. Write {'default': {'ENGINE': …}}.")
    plain = {alias: _settings((alias,), value) for alias, value in databases.items()}
    result: dict[str, Any] = {}
    for alias, settings in plain.items():
        pairs = _cluster(alias, settings) if "NODES" in settings else [(alias, settings)]
        for new, expanded in pairs:
            if new in result or (new != alias and new in plain):
                raise wrong(
                    (alias, "NODES", new[len(str(alias)) + 1 :]),
                    f"needs the alias {new!r}, which is taken. Rename the node or the other alias.",
                )
            result[new] = expanded
            if CLUSTER_KEY in expanded:
                watch()
    return result


def _settings(path: Path, value: Any) -> dict[str, Any]:
    """The settings of one alias, URLs read, in containers of their own."""
    if isinstance(value, str):
        value = {"URL": value}
    if not isinstance(value, Mapping):
        raise wrong(path, f"must be a mapping or a URL, not {type(value).__name__}.")
    settings: dict[str, Any] = _copy(value)
    if "URL" in settings:
        settings = _merge_url(path, settings)
    elif _has_host_list(settings):
        nodes = nodes_from_hosts((*path, "HOST"), settings.pop("HOST"))
        settings = lift_settings(from_text(settings)) | {"NODES": nodes}
    for key in settings:
        if key != "NODES" and str(key).upper() in ("NODES", "NODE"):
            raise wrong((*path, key), "is not a setting. Did you mean 'NODES'?")
    return settings


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


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
    return "NODES" not in settings and isinstance(host, str) and "," in host and is_mysql(settings)


def _cluster(alias: Any, settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The role and then its nodes, as pairs of alias and settings."""
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
    connections = members | outsider
    autocommit = bool(settings.get("AUTOCOMMIT", True))
    nodes = tuple(
        NodeConfig(name, f"{alias}_{name}", _role_settings(found, autocommit), name in members)
        for name, found in connections.items()
    )
    read_first = f"{alias}_{preferred}" if preferred else None
    inherited = {key: value for key, value in settings.items() if key != "NODES"}
    yield (
        alias,
        {
            **_copy(inherited | nodes[0].role_settings),
            CLUSTER_KEY: ClusterConfig(alias, nodes, read_first, options),
        },
    )
    for node in nodes:
        yield node.alias, _node_alias(alias, inherited, connections[node.name])


def _members(alias: str, engine: str, common: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """How to connect to each of NODES; raises `ConfigurationError` if two are one server."""
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
    """The node that HOST makes of its own if it is none of ``members``, and which to read first."""
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
    if HOST_NODE in members:
        raise wrong(
            (alias, "HOST"),
            f"is none of NODES and needs the name {HOST_NODE!r} for itself. Rename that node.",
        )
    return {HOST_NODE: own}, HOST_NODE


def _role_settings(connection: dict[str, Any], autocommit: bool) -> dict[str, Any]:
    return connection | {"OPTIONS": role_options(connection["OPTIONS"], autocommit=autocommit)}


def _node_alias(role: str, inherited: dict[str, Any], connection: dict[str, Any]) -> dict[str, Any]:
    """The settings of a node's own alias: reads only, and no database of its own to a test."""
    options = node_alias_options((role, "OPTIONS"), connection["OPTIONS"])
    settings: dict[str, Any] = _copy(inherited | connection)
    return settings | {
        "OPTIONS": options,
        "ATOMIC_REQUESTS": False,
        "AUTOCOMMIT": True,
        "TEST": {"MIRROR": role},
        ROLE_KEY: role,
    }

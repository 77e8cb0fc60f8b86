"""A cluster's configuration: plain data in DATABASES, frozen objects for the rest of the package.

``expand`` leaves only plain data in the settings, so that they can be copied, pickled, written out
with ``repr()`` and read back. The objects are built from that data on first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from galera_router.conf.options import Options

CLUSTER_KEY = "GALERA"  # in the settings of a cluster's alias: what plain_cluster() returns
ROLE_KEY = "GALERA_ROLE"  # in the settings of a node's alias: the cluster's alias


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node of a cluster.

    Attributes:
        name: its name in NODES.
        alias: its own alias in DATABASES.
        role_settings: HOST, PORT, USER, PASSWORD, NAME and OPTIONS of the cluster's alias while
            this node is the primary. Not shown by ``repr()``, because of the password.
        electable: True if it may become the primary.
        weight: its share of the reads; 0: it is read from only if nothing else is well.
        zone: the zone that it is in; None: in none.
        member: True if it is one of NODES, False if HOST has added it.
    """

    name: str
    alias: str
    role_settings: dict[str, Any] = field(repr=False, hash=False)
    electable: bool = True
    weight: float = 1.0
    zone: str | None = None
    member: bool = True


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """A cluster behind one alias.

    Attributes:
        alias: the cluster's alias in DATABASES, which leads to the primary.
        nodes: in the order of NODES, in which they are preferred as primary.
        preferred: the alias of the node to read from first; None for any.
        options: our own options.
    """

    alias: str
    nodes: tuple[NodeConfig, ...]
    preferred: str | None
    options: Options

    @property
    def node_aliases(self) -> tuple[str, ...]:
        """The aliases of all nodes, in their order."""
        return tuple(node.alias for node in self.nodes)

    @property
    def first(self) -> NodeConfig:
        """The preferred primary, whose settings the cluster's alias has."""
        return next(node for node in self.nodes if node.electable)

    def node(self, alias: str) -> NodeConfig:
        """Returns the node with this alias; raises `KeyError` if this cluster has none."""
        for node in self.nodes:
            if node.alias == alias:
                return node
        raise KeyError(alias)


def plain_cluster(
    alias: str,
    nodes: list[dict[str, Any]],
    preferred: str | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the data from which :func:`cluster_config` builds a `ClusterConfig`.

    Args:
        alias: the cluster's alias.
        nodes: the attributes of each `NodeConfig`.
        preferred: the alias of the node to read from first; None for any.
        options: our own options, as far as the user has set them.
    """
    data = {"alias": alias, "nodes": nodes, "preferred": preferred, "options": options}
    return {key: plain_copy(value) for key, value in data.items()}


def plain_copy(value: Any) -> Any:
    """Returns ``value`` with its mappings and lists copied, as dicts and lists."""
    if isinstance(value, Mapping):
        return {key: plain_copy(item) for key, item in value.items()}
    return [plain_copy(item) for item in value] if isinstance(value, list) else value


#: For each cluster's alias, the data that was last seen there, and what was built from it. Each
#: change is one atomic step, so no lock is needed, and a fork finds nothing half done.
_built: dict[str, tuple[dict[str, Any], ClusterConfig]] = {}


def cluster_config(settings_dict: Mapping[str, Any]) -> ClusterConfig | None:
    """Returns the cluster whose alias has these settings; None if they are not a cluster's.

    Equal data give the same object, so copies of the settings (a test runner hands them to the
    processes that it spawns) lead to the same cluster. Data that were seen once are not read
    again: to change them in place has no effect.
    """
    if CLUSTER_KEY not in settings_dict:
        return None
    data = settings_dict[CLUSTER_KEY]
    try:
        known, config = _built[data["alias"]]
    except (KeyError, TypeError):
        return _build(data)
    return config if known is data else _build(data)


def _build(data: Any) -> ClusterConfig | None:
    if not isinstance(data, dict) or not data.keys() >= {"alias", "nodes", "preferred", "options"}:
        return None  # somebody else's setting of this name
    nodes = tuple(NodeConfig(**plain_copy(node)) for node in data["nodes"])
    new = ClusterConfig(data["alias"], nodes, data["preferred"], Options(**data["options"]))
    _, known = _built.setdefault(new.alias, (data, new))
    config = known if known == new else new
    _built[new.alias] = data, config
    return config


def node_role(settings_dict: Mapping[str, Any]) -> str | None:
    """Returns the alias of the cluster that a node's alias belongs to; None for other aliases."""
    role = settings_dict.get(ROLE_KEY)
    return role if isinstance(role, str) else None

"""How to connect to each node of a cluster: its settings, checked, with those that it inherits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from galera_router.conf.driver import STRICT_ENGINES
from galera_router.conf.options import DEFAULTS, check_boolean, check_zone, node_options
from galera_router.conf.single import check_scheme
from galera_router.conf.texts import did_you_mean, words, wrong

Path = tuple[object, ...]

CONNECT_TIMEOUT = 2  # seconds
DEFAULT_PORT = 3306
READ_ONLY_SESSION = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

CONNECTION_KEYS = ("HOST", "PORT", "USER", "PASSWORD", "NAME", "OPTIONS")
#: What a node is used for; it is not inherited from beside NODES.
ROLE_KEYS = ("ELECTABLE", "WEIGHT", "ZONE")
NODE_KEYS = CONNECTION_KEYS + ROLE_KEYS
MOST_WEIGHT = 1_000_000
_CLUSTER_KEYS = words(
    "ENGINE ATOMIC_REQUESTS AUTOCOMMIT CONN_MAX_AGE CONN_HEALTH_CHECKS TIME_ZONE TEST NODES URL"
    " DISABLE_SERVER_SIDE_CURSORS"
)
#: What other programs call these settings.
_OTHER_NAMES = {
    "USERNAME": "USER", "PASS": "PASSWORD", "PWD": "PASSWORD",
    "DATABASE": "NAME", "DB": "NAME", "DBNAME": "NAME", "DB_NAME": "NAME", "SCHEMA": "NAME",
    "HOSTNAME": "HOST", "ADDRESS": "HOST", "IP": "HOST", "SERVER": "HOST", "SOCKET": "HOST",
    "HOSTS": "NODES", "SERVERS": "NODES",
}  # fmt: skip
BOOLEAN_SETTINGS = ("ATOMIC_REQUESTS", "AUTOCOMMIT", "CONN_HEALTH_CHECKS")
_NODE_NAME = re.compile(r"[A-Za-z0-9_]+")
_PORT_TEXT = re.compile(r"[0-9]{1,9}")
_NOT_MARIADB = words(
    "sqlite3 spatialite postgresql postgresql_psycopg2 postgis oracle mssql pyodbc dummy"
)
_STOCK = "Write 'django.db.backends.mysql', or an engine built on it."


def check_engine(path: Path, engine: Any) -> str:
    """Returns ``engine`` if it can be one for MariaDB through mysqlclient; refuses others."""
    if not engine:
        raise wrong(path, f"is missing. {_STOCK}")
    if not isinstance(engine, str):
        raise wrong(path, f"must be text, not {type(engine).__name__}. {_STOCK}")
    if engine.partition(".")[0] in ("galera", "galera_router"):
        raise wrong(path, f"{engine!r}: use Django's own engine. {_STOCK}")
    check_scheme(path, engine)
    if engine.rpartition(".")[2] in _NOT_MARIADB or engine.startswith("mysql.connector"):
        raise wrong(path, f"{engine!r} does not connect to MariaDB with mysqlclient. {_STOCK}")
    django = engine.startswith("django.db.") or "." not in engine
    if django and engine not in STRICT_ENGINES:
        raise wrong(path, f"{engine!r} is not one of Django's engines. {_STOCK}")
    return engine


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuses settings beside NODES that Django would ignore or misunderstand."""
    known = _CLUSTER_KEYS | set(CONNECTION_KEYS)
    for key in settings:
        if key in known:
            continue
        if key in ROLE_KEYS:
            ours = " This process's own zone is the option 'zone'." if key == "ZONE" else ""
            raise wrong((*path, key), f"belongs to a node. Move it into NODES.{ours}")
        if str(key).lower() in DEFAULTS:
            raise wrong((*path, key), f"is an option. Move it into OPTIONS: {str(key).lower()!r}.")
        if hint := _meant(key, known):
            raise wrong((*path, key), "is not a setting." + hint)
    for key in BOOLEAN_SETTINGS:
        if isinstance(settings.get(key), str):
            raise wrong((*path, key), "must be True or False, not text.")
    _check_age((*path, "CONN_MAX_AGE"), settings.get("CONN_MAX_AGE"))
    _check_time_zone((*path, "TIME_ZONE"), settings.get("TIME_ZONE"))
    mapping((*path, "TEST"), settings.get("TEST"))


def _check_age(path: Path, age: Any) -> None:
    if age is None:
        return
    if isinstance(age, str):
        raise wrong(path, f"must be a number or None, not the text {age!r}.")
    if isinstance(age, bool) or not isinstance(age, (int, float)):
        raise wrong(path, f"must be a number of seconds or None, not {type(age).__name__}.")
    if not age >= 0:  # NaN is not
        raise wrong(path, "must be 0 or more. Write None for connections that stay open.")


def _check_time_zone(path: Path, name: Any) -> None:
    if name is None:
        return
    if not isinstance(name, str):
        raise wrong(path, f"must be text or None, not {type(name).__name__}.")
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise wrong(path, f"{name!r} is no time zone. Write one such as 'Europe/Paris'.") from None


def _meant(key: object, known: Iterable[str]) -> str:
    """Returns a hint at the one of ``known`` that is meant by ``key``; no text if none is."""
    other = _OTHER_NAMES.get(str(key).upper())
    if other is not None and other in known:
        return f" Did you mean {other!r}?"
    return did_you_mean(key, known)


def check_nodes(path: Path, nodes: Any) -> dict[str, dict[str, Any]]:
    """Returns ``nodes`` if it is a mapping of valid names to mappings, and not empty."""
    form = "Write {'db1': {'HOST': '10.0.1.2'}, 'db2': {'HOST': '10.0.1.3'}}."
    if not isinstance(nodes, Mapping):
        raise wrong(
            path, f"must be a mapping of names to nodes, not {type(nodes).__name__}. {form}"
        )
    if not nodes:
        raise wrong(path, f"is empty. {form}")
    for name, node in nodes.items():
        if name in _CLUSTER_KEYS or name in NODE_KEYS or name in DEFAULTS:
            raise wrong((*path, name), f"is not a node. Move it {_place(name)}.")
        if not isinstance(name, str) or not _NODE_NAME.fullmatch(name):
            raise wrong((*path, name), "is not a valid name for a node. Use letters, digits and _.")
        if not isinstance(node, Mapping):
            raise wrong(
                (*path, name),
                f"must be a mapping such as {{'HOST': '10.0.1.2'}}, not {type(node).__name__}.",
            )
    return dict(nodes)


def _place(key: str) -> str:
    if key in ROLE_KEYS:
        return "into a node"
    return "into OPTIONS beside NODES" if key in DEFAULTS else "beside NODES"


def mapping(path: Path, value: Any) -> dict[str, Any]:
    """Returns ``value`` as a dict if it is a mapping; an empty one for None."""
    if value is not None and not isinstance(value, Mapping):
        raise wrong(path, f"must be a mapping, not {type(value).__name__}.")
    return dict(value or {})


def check_connection(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuses a HOST, PORT, USER, PASSWORD or NAME of a wrong type; None counts as missing."""
    for key in ("HOST", "USER", "PASSWORD", "NAME"):
        value = settings.get(key)
        kinds = (str, PurePath) if key == "NAME" else (str,)
        if value is not None and not isinstance(value, kinds):
            raise wrong((*path, key), f"must be text, not {type(value).__name__}.")
    _check_host((*path, "HOST"), settings.get("HOST") or "")
    _check_port((*path, "PORT"), settings.get("PORT"))


def _check_host(path: Path, host: str) -> None:
    """Its text is not shown: if it is a URL, it contains a password."""
    if "," in host:
        raise wrong(path, "must be one host. The hosts of a cluster are its NODES.")
    if host.startswith("/") or not host.strip():
        return
    if "://" in host or "@" in host:
        raise wrong(path, "must be only a host. Write a URL as URL, and a user as USER.")
    if any(character.isspace() for character in host):
        raise wrong(path, "contains white space.")
    if ";" in host or "|" in host:
        raise wrong(path, "must be one host. The hosts of a cluster are its NODES.")
    if "[" in host or "]" in host:
        raise wrong(path, "must be an address without brackets. Write the port as PORT.")
    if host.count(":") == 1:
        raise wrong(path, "must be only a host. Write what follows the colon as PORT.")


def _check_port(path: Path, port: Any) -> None:
    if port is None or port == "":
        return
    if isinstance(port, bool) or not isinstance(port, (int, str)):
        raise wrong(path, f"must be a number, not {type(port).__name__}.")
    if isinstance(port, str) and not _PORT_TEXT.fullmatch(port):
        raise wrong(path, "must be a number from 1 to 65535, not another text.")
    if not 1 <= int(port) <= 65535:
        raise wrong(path, f"must be a number from 1 to 65535, not {port}.")


def connection_settings(
    path: Path, engine: str, base: Mapping[str, Any], node: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns HOST, PORT, USER, PASSWORD, NAME and OPTIONS of ``node``, inherited from ``base``."""
    _check_keys(path, node)
    check_connection(path, node)
    if not (node.get("HOST") or "").strip():
        raise wrong((*path, "HOST"), "is missing. Write the node's host, address or socket path.")
    options = node_options(
        (*path, "OPTIONS"), engine, mapping((*path, "OPTIONS"), node.get("OPTIONS"))
    )
    merged = {key: node[key] if key in node else base.get(key) for key in CONNECTION_KEYS}
    merged = {key: "" if value is None else value for key, value in merged.items()}
    return merged | {"OPTIONS": {**base["OPTIONS"], **options}}


def node_roles(path: Path, nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns what each of ``nodes`` is used for: its attributes electable, weight and zone."""
    roles = {name: _node_role((*path, name), node) for name, node in nodes.items()}
    if not any(role["electable"] for role in roles.values()):
        raise wrong(path, "has no node that may be primary: ELECTABLE is False for all of them.")
    return roles


def _node_role(path: Path, node: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "electable": check_boolean((*path, "ELECTABLE"), node.get("ELECTABLE", True)),
        "weight": _check_weight((*path, "WEIGHT"), node.get("WEIGHT", 1)),
        "zone": check_zone((*path, "ZONE"), node.get("ZONE")),
    }


def _check_weight(path: Path, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise wrong(path, f"must be a number, not {type(weight).__name__}.")
    if not 0 <= weight <= MOST_WEIGHT:  # NaN is not
        raise wrong(path, f"must be a number from 0 to {MOST_WEIGHT}.")
    return float(weight)


def _check_keys(path: Path, node: Mapping[str, Any]) -> None:
    for key in node:
        if key in NODE_KEYS:
            continue
        if key in _CLUSTER_KEYS:
            raise wrong((*path, key), "belongs to the whole cluster. Move it beside NODES.")
        hint = _meant(key, NODE_KEYS) or f" A node has {', '.join(NODE_KEYS)}."
        raise wrong((*path, key), "is not a setting of a node." + hint)


def server(settings: Mapping[str, Any]) -> tuple[str, int | None, str]:
    """Returns host, port and the driver's own socket, which together identify a server."""
    host = settings["HOST"]
    socket = str(settings["OPTIONS"].get("unix_socket") or "")
    if host.startswith("/"):
        return host, None, socket
    return host.lower(), int(settings["PORT"] or DEFAULT_PORT), socket


def role_options(options: Mapping[str, Any], *, autocommit: bool) -> dict[str, Any]:
    """Returns ``options`` with our defaults, for the cluster's alias.

    Without ``autocommit`` the driver turns it off on connecting, and Django turns it on again.
    """
    ours = {"connect_timeout": CONNECT_TIMEOUT} | ({"autocommit": True} if autocommit else {})
    return {**ours, **options}


def node_alias_options(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``options`` for a node's own alias: its session is read-only and repeatable."""
    return {
        **role_options(options, autocommit=True),
        "autocommit": True,
        "isolation_level": None,
        "init_command": _init_command(path, options),
    }


def _init_command(path: Path, options: Mapping[str, Any]) -> str:
    """Returns the user's init_command followed by ours, so that the user's cannot undo ours.

    The client library silently drops an error in the second and later statements, together with
    all that follow. After several statements of the user ours might never run: it also runs first.
    """
    command = options.get("init_command") or ""
    if not isinstance(command, str):
        raise wrong((*path, "init_command"), f"must be text, not {type(command).__name__}.")
    command = command.strip().rstrip("; \t\r\n")
    if not command:
        return READ_ONLY_SESSION
    if not options.get("multi_statements", True):
        raise wrong(
            (*path, "multi_statements"),
            "must not be False beside an init_command: a node's session begins with one of ours.",
        )
    first = f"{READ_ONLY_SESSION}; " if ";" in command else ""
    return f"{first}{command}\n; {READ_ONLY_SESSION}"  # a comment in it ends with its line

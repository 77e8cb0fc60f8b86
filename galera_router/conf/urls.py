"""A database, or a cluster with several hosts, written as one URL; django-environ reads it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from galera_router.conf.options import from_text, wrong
from galera_router.exceptions import ConfigurationError

Path = tuple[object, ...]

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/?#]*@)?(?P<hosts>[^/?#@]*)(?P<tail>.*)",
    re.DOTALL,
)
_HOST = re.compile(
    r"\[(?P<address>[^\]]*)\](?::(?P<port6>.*))?|(?P<host>[^:[\]]*)(?::(?P<port>.*))?"
)
# Query parameters that are settings of the cluster; django-environ knows its own.
_SETTINGS = frozenset({"HOST", "TIME_ZONE"})


def settings_from_url(path: Path, url: str) -> dict[str, Any]:
    """Returns the settings that ``url`` means; with NODES if it names several MySQL hosts.

    ``mysql://user:p%40ss@10.0.1.2,10.0.1.3:3307,[fd00::3]/name?failover_enable=false``. A port
    belongs to the host before it. The nodes are called db1, db2, … in their order. A socket is
    written as ``%2Frun%2Fmysqld%2Fmysqld.sock``.

    Raises `ConfigurationError` if the URL cannot be read or django-environ is missing. The error
    never shows the URL, because of the password.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise wrong(path, "must be a URL such as mysql://user:password@db1,db2,db3/name.")
    hosts = match["hosts"]
    if "," not in hosts and not hosts.upper().startswith("%2F"):
        return _typed(_parse(path, url))
    if match["user"] is None and "@" in match["tail"]:
        raise _unreadable(path)  # what looks like hosts is a part of the password
    one = _parse(path, f"{match['scheme']}{match['user'] or ''}host{match['tail']}")
    if not is_mysql(one):
        return _parse(path, url)
    if "," in hosts:
        del one["HOST"]
        return lift_settings(_typed(one) | {"NODES": nodes_from_hosts(path, hosts)})
    return _typed(one | host_settings(path, hosts))


def is_mysql(settings: dict[str, Any]) -> bool:
    """Returns True if ENGINE is for MySQL and MariaDB, by its name."""
    engine = settings.get("ENGINE")
    return isinstance(engine, str) and "mysql" in engine.lower()


def nodes_from_hosts(path: Path, hosts: str) -> dict[str, dict[str, Any]]:
    """Returns NODES for a list of hosts with commas between them.

    Each is ``host``, ``host:port``, ``[address]:port`` or the path of a socket.
    """
    return {
        f"db{number}": host_settings((*path, f"host {number}"), host)
        for number, host in enumerate(hosts.split(","), 1)
    }


def host_settings(path: Path, text: str) -> dict[str, Any]:
    """Returns the HOST of one host, and its PORT if there is one."""
    host = unquote(text).strip()
    if host.startswith("/"):
        return {"HOST": host}
    if host.count(":") > 1 and not host.startswith("["):
        return {"HOST": host}  # a bare IPv6 address
    match = _HOST.fullmatch(host)
    name = match and (match["address"] or match["host"])
    if match is None or not name:
        raise wrong(path, "is empty or not a host. Write host, host:port or [address]:port.")
    port = match["port6"] if match["port"] is None else match["port"]
    return {"HOST": name} if port is None else {"HOST": name, "PORT": port}


def lift_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns ``settings`` with settings from a URL's query moved from OPTIONS to their place."""
    options = dict(settings.get("OPTIONS", {}))
    lifted = {name: options.pop(name) for name in list(options) if name in _SETTINGS}
    return {**settings, **lifted, "OPTIONS": options}


def _typed(settings: dict[str, Any]) -> dict[str, Any]:
    return from_text(settings) if is_mysql(settings) else settings


def _parse(path: Path, url: str) -> dict[str, Any]:
    try:
        from environ import Env
    except ImportError:
        raise ConfigurationError(
            "A database is given as a URL, which needs the package django-environ:"
            " pip install django-environ."
        ) from None
    try:
        settings: dict[str, Any] = Env.db_url_config(url)
    except ValueError:
        raise _unreadable(path) from None
    return settings


def _unreadable(path: Path) -> ConfigurationError:
    """Does not show the URL or the parser's message: both may contain a part of the password."""
    return wrong(
        path, "is a URL that cannot be read. Percent-encode special characters in its parts."
    )

"""A database, or a cluster with several hosts, written as one URL; django-environ reads it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

from galera_router.conf.options import from_text
from galera_router.conf.single import is_mysql
from galera_router.conf.texts import wrong
from galera_router.exceptions import ConfigurationError

Path = tuple[object, ...]

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<user>[^/?]*@)?(?P<hosts>[^/?#@]*)"
    r"(?P<path>[^?]*)(?P<query>.*)",
    re.DOTALL,
)
_SEPARATORS = re.compile(r"[;|]|[^\s,]\s+[^\s,]")
#: What may stand in a user and a password as it is, though django-environ would stop there.
_RAW = {ord(character): quote(character) for character in "#[] "}
#: MariaDB's connectors have it; Django's engine is the same one.
_SCHEMES = {"mariadb": "mysql"}
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
    scheme, hosts = match["scheme"].lower(), with_commas(match["hosts"])
    scheme = _SCHEMES.get(scheme, scheme)
    if not is_mysql(_parse(path, f"{scheme}:///name")):
        _check_scheme(path, scheme, hosts)
        return _parse(path, url)
    _check_parts(path, match)
    start, end = f"{scheme}://{(match['user'] or '').translate(_RAW)}", match["path"]
    end += match["query"]
    if "," not in hosts and not hosts.upper().startswith("%2F"):
        return from_text(_parse(path, f"{start}{hosts}{end}"))
    one = _parse(path, f"{start}host{end}")
    if "," in hosts:
        del one["HOST"]
        return lift_settings(from_text(one) | {"NODES": nodes_from_hosts(path, hosts)})
    return from_text(one | host_settings(path, hosts))


def with_commas(hosts: str) -> str:
    """Returns ``hosts`` with its commas as they are: no name and no path of a socket has one."""
    return re.sub("%2c", ",", hosts, flags=re.IGNORECASE)


def _check_scheme(path: Path, scheme: str, hosts: str) -> None:
    """Refuses several hosts if nobody knows what database they are of."""
    from environ import Env

    if "," in hosts and scheme not in Env.DB_SCHEMES:
        raise wrong(path, f"has the scheme {scheme!r}, which is none. Write mysql://.")


def _check_parts(path: Path, match: re.Match[str]) -> None:
    """Refuses what is special in the password, or between hosts, and would be read otherwise."""
    behind = match["path"] + match["query"]
    if "@" in match["path"] or "#" in behind or (match["user"] is None and "@" in behind):
        raise _unreadable(path)  # what looks like hosts or a name is a part of the password
    if _SEPARATORS.search(match["hosts"].strip()):
        raise wrong(path, "has another separator between its hosts than commas. Write db1,db2,db3.")


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
        path,
        "is a URL that cannot be read. Percent-encode special characters in its parts: %2F for /,"
        " %3F for ?, %23 for #, %40 for @.",
    )

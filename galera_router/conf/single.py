"""A database without NODES: refused if a cluster was meant, for it would silently be none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from galera_router.conf.options import DEFAULTS
from galera_router.conf.texts import wrong

Path = tuple[object, ...]

_FORM = "Write NODES: {'db1': {'HOST': …}, 'db2': {'HOST': …}}."
_SEPARATORS = re.compile(r"[\s;|]")


def is_mysql(settings: Mapping[str, Any]) -> bool:
    """Returns True if ENGINE is for MySQL and MariaDB, by its name."""
    engine = settings.get("ENGINE")
    return isinstance(engine, str) and "mysql" in engine.lower()


def check_single(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuses the settings of a database if they are those of a cluster, or of a URL misread."""
    check_scheme((*path, "ENGINE"), settings.get("ENGINE"))
    if is_mysql(settings):
        _check_host((*path, "HOST"), settings.get("HOST"))
        _check_options(path, settings.get("OPTIONS"))
        if "HOSTS" in settings:
            raise wrong((*path, "HOSTS"), f"is not a setting. {_FORM}")


def check_scheme(path: Path, engine: Any) -> None:
    """Refuses what a URL's scheme leaves in ENGINE if nobody knows it."""
    if isinstance(engine, str) and re.fullmatch(r"mariadb|jdbc|(mariadb|mysql)\+\w+", engine):
        raise wrong(
            path,
            f"{engine!r} is no ENGINE. Write 'django.db.backends.mysql', in a URL 'mysql://'.",
        )


def check_name(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuses what a URL leaves in NAME if the password in it has a raw ``/``.

    The name is not shown: it has a part of the password.
    """
    name = settings.get("NAME")
    if not (is_mysql(settings) and isinstance(name, str)):
        return
    _, at, behind = name.partition("@")
    if at and (not settings.get("USER") or "/" in behind or "," in behind):
        raise wrong(
            (*path, "NAME"),
            "has an @, as the rest of a URL that was misread. Percent-encode what is special in"
            " the URL's user and password: %2F for /, %23 for #, %40 for @.",
        )


def _check_host(path: Path, host: Any) -> None:
    if isinstance(host, (list, tuple, set)):
        raise wrong(path, f"must be one host, not {type(host).__name__}. {_FORM}")
    if isinstance(host, str) and not host.startswith("/") and _SEPARATORS.search(host.strip()):
        raise wrong(
            path, "must be one host. Separate the hosts of a cluster with commas, or write NODES."
        )


def _check_options(path: Path, options: Any) -> None:
    if not isinstance(options, Mapping):
        return
    if "NODES" in options:
        raise wrong((*path, "OPTIONS", "NODES"), "is not an option. Move it out of OPTIONS.")
    ours = [name for name in options if name in DEFAULTS]
    if ours:
        raise wrong(
            (*path, "OPTIONS", ours[0]), f"is an option of a cluster, and NODES is missing. {_FORM}"
        )

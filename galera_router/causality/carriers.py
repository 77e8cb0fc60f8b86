"""How a client carries its token from one request to the next: a cookie, or a header.

The settings follow Django's: ``GALERA_COOKIE_NAME``, ``_AGE``, ``_DOMAIN``, ``_PATH``,
``_SAMESITE`` and ``_SECURE``, of which all but the first two are by default those of the
session's cookie; and ``GALERA_HEADER_NAME``. A name of None turns that carrier off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from galera_router.causality.after import accepted
from galera_router.cluster.position import Position
from galera_router.exceptions import ConfigurationError

#: Seconds for which a token is kept: a node that lags for longer is out of step, and not read.
AGE = 300
COOKIE, HEADER = "galera", "X-Galera-Token"

_ATTRIBUTES = ("DOMAIN", "PATH", "SAMESITE", "SECURE")
_NAMES = frozenset({f"GALERA_COOKIE_{name}" for name in ("NAME", "AGE", *_ATTRIBUTES)})
NAMES = _NAMES | {"GALERA_HEADER_NAME"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SAMESITE = ("lax", "strict", "none")


@dataclass(frozen=True)
class Carrier:
    """Cookie and header of all clusters.

    ``cookie``, ``header``: the names for the default cluster; None: not used. ``age``: seconds.
    ``attributes``: further arguments of ``response.set_cookie``.
    """

    cookie: str | None
    header: str | None
    age: int
    attributes: Mapping[str, Any]

    def read(self, request: HttpRequest, aliases: tuple[str, ...]) -> dict[str, Position]:
        """The positions that ``request`` names, by alias; a foreign or old token is ignored."""
        found = [
            text
            for alias in aliases
            for text in (self._from_cookie(request, alias), self._from_header(request, alias))
            if text
        ]
        return accepted(found, self.age) if found else {}

    def write(self, response: HttpResponseBase, tokens: Mapping[str, str]) -> None:
        """Put ``tokens``, by alias, into ``response``; without any it is left as it is."""
        for alias, token in tokens.items():
            vary = []
            if self.cookie:
                name = _named(self.cookie, alias, "_")
                response.set_cookie(name, token, max_age=self.age, httponly=True, **self.attributes)
                vary.append("Cookie")
            if self.header:
                name = _named(self.header, alias, "-")
                response.headers[name] = token
                vary.append(name)
            patch_vary_headers(response, vary)

    def _from_cookie(self, request: HttpRequest, alias: str) -> str | None:
        return request.COOKIES.get(_named(self.cookie, alias, "_")) if self.cookie else None

    def _from_header(self, request: HttpRequest, alias: str) -> str | None:
        return request.headers.get(_named(self.header, alias, "-")) if self.header else None


def _named(name: str, alias: str, separator: str) -> str:
    if alias == DEFAULT_DB_ALIAS:
        return name
    return name + separator + re.sub(r"[^0-9A-Za-z]", separator, alias)


def carrier() -> Carrier:
    """The carrier that the settings describe; raises `ConfigurationError` for a wrong one."""
    for name in (name for name in dir(settings) if name.startswith("GALERA_")):
        _check_name(name)
    attributes = {
        name.lower(): _setting(f"GALERA_COOKIE_{name}", getattr(settings, f"SESSION_COOKIE_{name}"))
        for name in _ATTRIBUTES
    }
    _check_attributes(attributes)
    age = _setting("GALERA_COOKIE_AGE", AGE)
    if isinstance(age, bool) or not isinstance(age, int) or age <= 0:
        raise ConfigurationError(f"GALERA_COOKIE_AGE must be seconds, 1 or more, not {age!r}.")
    return Carrier(
        _name("GALERA_COOKIE_NAME", COOKIE), _name("GALERA_HEADER_NAME", HEADER), age, attributes
    )


def _setting(name: str, default: Any) -> Any:
    return getattr(settings, name, default)


def _check_name(name: str) -> None:
    if name in NAMES:
        return
    near = get_close_matches(name, sorted(NAMES), n=1, cutoff=0.8)
    if near:
        raise ConfigurationError(f"{name} is not a setting. Did you mean {near[0]}?")


def _name(setting: str, default: str) -> str | None:
    name = _setting(setting, default)
    if name is not None and not (isinstance(name, str) and _TOKEN.fullmatch(name)):
        raise ConfigurationError(f"{setting} must be a plain name or None, not {name!r}.")
    return name


def _check_attributes(attributes: Mapping[str, Any]) -> None:
    samesite = attributes["samesite"]
    if samesite and str(samesite).lower() not in _SAMESITE:
        raise ConfigurationError(
            f"GALERA_COOKIE_SAMESITE must be 'Lax', 'Strict', 'None' or False, not {samesite!r}."
        )
    if not isinstance(attributes["secure"], bool):
        raise ConfigurationError(
            f"GALERA_COOKIE_SECURE must be True or False, not {attributes['secure']!r}."
        )
    for name in ("domain", "path"):
        if not isinstance(attributes[name], (str, type(None))):
            raise ConfigurationError(
                f"GALERA_COOKIE_{name.upper()} must be text, not {attributes[name]!r}."
            )

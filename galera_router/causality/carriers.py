"""How a client carries its token from one request to the next: a cookie, or a header.

Responses may cross on their way to the client. So each one sets a cookie of another name,
``galera.`` and the beginning of the token's signature, and takes back those that its request has
brought and its token includes. What two have set is there side by side until the next one.

The settings follow Django's: ``GALERA_COOKIE_NAME``, ``_AGE``, ``_DOMAIN``, ``_PATH``,
``_SAMESITE`` and ``_SECURE``, of which all but the first two are by default those of the
session's cookie; and ``GALERA_HEADER_NAME``. A name of None turns that carrier off.
"""

from __future__ import annotations

import functools
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

from galera_router.causality.after import accepted, includes
from galera_router.causality.cookies import Kind
from galera_router.causality.scope import Needs
from galera_router.causality.tokens import mark
from galera_router.exceptions import ConfigurationError

#: Seconds for which a token is kept: a node that lags for longer is out of step, and not read.
AGE = 300
#: Cookies of one cluster that a client may bring before any response makes one of them.
MANY = 4
COOKIE, HEADER = "galera", "X-Galera-Token"

_ATTRIBUTES = ("DOMAIN", "PATH", "SAMESITE", "SECURE")
_NAMES = frozenset({f"GALERA_COOKIE_{name}" for name in ("NAME", "AGE", *_ATTRIBUTES)})
NAMES = _NAMES | {"GALERA_HEADER_NAME"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SAMESITE = ("lax", "strict", "none")


@dataclass(frozen=True)
class Brought:
    """The tokens that one request has brought.

    Attributes:
        needs: what its tokens stand for, by alias.
        cookies: the names and values of its cookies, by alias.
    """

    needs: Needs
    cookies: Mapping[str, Mapping[str, str]]

    @property
    def crowded(self) -> list[str]:
        """The clusters that it has brought more cookies of than there should be."""
        return [alias for alias, cookies in self.cookies.items() if len(cookies) > MANY]


NOTHING = Brought({}, {})


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

    def read(self, request: HttpRequest, aliases: tuple[str, ...]) -> Brought:
        """Read the tokens of ``request`` for ``aliases``; a forged or old one is ignored."""
        cookies = {alias: found for alias in aliases if (found := self._cookies(request, alias))}
        texts = [text for found in cookies.values() for text in found.values()]
        for alias in aliases:
            texts += self._from_header(request, alias)
        return Brought(accepted(filter(None, texts), self.age), cookies) if texts else NOTHING

    def names_in_meta(self, aliases: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """Keys of ``request.META``, and what their values contain if there are tokens of ours."""
        found = []
        for alias in aliases:
            if self.cookie:
                found.append(("HTTP_COOKIE", _named(self.cookie, alias, "_")))
            if self.header:
                key = f"HTTP_{_named(self.header, alias, '-')}".upper().replace("-", "_")
                found.append((key, ""))
        return tuple(found)

    def write(
        self, response: HttpResponseBase, tokens: Mapping[str, str], brought: Brought = NOTHING
    ) -> None:
        """Put ``tokens``, by alias, into ``response``; without any it is left as it is.

        Args:
            response: to a request.
            tokens: they include what the request has brought.
            brought: by the request.
        """
        for alias, token in tokens.items():
            if self.cookie:
                name = f"{_named(self.cookie, alias, '_')}.{mark(token)}"
                response.cookies[name] = self._kind.cookie(name, token)
                if brought is not NOTHING:
                    self._take_back(response, brought.cookies.get(alias, {}), token)
            if self.header:
                response.headers[_named(self.header, alias, "-")] = token
            _vary(response, _varied(self.cookie, self.header, alias))

    @functools.cached_property
    def _kind(self) -> Kind:
        return Kind(self.age, self.attributes)

    def _take_back(
        self, response: HttpResponseBase, cookies: Mapping[str, str], token: str
    ) -> None:
        for name, old in cookies.items():
            if old != token and includes(token, old, self.age):
                attributes = {k: v for k, v in self.attributes.items() if k != "secure"}
                response.delete_cookie(name, **attributes)

    def _cookies(self, request: HttpRequest, alias: str) -> dict[str, str]:
        if not self.cookie:
            return {}
        name = _named(self.cookie, alias, "_")
        names = [n for n in request.COOKIES if n == name or n.startswith(name + ".")]
        return {name: text for name in names if (text := request.COOKIES[name])}

    def _from_header(self, request: HttpRequest, alias: str) -> list[str]:
        """A client with several requests at a time may bring several, with commas between."""
        text = request.headers.get(_named(self.header, alias, "-"), "") if self.header else ""
        return [part.strip() for part in text.split(",")] if text else []


@functools.lru_cache
def _named(name: str, alias: str, separator: str) -> str:
    if alias == DEFAULT_DB_ALIAS:
        return name
    return name + separator + re.sub(r"[^0-9A-Za-z]", separator, alias)


@functools.lru_cache
def _varied(cookie: str | None, header: str | None, alias: str) -> tuple[str, ...]:
    """The headers of a request that a response with a token depends on."""
    found = ["Cookie"] if cookie else []
    return (*found, _named(header, alias, "-")) if header else tuple(found)


def _vary(response: HttpResponseBase, names: tuple[str, ...]) -> None:
    if "Vary" in response.headers:
        patch_vary_headers(response, names)
    elif names:
        response.headers["Vary"] = ", ".join(names)


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

"""How a client carries its token from one request to the next: a cookie, or a header.

Responses may cross on their way to the client. So each one sets a cookie of another name,
``galera.`` and the beginning of the token's signature, and takes back those that its request has
brought and its token includes. What two have set is there side by side until the next one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from galera_router.causality.after import accepted, includes
from galera_router.causality.cookies import Kind
from galera_router.causality.scope import Needs
from galera_router.causality.settings import read_settings
from galera_router.causality.tokens import mark

#: Cookies of one cluster that a client may bring before any response makes one of them.
MANY = 4


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
        headers: dict[str, str] = {}
        for alias, token in tokens.items():
            cookie, header, folded, varied = _names(self.cookie, self.header, alias)
            if cookie:
                name = f"{cookie}.{mark(token)}"
                response.cookies[name] = self._kind.cookie(name, token)
                if brought is not NOTHING:
                    self._take_back(response, brought.cookies.get(alias, {}), token)
            if header:  # aliases that differ in a sign alone share one
                headers[folded] = f"{headers[folded]}, {token}" if folded in headers else token
                response.headers[header] = headers[folded]
            _vary(response, varied)

    @functools.cached_property
    def _kind(self) -> Kind:
        return Kind(self.age, self.attributes)

    def _take_back(
        self, response: HttpResponseBase, cookies: Mapping[str, str], token: str
    ) -> None:
        for name, old in cookies.items():
            if old == token or not _is_set_by_us(name, old):
                continue
            if includes(token, old, self.age):
                attributes = {k: v for k, v in self.attributes.items() if k != "secure"}
                response.delete_cookie(name, **attributes)

    def _cookies(self, request: HttpRequest, alias: str) -> dict[str, str]:
        if not self.cookie:
            return {}
        name = _named(self.cookie, alias, "_")
        names = [n for n in request.COOKIES if n == name or n.startswith(name + ".")]
        found = {n: text for n in names if (text := request.COOKIES[n])}
        return {n: text for n, text in found.items() if n == name or _is_set_by_us(n, text)}

    def _from_header(self, request: HttpRequest, alias: str) -> list[str]:
        """A client with several requests at a time may bring several, with commas between."""
        text = request.headers.get(_named(self.header, alias, "-"), "") if self.header else ""
        return [part.strip() for part in text.split(",")] if text else []


def _is_set_by_us(name: str, token: str) -> bool:
    """Returns True if a cookie's name says that of its token; another's is left alone."""
    return name.endswith(f".{mark(token)}")


@functools.lru_cache
def _named(name: str, alias: str, separator: str) -> str:
    if alias == DEFAULT_DB_ALIAS:
        return name
    return name + separator + re.sub(r"[^0-9A-Za-z]", separator, alias)


@functools.lru_cache
def _names(
    cookie: str | None, header: str | None, alias: str
) -> tuple[str, str, str, tuple[str, ...]]:
    """Returns the names for one cluster; empty for a carrier that is turned off.

    The beginning of the cookie's name; the header's name; the same in lower case; and the names for
    ``Vary``.
    """
    cookie = _named(cookie, alias, "_") if cookie else ""
    header = _named(header, alias, "-") if header else ""
    varied = [name for name in ("Cookie" if cookie else "", header) if name]
    return cookie, header, header.lower(), tuple(varied)


def _vary(response: HttpResponseBase, names: tuple[str, ...]) -> None:
    if "Vary" in response.headers:
        patch_vary_headers(response, names)
    elif names:
        response.headers["Vary"] = ", ".join(names)


def carrier() -> Carrier:
    """The carrier that the settings describe; raises `ConfigurationError` for a wrong one."""
    return Carrier(*read_settings())

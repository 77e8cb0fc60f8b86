"""The settings of the carriers, read and checked.

They follow Django's: ``GALERA_COOKIE_NAME``, ``_AGE``, ``_DOMAIN``, ``_PATH``, ``_SAMESITE`` and
``_SECURE``, of which all but the first two are by default those of the session's cookie; and
``GALERA_HEADER_NAME``. A name of None turns that carrier off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from django.conf import settings

from galera_router.exceptions import ConfigurationError

#: Seconds for which a token is kept: a node that lags for longer is out of step, and not read.
AGE = 300
COOKIE, HEADER = "galera", "X-Galera-Token"

_ATTRIBUTES = ("DOMAIN", "PATH", "SAMESITE", "SECURE")
_NAMES = frozenset({f"GALERA_COOKIE_{name}" for name in ("NAME", "AGE", *_ATTRIBUTES)})
NAMES = _NAMES | {"GALERA_HEADER_NAME"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLAIN = re.compile(r"[^;\x00-\x20\x7f]*")
_SAMESITE = ("lax", "strict", "none")
#: Settings of Django's that name a cookie; and the one of its messages, which has no setting.
_COOKIES = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME")
_MESSAGES = "messages"
#: Headers that clients, servers and proxies act upon.
_TAKEN = re.compile(
    r"(?:proxy|sec|access-control|content|if|x-forwarded|strict|cross-origin)-.*"
    r"|cookie|set-cookie|vary|host|authorization|www-authenticate|connection|upgrade|te|trailer"
    r"|transfer-encoding|keep-alive|expect|location|refresh|cache-control|pragma|expires|age|etag"
    r"|last-modified|date|range|accept(?:-.*)?|allow|link|server|user-agent|origin|referer"
    r"|retry-after|x-frame-options|x-csrftoken|x-requested-with|x-accel-.*|x-sendfile",
    re.IGNORECASE,
)


def read_settings() -> tuple[str | None, str | None, int, Mapping[str, Any]]:
    """Returns the names of cookie and header, the age in seconds, and the cookie's attributes.

    Raises:
        ConfigurationError: one of them is wrong, or they do not go together.
    """
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
    cookie, header = _name("GALERA_COOKIE_NAME", COOKIE), _name("GALERA_HEADER_NAME", HEADER)
    if cookie is not None:
        _check_cookie(cookie, attributes)
    if header is not None and _TAKEN.fullmatch(header):
        raise ConfigurationError(
            f"GALERA_HEADER_NAME must be a name of its own, not {header!r}: that header has"
            " another meaning."
        )
    return cookie, header, age, attributes


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
    _check_domain(attributes["domain"])
    _check_path(attributes["path"])


def _check_domain(domain: Any) -> None:
    if domain is not None and not (isinstance(domain, str) and _PLAIN.fullmatch(domain)):
        raise ConfigurationError(
            "GALERA_COOKIE_DOMAIN must be plain text without spaces and semicolons, or None, not"
            f" {domain!r}."
        )


def _check_path(path: Any) -> None:
    """Without one, a browser takes the path of the page: each would have cookies of its own."""
    if not (isinstance(path, str) and path.startswith("/") and _PLAIN.fullmatch(path)):
        raise ConfigurationError(
            "GALERA_COOKIE_PATH must be plain text that begins with '/', without spaces and"
            f" semicolons, not {path!r}."
        )


def _check_cookie(name: str, attributes: Mapping[str, Any]) -> None:
    for other in (*(_setting(setting, None) for setting in _COOKIES), _MESSAGES):
        if other == name or str(other).startswith(f"{name}."):
            raise ConfigurationError(
                f"GALERA_COOKIE_NAME must not be {name!r}: the cookie {other!r} would count as"
                " one of ours. Choose another name."
            )
    _check_secure(name, attributes)


def _check_secure(name: str, attributes: Mapping[str, Any]) -> None:
    """Browsers drop such cookies, and nobody would be told."""
    host = name.lower().startswith("__host-")
    samesite = str(attributes["samesite"]).lower() if attributes["samesite"] else ""
    if (host or name.lower().startswith("__secure-")) and not attributes["secure"]:
        raise ConfigurationError(
            f"GALERA_COOKIE_NAME is {name!r}, and browsers drop a cookie of such a name without"
            " Secure. Set GALERA_COOKIE_SECURE to True."
        )
    if host and (attributes["domain"] or attributes["path"] != "/"):
        raise ConfigurationError(
            f"GALERA_COOKIE_NAME is {name!r}, and browsers drop a cookie of such a name with a"
            " domain or a path. Set GALERA_COOKIE_DOMAIN to None and GALERA_COOKIE_PATH to '/'."
        )
    own = hasattr(settings, "GALERA_COOKIE_SAMESITE")  # the session's is Django's to judge
    if own and samesite == "none" and not attributes["secure"]:
        raise ConfigurationError(
            "GALERA_COOKIE_SAMESITE is 'None', and browsers drop a cookie with that and without"
            " Secure. Set GALERA_COOKIE_SECURE to True, or GALERA_COOKIE_SAMESITE to 'Lax'."
        )

"""The cookie of a token is Django's, although most of its text is written out once."""

from __future__ import annotations

import copy
import pickle
import re
from http.cookies import Morsel
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from galera_router.causality import tokens
from galera_router.causality.carriers import MANY, NOTHING, Brought, Carrier, carrier
from galera_router.causality.cookies import Kind
from galera_router.cluster.position import Mark
from galera_router.exceptions import ConfigurationError

TOKEN = "WyJkZWZhdWx0Il0:1w0000:0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
ATTRIBUTES: dict[str, Any] = {"domain": "x.org", "path": "/a", "samesite": "Lax", "secure": True}


def by_django(age: int, attributes: dict[str, Any]) -> Morsel[str]:
    """As ``set_cookie`` makes it; ``Expires`` says what ``Max-Age`` says."""
    response = HttpResponse()
    response.set_cookie("galera.0", TOKEN, max_age=age, httponly=True, **attributes)
    made: Morsel[str] = response.cookies["galera.0"]
    made["expires"] = ""
    return made


def test_it_is_as_django_sets_it() -> None:
    for attributes in (ATTRIBUTES, {"path": "/"}, {"secure": False, "samesite": None}):
        made, expected = Kind(300, attributes).cookie("galera.0", TOKEN), by_django(300, attributes)
        assert made == expected
        assert made.output(header="") == expected.output(header="")
        assert made.OutputString(["path"]) == expected.OutputString(["path"])


def test_what_another_middleware_changes_is_written_out() -> None:
    kind = Kind(300, ATTRIBUTES)
    made, expected = kind.cookie("galera.0", TOKEN), by_django(300, ATTRIBUTES)
    for morsel in (made, expected):
        morsel["samesite"] = "None"
        morsel.update({"domain": ""})
        morsel.set("galera.1", "y", "y")
    assert made.output() == expected.output()
    assert "SameSite=Lax" in kind.cookie("galera.0", TOKEN).output()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, Morsel.copy, "pickle"])
def test_a_copy_is_a_plain_one(copied: Any) -> None:
    """What a cache keeps can be read where this package is not."""
    made = Kind(300, ATTRIBUTES).cookie("galera.0", TOKEN)
    text = pickle.dumps(made)
    assert b"galera_router" not in text
    found = pickle.loads(text) if copied == "pickle" else copied(made)
    assert type(found) is Morsel
    assert found == made
    assert found.output() == made.output()


def test_the_headers_that_a_response_depends_on_are_added() -> None:
    carrier = Carrier("galera", "X-Galera-Token", 300, {})
    for before, after in (
        (None, "Cookie, X-Galera-Token"),
        ("Accept, cookie", "Accept, cookie, X-Galera-Token"),
        ("*", "*"),
    ):
        response = HttpResponse()
        if before is not None:
            response.headers["Vary"] = before
        carrier.write(response, {"default": TOKEN})
        assert response.headers["Vary"] == after


def test_a_carrier_that_is_turned_off_sets_nothing() -> None:
    for cookie, header, vary in (
        ("galera", None, "Cookie"),
        (None, "X-Galera-Token", "X-Galera-Token"),
        (None, None, None),
    ):
        response = HttpResponse()
        Carrier(cookie, header, 300, {}).write(response, {"default": TOKEN})
        assert response.headers.get("Vary") == vary
        assert bool(response.cookies) is bool(cookie)
        assert response.headers.get("X-Galera-Token") == (TOKEN if header else None)


# --- of two clusters ----------------------------------------------------------------------


@pytest.mark.parametrize("aliases", [("eu-west", "eu_west"), ("eu", "EU")])
def test_aliases_that_differ_in_a_sign_share_a_header(aliases: tuple[str, str]) -> None:
    """A client that sends back what it was given brings both tokens; and both cookies."""
    carrier = Carrier("galera", "X-Galera-Token", 300, {})
    made = {alias: tokens.dump(alias, Mark("0" * 32, 1)) for alias in (*aliases, "default")}
    response = HttpResponse()
    carrier.write(response, made)
    assert response.headers["X-Galera-Token"] == made["default"]
    one, other = (made[alias] for alias in aliases)
    assert response.headers[f"X-Galera-Token-{aliases[1].replace('_', '-')}"] == f"{one}, {other}"
    assert sorted(cookie.value for cookie in response.cookies.values()) == sorted(made.values())


# --- what is not ours ---------------------------------------------------------------------


def test_only_what_we_have_set_is_taken_back() -> None:
    """Whoever has set the others, nobody told them that they may go."""
    old, new = (tokens.dump("default", Mark("0" * 32, number)) for number in (1, 2))
    ours = {f"galera.{tokens.mark(old)}": old, "galera.abc": "abc"}
    others = {"galera": "abc", "galera.session": "abc", "galera.prefs": old}
    response = HttpResponse()
    brought = Brought({}, {"default": {**ours, **others}})
    Carrier("galera", None, 300, {"path": "/"}).write(response, {"default": new}, brought)
    gone = {name for name, cookie in response.cookies.items() if cookie["max-age"] == 0}
    assert gone == set(ours)


def test_cookies_that_others_have_set_are_not_too_many_of_ours() -> None:
    """They would stay, and each response would have a token because of them."""
    request = RequestFactory().get("/")
    request.COOKIES |= {f"galera.session{number}": "abc" for number in range(MANY + 1)}
    assert Carrier("galera", None, 300, {}).read(request, ("default",)) is NOTHING


NAME, HEADER, SECURE = "GALERA_COOKIE_NAME", "GALERA_HEADER_NAME", "GALERA_COOKIE_SECURE"
DOMAIN, PATH, SAMESITE = "GALERA_COOKIE_DOMAIN", "GALERA_COOKIE_PATH", "GALERA_COOKIE_SAMESITE"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({NAME: "sessionid"}, "'sessionid' would count"),
        ({NAME: "csrftoken"}, "'csrftoken' would count"),
        ({NAME: "django_language"}, "'django_language' would count"),
        ({NAME: "messages"}, "'messages' would count"),
        ({"SESSION_COOKIE_NAME": "galera.session"}, "'galera.session' would count"),
        ({NAME: "__Secure-galera"}, f"Set {SECURE} to True"),
        ({NAME: "__host-galera"}, f"Set {SECURE} to True"),
        ({NAME: "__Host-galera", SECURE: True, DOMAIN: "a.org"}, f"Set {DOMAIN} to None"),
        ({NAME: "__Host-galera", SECURE: True, PATH: "/a"}, f"and {PATH} to '/'"),
        ({SAMESITE: "None"}, f"Set {SECURE} to True"),
        ({SAMESITE: "none", SECURE: False}, f"Set {SECURE} to True"),
        ({PATH: None}, "begins with '/'"),
        ({PATH: ""}, "begins with '/'"),
        ({PATH: "a"}, "begins with '/'"),
        ({PATH: "/a; HttpOnly"}, "semicolons"),
        ({PATH: "/a\n"}, "semicolons"),
        ({DOMAIN: "a.org; x"}, "semicolons"),
        ({DOMAIN: "a.org\r\nX: y"}, "semicolons"),
        *[
            ({HEADER: name}, "another meaning")
            for name in (
                "Cookie", "set-cookie", "Content-Type", "Vary", "HOST", "Authorization",
                "X-Forwarded-For", "If-Match", "X-CSRFToken",
            )
        ],
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_would_do_harm_or_nothing_are_refused(
    changed: dict[str, Any], said: str
) -> None:
    with override_settings(**changed), pytest.raises(ConfigurationError, match=re.escape(said)):
        carrier()


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {NAME: None, SAMESITE: "None"},
        {NAME: "__Host-galera", SECURE: True},
        {NAME: "__Secure-galera", SECURE: True, DOMAIN: ".example.com", PATH: "/a"},
        {NAME: "session", DOMAIN: ""},
        {SAMESITE: "None", SECURE: True},
        {SAMESITE: False},
        {"SESSION_COOKIE_SAMESITE": "None"},  # the session's own cookie is dropped as well
        {HEADER: "Contents"},
        {HEADER: "X-Content-Token"},
    ],
    ids=str,
)
def test_others_are_not(changed: dict[str, Any]) -> None:
    with override_settings(**changed):
        carrier()

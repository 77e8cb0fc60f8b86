"""The cookie of a token is Django's, although most of its text is written out once."""

from __future__ import annotations

import copy
import pickle
from http.cookies import Morsel
from typing import Any

import pytest
from django.http import HttpResponse

from galera_router.causality.carriers import Carrier
from galera_router.causality.cookies import Kind

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

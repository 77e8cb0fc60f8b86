"""Names are looked up apart: what a resolver does says nothing of a node."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import MySQLdb
import pytest
from MySQLdb import OperationalError

from galera_router.cluster import names, probe
from galera_router.cluster.probe import Ping
from galera_router.connections.errors import Verdict, verdict
from tests.unit.test_cluster import make

NAME = "db1.example"


class Resolver:
    """Knows what the test has told it, and answers when the test says so."""

    def __init__(self) -> None:
        self.addresses: list[str] = ["192.0.2.1"]
        self.error: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.asked = 0

    def look_up(self, host: str, port: object, **kwargs: Any) -> list[Any]:
        self.asked += 1
        self.answers.wait(10)
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 0)) for a in self.addresses]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.look_up)
    monkeypatch.setattr(names, "_known", {})
    monkeypatch.setattr(names, "_running", {})
    yield resolver
    resolver.answers.set()


@pytest.mark.parametrize(
    ("host", "is_one"),
    [
        (NAME, True), ("127.1", True), ("db1", True),
        ("", False), ("localhost", False), ("/run/x.sock", False),
        ("192.0.2.1", False), ("2001:db8::1", False),
    ],
)  # fmt: skip
def test_what_a_resolver_is_asked_for(host: str, is_one: bool) -> None:
    assert names.is_name(host) is is_one


def test_all_addresses_in_the_order_of_the_resolver(resolver: Resolver) -> None:
    resolver.addresses = ["2001:db8::1", "192.0.2.1", "192.0.2.1"]
    assert names.addresses(NAME) == ("2001:db8::1", "192.0.2.1")


def test_a_new_address_is_taken_over(resolver: Resolver) -> None:
    names.addresses(NAME)
    resolver.addresses = ["192.0.2.2"]
    assert names.addresses(NAME) == ("192.0.2.2",)


@pytest.mark.parametrize("error", [socket.gaierror(-3, "not now"), UnicodeError("label too long")])
def test_the_last_addresses_hold_while_the_resolver_fails(
    resolver: Resolver, error: Exception
) -> None:
    names.addresses(NAME)
    resolver.error = error
    assert names.addresses(NAME) == ("192.0.2.1",)


def test_the_last_addresses_hold_while_the_resolver_is_slow(resolver: Resolver) -> None:
    names.addresses(NAME)
    resolver.addresses = ["192.0.2.2"]
    resolver.answers.clear()
    began = time.monotonic()
    assert names.addresses(NAME) == names.addresses(NAME) == ("192.0.2.1",)
    assert time.monotonic() - began < 2.0
    assert resolver.asked == 2, "one question at a time"
    resolver.answers.set()
    deadline = time.monotonic() + 5
    while names._known[NAME] != ("192.0.2.2",):
        assert time.monotonic() < deadline, "what comes late counts too"
        time.sleep(0.01)


@pytest.mark.parametrize("hangs", [True, False])
def test_a_name_that_was_never_known_cannot_be_connected_to(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr(names, "LONGEST", 0.05)
    resolver.error = socket.gaierror(-2, "not known")
    if hangs:
        resolver.answers.clear()
    with pytest.raises(OperationalError, match="Unknown server host") as caught:
        names.addresses(NAME)
    assert caught.value.args[0] == 2005


@pytest.mark.parametrize("number", [1129, 2001, 2002, 2003, 2004, 2005, 2012])
def test_no_connection_is_a_lost_one(number: int) -> None:
    assert verdict(OperationalError(number, "no")) is Verdict.LOST


@pytest.mark.parametrize(
    ("version", "parameters", "is_checked"),
    [
        ("3.3.20", {}, False), ("8.0.36", {}, False), ("3.4.5", {}, True),
        ("3.3.20", {"ssl": {"ca": "x"}}, True), ("3.3.20", {"ssl_mode": "REQUIRED"}, True),
        ("3.3.20", {"read_default_file": "x"}, True),
    ],
)  # fmt: skip
def test_names_in_certificates_are_left_to_the_driver(
    monkeypatch: pytest.MonkeyPatch, version: str, parameters: dict[str, Any], is_checked: bool
) -> None:
    monkeypatch.setattr(MySQLdb, "get_client_info", lambda: version)
    assert names.may_be_checked(parameters) is is_checked


# --- whom a question goes to --------------------------------------------------------------


class Wrapper:
    """An ENGINE whose driver cannot connect to anybody, or to one address alone."""

    def __init__(self, *, there: str = "", error: int = 2003, **options: Any) -> None:
        given = {"init_command": "SET x", **options}
        self.settings_dict: dict[str, Any] = {"HOST": NAME, "OPTIONS": given}
        self.there, self.error = there, error
        self.tried: list[str] = []
        self.given: dict[str, Any] = {}

    def get_connection_params(self) -> dict[str, Any]:
        return {"host": self.settings_dict["HOST"], **self.settings_dict["OPTIONS"]}

    def get_new_connection(self, parameters: dict[str, Any]) -> str:
        self.tried.append(parameters["host"])
        self.given = parameters
        if parameters["host"] != self.there:
            raise OperationalError(self.error, "nobody there")
        return "connected"


def connect(monkeypatch: pytest.MonkeyPatch, wrapper: Wrapper) -> Ping:
    # A newer library checks names in certificates by default, and is given the name.
    monkeypatch.setattr(MySQLdb, "get_client_info", lambda: "3.3.20")
    node = make().nodes[0]
    monkeypatch.setattr(probe, "_settings", lambda node: wrapper.settings_dict)
    monkeypatch.setattr(Ping, "_database", lambda ping: {})
    ping = Ping(node, (), 1.0)
    assert not ping.ready
    ping._connect(wrapper, (OperationalError,))  # type: ignore[arg-type]
    return ping


def test_the_addresses_are_tried_one_after_the_other(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver.addresses = ["2001:db8::1", "192.0.2.1", "192.0.2.2"]
    wrapper = Wrapper(there="192.0.2.1")
    assert connect(monkeypatch, wrapper).ready
    assert wrapper.tried == ["2001:db8::1", "192.0.2.1"]
    assert "init_command" not in wrapper.given, "it would cost a round trip"


def test_an_answer_of_one_address_is_the_answer(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver.addresses = ["192.0.2.1", "192.0.2.2"]
    wrapper = Wrapper(error=1045)
    with pytest.raises(OperationalError):
        connect(monkeypatch, wrapper)
    assert wrapper.tried == ["192.0.2.1"]


def test_with_tls_the_driver_is_given_the_name_and_the_time_to_look_it_up(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver.answers.clear()
    threading.Timer(0.3, resolver.answers.set).start()
    wrapper = Wrapper(there=NAME, ssl={"ca": "x"})
    ping = connect(monkeypatch, wrapper)
    assert wrapper.tried == [NAME]
    assert ping.ready
    assert 0.2 < ping.extra < 5

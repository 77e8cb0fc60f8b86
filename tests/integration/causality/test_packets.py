"""What a token costs: what is sent to whom, and what the client is given."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client, RequestFactory, override_settings

from galera_router import after, reads
from galera_router.causality import tokens
from galera_router.causality.after import QUESTIONS
from galera_router.cluster.position import Mark
from galera_router.exceptions import ConfigurationError
from tests.integration.causality.support import BEGIN, LOOK, SYNC, WAIT, count, write
from tests.integration.support import Shop


def read_request(token: str | None = None) -> None:
    client = Client()
    if token is not None:
        client.cookies["galera"] = token
    assert client.get("/read/").status_code == 200


def cookie_of(response: Any, name: str = "galera") -> Any:
    """The one cookie that ``response`` has set; its name ends with a mark of its token."""
    ((found, morsel),) = response.cookies.items()
    assert found.startswith(name + ".")
    return morsel


def test_without_a_token_nothing_is_added(warm: Shop) -> None:
    with warm.traffic() as sent:
        read_request()
    select = "Query SELECT `shop_author`.`name` AS `name` FROM `shop_author` ORDER BY"
    assert [s[: len(select)] for s in sent["db2"]][1:-1] == [sent["db2"][1][: len(select)]]
    assert sent["db2"][0] == BEGIN
    assert sent["db2"][-1] == "Query COMMIT"
    assert len(sent["db2"]) == 3
    assert sent["db1"] == sent["db3"] == []


def test_a_token_that_the_node_has_reached_costs_no_round_trip(warm: Shop) -> None:
    """The question travels with the BEGIN, and is asked once."""
    token = write()
    warm.settle()
    warm.forget_positions()
    node = warm.galera["db2"]
    with node.statements() as packets:
        read_request(token)
        warm.drain()
    with warm.traffic() as again:
        read_request(token)
    assert len(packets) == 2, "one with the question, BEGIN and the read; COMMIT"
    assert packets[0].sql.startswith(LOOK.removeprefix("Query "))
    assert "START TRANSACTION READ ONLY" in packets[0].sql
    assert "FROM `shop_author`" in packets[0].sql
    assert len(again["db2"]) == 3, "this process knows now"
    assert again["db1"] == again["db3"] == []


def test_a_question_of_the_watchdog_tells_it_too(warm: Shop) -> None:
    from galera_router.cluster.probe import Ping

    token = write(marked=False)
    warm.settle()
    warm.forget_positions()
    known = warm.session.cluster.nodes[1]
    ping = Ping(known, (), 5)
    ping._run()
    assert ping.answer is not None
    warm.session.cluster.note_position(known, ping.answer.position)
    with warm.traffic() as sent:
        read_request(token)
    assert len(sent["db2"]) == 3


def test_a_driver_that_sends_one_statement_at_a_time(warm: Shop) -> None:
    node = warm.galera["db2"]
    options = {"multi_statements": False}
    warm.configure(HOST=node.host, PORT=node.port, OPTIONS=options)
    token = write()
    with after(token):
        assert count() == 2
        with transaction.atomic():
            assert count() == 2
    warm.forget_positions()
    with after(token), transaction.atomic():
        assert count() == 2


def test_a_read_outside_a_transaction_asks_in_its_packet(warm: Shop) -> None:
    token = write()
    warm.settle()
    warm.forget_positions()
    with warm.galera["db2"].statements() as packets, after(token):
        assert count() == 2
        assert count() == 2
    assert len(packets) == 2
    assert packets[0].sql.startswith(LOOK.removeprefix("Query "))


def test_a_node_that_lags_is_waited_for_in_a_second_packet(warm: Shop) -> None:
    node = warm.galera["db2"]
    with node.hold_applier():
        token = write()
        threading.Timer(0.3, node.release_applier).start()
        with node.statements() as packets, after(token), transaction.atomic():
            assert count() == 2
    look, wait = (text.removeprefix("Query ") for text in (LOOK, WAIT))
    assert packets[0].sql.startswith(look)
    assert packets[1].sql.startswith(wait)
    assert "START TRANSACTION READ ONLY" in packets[1].sql


def test_many_tokens_are_one_wait_for_everything(warm: Shop) -> None:
    given = [tokens.dump("default", Mark(f"{n:032x}", 1)) for n in range(QUESTIONS + 1)]
    with warm.traffic() as sent, after(*given):
        assert count() == 1
    assert [s.startswith(SYNC) for s in sent["db2"]] == [True, False]


@pytest.mark.parametrize(("marked", "questions"), [(True, 0), (False, 1)])
def test_what_the_token_of_a_response_costs(warm: Shop, marked: bool, questions: int) -> None:
    connection.commit_marker = marked  # type: ignore[attr-defined]
    with warm.traffic() as sent:
        response = Client().post("/add/", {"name": "Bea"})
    assert [s for s in sent["db1"] if "STATUS" in s] == sent["db1"][len(sent["db1"]) - questions :]
    assert cookie_of(response).value


def test_the_cookie_is_as_a_cookie_should_be(warm: Shop) -> None:
    response = Client().post("/add/", {"name": "Bea"})
    cookie = cookie_of(response)
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert cookie["max-age"] == 300
    assert not cookie["secure"]
    assert response.headers["X-Galera-Token"] == cookie.value
    assert {"Cookie", "X-Galera-Token"} <= set(response.headers["Vary"].split(", "))


@pytest.mark.parametrize("path", ["/read/", "/nothing/"])
def test_a_response_that_has_written_nothing_is_left_as_it_is(warm: Shop, path: str) -> None:
    response = Client().get(path)
    assert not response.cookies
    assert "X-Galera-Token" not in response.headers
    assert "X-Galera-Token" not in response.headers.get("Vary", "")
    read = Client(headers={"X-Galera-Token": write()}).get(path)
    assert not read.cookies


def test_a_request_that_reads_on_the_primary_has_written_nothing(warm: Shop) -> None:
    with reads("primary"):
        response = Client().get("/read/")
    assert not response.cookies


@override_settings(
    SESSION_COOKIE_SECURE=True,
    SESSION_COOKIE_DOMAIN="example.com",
    GALERA_COOKIE_NAME="seen",
    GALERA_COOKIE_AGE=7,
    GALERA_COOKIE_SAMESITE="Strict",
    GALERA_HEADER_NAME=None,
)
def test_the_settings_are_djangos(warm: Shop) -> None:
    response = Client().post("/add/", {"name": "Bea"})
    cookie = cookie_of(response, "seen")
    assert cookie["secure"]
    assert cookie["domain"] == "example.com"
    assert cookie["max-age"] == 7
    assert cookie["samesite"] == "Strict"
    assert "X-Galera-Token" not in response.headers
    assert response.headers["Vary"] == "Cookie"


@override_settings(GALERA_COOKIE_NAME=None)
def test_the_cookie_can_be_turned_off(warm: Shop) -> None:
    response = Client().post("/add/", {"name": "Bea"})
    assert not response.cookies
    assert response.headers["Vary"] == "X-Galera-Token"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GALERA_COOKIE_NAME", "two words", "plain name"),
        ("GALERA_COOKIE_NAME", 7, "plain name"),
        ("GALERA_HEADER_NAME", "", "plain name"),
        ("GALERA_COOKIE_AGE", 0, "1 or more"),
        ("GALERA_COOKIE_AGE", "300", "1 or more"),
        ("GALERA_COOKIE_AGE", True, "1 or more"),
        ("GALERA_COOKIE_SECURE", "yes", "True or False"),
        ("GALERA_COOKIE_SAMESITE", "Loose", "'Strict'"),
        ("GALERA_COOKIE_DOMAIN", 7, "text"),
        ("GALERA_COOKIE_PATH", 7, "text"),
        ("GALERA_COOKIE_MAXAGE", 7, "Did you mean GALERA_COOKIE_AGE"),
        ("GALERA_COKIE_NAME", "x", "Did you mean GALERA_COOKIE_NAME"),
    ],
)
def test_a_wrong_setting_is_named(warm: Shop, name: str, value: object, said: str) -> None:
    with (
        override_settings(**{name: value}),
        pytest.raises(ConfigurationError, match=said) as error,
    ):
        Client().get("/read/")
    assert name in str(error.value)


def test_the_latest_of_cookie_and_header_counts(warm: Shop) -> None:
    old = write("Bea")
    new = write("Cleo")
    request = RequestFactory().get("/", headers={"X-Galera-Token": old})
    request.COOKIES["galera"] = new
    from galera_router.causality.carriers import carrier

    (found,) = carrier().read(request, ("default",)).needs["default"]
    assert tokens.load(new, 60) == ("default", found.position)


@pytest.mark.parametrize("text", ["", "x", "a:b:c", ":::", "x" * 5000])
def test_a_wrong_token_is_ignored(warm: Shop, text: str) -> None:
    with warm.traffic() as sent:
        read_request(text)
    assert len(sent["db2"]) == 3

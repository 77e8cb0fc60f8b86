"""Tokens of what the cluster does not have: found out once, and never by guessing."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.db import transaction

from galera_router import after
from galera_router.causality import tokens
from galera_router.causality.voids import voids_of
from galera_router.cluster.position import Mark, Position
from tests.faults.nodes import stalled
from tests.integration.causality.support import REACH, SYNC, Browser, count, write
from tests.integration.support import Shop, elsewhere


@pytest.fixture
def quick(warm: Shop) -> Shop:
    """As ``warm``; a node is waited for no longer than a second."""
    node = warm.galera["db2"]
    warm.configure(
        HOST=node.host,
        PORT=node.port,
        ATOMIC_REQUESTS=True,
        OPTIONS={"wsrep_sync_timeout": 1.0},
    )
    warm.warm()
    return warm


def here(shop: Shop) -> Position:
    """Where the cluster is."""
    status = shop.galera["db1"].status()
    number = int(status["wsrep_last_committed"])
    return Position(status["wsrep_cluster_state_uuid"], number, "0" * 13)


def future(shop: Shop, steps: int = 10**6) -> str:
    where = here(shop)
    return tokens.dump("default", replace(where, seqno=where.seqno + steps))


def foreign() -> str:
    return tokens.dump("default", Position(str(uuid.uuid4()), 10**9))


def removed(shop: Shop) -> str:
    """A token of a marker whose row is not there, as after its worker's end."""
    return tokens.dump("default", Mark(uuid.uuid4().hex, 5))


def undone(shop: Shop) -> str:
    """A token of a marker that is not so far, as in a cluster that was put back to a backup."""
    node = shop.galera["db1"]
    rows = node.query("SELECT worker, seq FROM galera_router.galera_router_marker LIMIT 1")
    return tokens.dump("default", Mark(rows[0][0], rows[0][1] + 10**6))


MAKERS = pytest.mark.parametrize("make", [future, removed, undone])


def read(token: str) -> int:
    with after(token):
        return count()


def gave_up(shop: Shop, make: Callable[[Shop], str] = future) -> str:
    """A token that this process knows to be void."""
    token = make(shop)
    assert elsewhere(lambda: read(token)) == 1
    assert voids_of(shop.session.cluster).expected == (make is not removed)
    return token


@MAKERS
def test_the_same_token_is_not_asked_about_again(quick: Shop, make: Callable[[Shop], str]) -> None:
    token = gave_up(quick, make)
    with quick.traffic() as first:
        assert read(token) == 1, "the node is asked whether it has what stands in its place"
    assert not [s for log in first.values() for s in log if s.startswith(SYNC)], first
    with quick.traffic() as sent:
        assert read(token) == 1
        with after(token), transaction.atomic():
            assert count() == 1
    assert not [s for log in sent.values() for s in log if s.startswith((SYNC, REACH))], sent


def test_one_of_another_cluster_is_not_asked_about_again(quick: Shop) -> None:
    token = foreign()
    assert read(token) == 1
    with quick.traffic() as sent:
        assert read(token) == 1
    assert len(sent["db2"]) == 1


def test_another_one_is_asked_about_where_it_is_read(quick: Shop) -> None:
    """Its node gets all that there is first, and is read from."""
    gave_up(quick)
    with quick.traffic() as sent:
        assert read(future(quick, 10**7)) == 1
    assert sum(s.startswith(SYNC) for s in sent["db2"]) == 1
    assert not sent["db1"]
    assert not sent["db3"]


def test_what_the_cluster_has_got_since_is_waited_for(quick: Shop) -> None:
    """That void tokens were met makes none of another one."""
    gave_up(quick)
    with stalled(quick.galera["db2"], "shop_author"):
        token = write()
        quick.forget_positions()
        assert read(token) == 2
        with after(token), transaction.atomic():
            assert count() == 2
    assert tokens.load(token, None) is not None


def test_a_node_that_has_come_to_a_halt_proves_nothing(quick: Shop) -> None:
    """It says that it is in step, and is behind what it is asked for."""
    token = write()
    with stalled(quick.galera["db2"], "shop_author"), stalled(quick.galera["db3"], "shop_author"):
        later = write("Cleo")
        quick.forget_positions()
        with after(later):
            assert count() == 3, "on the primary"
        assert not voids_of(quick.session.cluster).expected
    assert read(token) == 3


def test_one_beside_it_is_waited_for(quick: Shop) -> None:
    """A client may have brought both, and the later number is not of more worth."""
    void = future(quick)
    with stalled(quick.galera["db2"], "shop_author"):
        good = write()
        quick.forget_positions()
        for given in ((void, good), (good, void)):
            with after(*given):
                assert count() == 2
                assert count() == 2


def test_the_cluster_has_to_know_of_it_again_when_it_is_another_one(quick: Shop) -> None:
    token = gave_up(quick)
    membership = quick.session.cluster.membership
    before, membership.agreed = membership.agreed, str(uuid.uuid4())
    with quick.traffic() as sent:
        assert read(token) == 1
    membership.agreed = before
    assert [s for s in sent["db2"] if s.startswith(SYNC)], sent


@pytest.mark.parametrize("make", [future, lambda shop: foreign(), removed, undone])
def test_the_client_gets_another_one(quick: Shop, make: Callable[[Shop], str]) -> None:
    browser = Browser()
    token = make(quick)
    name = f"galera.{tokens.mark(token)}"
    browser.cookies[name] = token
    assert browser.get("/read/") == "Ann"
    assert name not in browser.cookies
    ((_, value),) = browser.cookies.items()
    loaded = tokens.load(value, None)
    assert loaded is not None
    assert isinstance(loaded[1], Position)
    assert loaded[1].cluster_id == here(quick).cluster_id
    assert loaded[1].seqno <= here(quick).seqno
    response = browser.ask("/read/")
    assert not response.cookies, "all is well again"


def test_forged_tokens_are_told_of_once_a_minute(
    quick: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser()
    browser.cookies["galera"] = "forged:by:somebody"
    for _ in range(5):
        browser.get("/read/")
    told = [r for r in caplog.records if "not signed here" in r.getMessage()]
    assert len(told) == 1
    assert told[0].levelno == logging.WARNING
    monkeypatch.setattr("galera_router.events.TokenIgnored.PAUSE", 1e-9)
    browser.get("/read/")
    assert "4 more" in caplog.text


def test_void_tokens_are_told_of_once_a_minute(
    quick: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    for steps in range(5):
        assert read(future(quick, 10**6 + steps)) == 1
    told = [r for r in caplog.records if "has never come so far" in r.getMessage()]
    assert len(told) == 1

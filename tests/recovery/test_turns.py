"""Whoever has failed some times queues for its turn, with a lock of the primary's."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from galera_router.recovery import turns
from galera_router.recovery.turns import Turn
from galera_router.testing.admin import open_connection
from tests.integration.support import Shop, elsewhere, wait_until
from tests.shop.models import Tag

FREE = "SELECT IS_FREE_LOCK('galera_router galera_router')"


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_hot", {})


def is_free(shop: Shop) -> bool:
    return shop.galera["db1"].query(FREE) == [(1,)]


def taken(shop: Shop) -> Turn:
    turn = Turn("code")
    turn.take(3, shop.session)
    assert turn.held
    return turn


def test_one_at_a_time(shop: Shop) -> None:
    """The second waits until the first is done."""
    with taken(shop):
        assert not is_free(shop)
        found: list[float] = []

        def second() -> None:
            began = time.monotonic()
            with taken(shop):
                found.append(time.monotonic() - began)

        thread = threading.Thread(target=elsewhere, args=(second,))
        thread.start()
        time.sleep(0.4)
        assert not found
    thread.join()
    assert found[0] > 0.3
    assert is_free(shop)


def test_no_turn_is_no_error(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT", 0.2)
    with taken(shop):

        def second() -> bool:
            with Turn("code") as turn:
                turn.take(3, shop.session)
                return turn.held

        assert elsewhere(second) is False
    assert is_free(shop)


def test_nobody_to_ask_is_no_error(shop: Shop) -> None:
    with shop.proxied(OPTIONS={"reconnect_wait_time": 0.1}) as proxies:
        for proxy in proxies.values():
            proxy.refuse()
        with Turn("code") as turn:
            turn.take(3, shop.session)
            assert not turn.held


def test_it_is_not_state_of_the_applications(shop: Shop) -> None:
    """A connection with state would not fail over."""
    shop.stock()
    with taken(shop), transaction.atomic():
        Tag.objects.create(name="before")
        shop.writing.kill_connections()
        time.sleep(0.1)
        Tag.objects.create(name="after")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(2,)]
    assert is_free(shop), "the server has ended it with the connection"


def test_a_connection_with_state_is_left_alone(shop: Shop) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET @x = 7")
    turn = Turn("code")
    turn.take(3, shop.session)
    assert not turn.held


def test_a_turn_is_not_taken_in_a_transaction(shop: Shop) -> None:
    with transaction.atomic():
        turn = Turn("code")
        turn.take(3, shop.session)
        assert not turn.held
        assert not shop.session.transaction_begun


def test_a_turn_is_not_left_in_a_transaction(shop: Shop) -> None:
    turn = taken(shop)
    with transaction.atomic():
        Tag.objects.create(name="x")
        turn.leave()
        assert not is_free(shop)
    turn.leave()
    assert is_free(shop)


def test_taking_it_twice_takes_it_once(shop: Shop) -> None:
    turn = taken(shop)
    turn.take(3, shop.session)
    turn.leave()
    assert is_free(shop)


def test_a_lost_connection_is_no_error_at_the_end(shop: Shop) -> None:
    with taken(shop):
        shop.galera["db1"].kill_connections()
    wait_until(lambda: is_free(shop))  # the server lets go of it a moment later
    assert Tag.objects.count() == 0


def queues(shop: Shop, run: int, name: str = "code") -> bool:
    """Whether the run of that number waits for the lock, or holds it."""
    with Turn(name) as turn:
        turn.take(run, shop.session)
        return turn.held


def test_the_first_runs_need_no_turn(shop: Shop) -> None:
    with shop.traffic() as sent:
        assert not queues(shop, 1)
    assert not [statement for log in sent.values() for statement in log if "LOCK" in statement]
    assert not queues(shop, 2)
    assert queues(shop, 3)


def test_a_second_run_joins_a_queue(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT", 1.0)

    def second() -> None:
        assert queues(shop, 2, "other")

    with taken(shop):
        thread = threading.Thread(target=elsewhere, args=(second,))
        thread.start()
        time.sleep(0.3)
    thread.join()
    assert turns.is_hot("other"), "there is a queue, so its first run is to be in it"


def test_code_that_had_to_queue_does_so_at_once_for_a_while(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "HOT", 0.3)
    assert queues(shop, 3)
    assert queues(shop, 1)
    assert not queues(shop, 1, "other")
    time.sleep(0.35)
    assert not queues(shop, 1)


def test_names_are_forgotten(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "NAMES", 3)
    monkeypatch.setattr(turns, "_hot", dict.fromkeys("abc", 0.0))
    with taken(shop):
        assert list(turns._hot) == ["code"]


def test_the_drivers_patience_is_longer(shop: Shop) -> None:
    """A wait that takes longer would be a lost connection."""
    shop.configure(OPTIONS={"read_timeout": 1})
    with client_holds(shop), Turn("code") as turn:
        turn.take(3, shop.session)
        assert not turn.held
        assert shop.session.primary is not None


@contextmanager
def client_holds(shop: Shop) -> Iterator[None]:
    """Another process has its turn."""
    with contextlib.closing(open_connection(shop.galera["db1"].socket)) as other:
        other.cursor().execute("SELECT GET_LOCK('galera_router galera_router', 1)")
        yield

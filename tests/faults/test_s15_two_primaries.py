"""A lock that is held on two primaries at once: one ticket is sold twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

import pytest
from django.db import Error, connection, connections, transaction

from tests.faults.children import Child, ChildError
from tests.faults.known import both
from tests.faults.nodes import be_quick, fail_back, fail_over
from tests.faults.support import EitherShop
from tests.integration.support import wait_until
from tests.shop.models import Room, Tag, Ticket

Hold = Callable[[], None]
Buy = Callable[[Hold], None]

#: Seconds for which the second buyer may wait for the first one's lock, until that goes on: it is
#: certain to wait on stock Django, and has to have time enough to buy with the router.
WAIT, LONG_WAIT = 0.5, 3.0


def no_hold() -> None:
    """Go on at once."""


def start() -> None:
    """Connect to where one writes, if one can."""
    with suppress(Error):
        Tag.objects.create(name="started")


def sell(hold: Hold) -> None:
    """Sell the one ticket, if it is still there."""
    if not Ticket.objects.exists():
        Ticket.objects.create()
        hold()


def buy(hold: Hold = no_hold) -> None:
    """Buy under the lock of a row, which is not changed."""
    with transaction.atomic():
        Room.objects.select_for_update().get(name="office")
        sell(hold)


def buy_by_name(hold: Hold = no_hold) -> None:
    """Buy under a lock of the server's."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('office', 10)")
        assert cursor.fetchone() == (1,)
        try:
            with transaction.atomic():
                sell(hold)
        finally:
            cursor.execute("SELECT RELEASE_LOCK('office')")


def in_a_thread(work: Callable[[], None]) -> Exception | None:
    """Run ``work`` as another client; an error of the database's is what it was told."""
    try:
        work()
    except (Error, ChildError) as error:
        return error
    finally:
        connections.close_all()
    return None


def two_buyers(
    shop: EitherShop, first: Buy, change: Callable[[], Any], second: Callable[[], Any]
) -> str:
    """Have ``first`` come to its hold, make ``change``, and have ``second`` run meanwhile.

    Returns what they were told, for a message.
    """
    holds, go = threading.Event(), threading.Event()

    def hold() -> None:
        holds.set()
        go.wait(30)

    with ThreadPoolExecutor(2) as pool:
        try:
            told: list[Future[Any]] = [pool.submit(in_a_thread, lambda: first(hold))]
            assert holds.wait(10), "the first buyer has not come to the ticket"
            change()
            told.append(pool.submit(in_a_thread, second))
            wait(told[1:], WAIT if shop.is_stock else LONG_WAIT)
        finally:
            go.set()
        return f"{[future.result(30) for future in told]}"


def sold(shop: EitherShop) -> int:
    ((count,),) = shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_ticket")
    return int(count)


@pytest.fixture
def office(shop: EitherShop, monkeypatch: pytest.MonkeyPatch) -> EitherShop:
    """One lock row, no ticket sold; what happens to nodes is noticed soon."""
    be_quick(monkeypatch)
    Room.objects.create(name="office")
    shop.settle()
    return shop


@pytest.mark.parametrize("purchase", [buy, buy_by_name])
@both()
def test_the_first_node_comes_back(office: EitherShop, purchase: Buy) -> None:
    """The first buyer has begun on db2; the second one begins on db1, which is back."""
    fail_over(office)
    told = two_buyers(office, purchase, lambda: fail_back(office), lambda: purchase(no_hold))
    assert sold(office) == 1, told


@pytest.mark.parametrize("purchase", [buy, buy_by_name])
@both()
def test_the_primary_is_desynced(office: EitherShop, purchase: Buy) -> None:
    """The first buyer goes on there, the second one begins on db2."""

    def desync() -> None:
        office.galera["db1"].query("SET GLOBAL wsrep_desync = ON")
        if not office.is_stock:
            cluster = office.session.cluster
            wait_until(lambda: cluster.primary() is cluster.nodes[1])

    told = two_buyers(office, purchase, desync, lambda: purchase(no_hold))
    assert sold(office) == 1, told


@pytest.mark.parametrize("purchase", [buy, buy_by_name])
@both()
def test_a_process_alone_cannot_reach_the_primary(office: EitherShop, purchase: Buy) -> None:
    """It begins on db2, the others stay where they are."""
    with office.galera.proxies() as proxies:
        proxies["db1"].refuse()
        options = {"reconnect_wait_time": 2.0}
        databases = office.databases(proxies=proxies, OPTIONS=options)
        with Child(databases) as cut_off:
            cut_off.call(start)
            told = two_buyers(office, purchase, no_hold, lambda: cut_off.call(purchase))
            assert sold(office) == 1, told

"""Statements arrive at the server after their replay has gone elsewhere, or while it does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext

import pytest
from django.db import connection, transaction
from django.db.models import F

from galera_router.exceptions import ReplayMismatch
from galera_router.recovery.marker import Marker
from galera_router.testing.generallog import LogMark
from tests.integration.support import Shop, crowd, wait_until
from tests.shop.models import Book, Tag

TIMES = 20
CLIENTS = "SELECT 1 FROM information_schema.processlist WHERE user = 'galera'"


def add(pk: int) -> int:
    return Book.objects.filter(pk=pk).update(stock=F("stock") + 1)


def late_commit(pk: int, hold: Callable[[], None]) -> int:
    with transaction.atomic():
        told = add(pk)
        hold()
    return told


def late_statement(pk: int, hold: Callable[[], None]) -> int:
    hold()
    return add(pk)


def late_save(pk: int, hold: Callable[[], None]) -> int:
    hold()
    tag = Tag.objects.create(name=f"t{pk}")
    return add(pk) if list(Tag.objects.filter(name=tag.name)) == [tag] else 0


lates = pytest.mark.parametrize("write", [late_commit, late_statement, late_save])
Late = Callable[[int, Callable[[], None]], int]
#: A COMMIT is not logged where the server has rolled the transaction back already.
ARRIVES: dict[Late, str] = {
    late_commit: "COMMIT",
    late_statement: "UPDATE `shop_book`",
    late_save: "INSERT INTO `shop_tag`",
}


def ready(shop: Shop) -> list[int]:
    """The keys of a book for each thread, and a marker for each."""
    pks = shop.shelf(TIMES)
    assert crowd(TIMES, lambda n, hold: late_commit(pks[n], hold), shop.settle) == [1] * TIMES
    return pks


def write_late(
    pks: list[int], write: Late, strike: Callable[[], None], heal: Callable[[], None], at: float
) -> None:
    """Have ``write`` struck in all threads; ``heal`` so many seconds later, or at the end."""
    timer = threading.Timer(at, heal)

    def work(number: int, hold: Callable[[], None]) -> int:
        with connection.cursor() as cursor:
            cursor.execute("DO 0")
        return write(pks[number], hold)

    def strike_and_heal() -> None:
        strike()
        timer.start()

    try:
        assert crowd(TIMES, work, strike_and_heal) == [1] * TIMES
    finally:
        timer.cancel()
        timer.join()
        heal()


def check(shop: Shop) -> None:
    """Nothing is under way any more, and everything is there once."""
    db1 = shop.galera["db1"]
    connection.close()
    wait_until(lambda: not db1.query(CLIENTS))
    assert shop.everywhere("SELECT DISTINCT stock FROM galera_router.shop_book") == [(12,)]
    tags = "SELECT COUNT(*), COUNT(DISTINCT name) FROM galera_router.shop_tag"
    assert shop.everywhere(tags) in ([(0, 0)], [(TIMES, TIMES)])


@lates
@pytest.mark.parametrize("at", [30.0, 1.7])
def test_the_original_arrives_after_its_replay_or_during_it(
    shop: Shop, write: Late, at: float
) -> None:
    """The packets are held back on their way to a node that is well and hears them later."""
    db1 = shop.galera["db1"]
    db1.query("SET GLOBAL general_log = 1")
    marks: list[LogMark] = []
    with shop.proxied() as proxies:
        pks = ready(shop)

        def strike() -> None:
            proxies["db1"].black_hole()
            marks.append(db1.log_mark())

        write_late(pks, write, strike, proxies["db1"].restore, at)
        wait_until(lambda: not db1.query(CLIENTS))
        late = sum(ARRIVES[write] in statement.sql for statement in db1.log_since(marks[0]))
        assert late >= TIMES or write is late_commit
        check(shop)


@lates
@pytest.mark.parametrize("at", [30.0, 1.2])
def test_the_original_waits_in_the_socket_of_a_frozen_node(
    shop: Shop, write: Late, at: float
) -> None:
    pks = ready(shop)
    db1 = shop.galera["db1"]
    write_late(pks, write, db1.freeze, db1.thaw, at)
    shop.galera.wait_synced()
    check(shop)


@pytest.mark.parametrize("epochs", [True, False])
def test_what_was_given_up_does_not_arrive_after_all(shop: Shop, epochs: bool) -> None:
    """The replay differs, and that is told: then the original may not be committed either.

    Where there are no epochs the marker alone sees to that.
    """
    db1 = shop.galera["db1"]
    with nullcontext() if epochs else shop.without_epochs(), shop.proxied() as proxies:
        pks = ready(shop)

        def work(number: int, hold: Callable[[], None]) -> None:
            with transaction.atomic():
                Tag.objects.create(name="given up")
                assert Book.objects.get(pk=pks[number]).stock == 11
                hold()

        def strike() -> None:
            proxies["db1"].black_hole()
            shop.galera["db2"].query("UPDATE galera_router.shop_book SET stock = 12")

        told = crowd(TIMES, work, strike)
        proxies["db1"].restore()
        assert [type(error) for error in told] == [ReplayMismatch] * TIMES
        wait_until(lambda: not db1.query(CLIENTS))
        check(shop)


def test_the_original_arrives_when_another_node_is_the_primary(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its epoch is over: it is not committed, even before its marker's row was moved."""
    shop.stock()
    fence = Marker.fence
    with shop.proxied() as proxies:

        def arrive(marker: Marker) -> bytes:
            proxies["db1"].restore()
            wait_until(lambda: not db1.query(CLIENTS))
            arrived.append(shop.everywhere("SELECT name FROM galera_router.shop_tag"))
            return fence(marker)

        db1, arrived = shop.galera["db1"], list[list[tuple[str]]]()
        monkeypatch.setattr(Marker, "fence", arrive)
        with pytest.raises(ReplayMismatch), transaction.atomic():
            Tag.objects.create(name="never")
            assert Book.objects.get().stock == 10
            proxies["db1"].black_hole()
            shop.galera["db2"].query("UPDATE galera_router.shop_book SET stock = 12")
    assert arrived == [[]]
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == []


@pytest.mark.parametrize("count", [1, 0])
def test_the_original_arrives_when_its_client_has_gone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """It arrives before anybody looks: the server cannot answer it, and may commit it."""
    pk = shop.stock().pk if count else 0
    db1 = shop.galera["db1"]
    db1.query("SET GLOBAL general_log = 1")
    look = Marker.look
    quick = {"watchdog_after": 0.1, "watchdog_timeout": 0.2}
    with shop.proxied() as proxies:

        def arrive(marker: Marker) -> bytes:
            proxies["db1"].restore()
            wait_until(lambda: any("shop_book" in s.sql for s in db1.log_since(mark)))
            wait_until(lambda: not db1.query(CLIENTS))
            return look(marker)

        monkeypatch.setattr(Marker, "look", arrive)
        for _ in range(TIMES):
            shop.configure(proxies=proxies, OPTIONS=quick)
            Tag.objects.create(name="x")
            proxies["db1"].black_hole()
            mark = db1.log_mark()
            assert add(pk) == count
    stocks = shop.everywhere("SELECT stock FROM galera_router.shop_book")
    assert stocks == ([(10 + TIMES,)] if count else [])

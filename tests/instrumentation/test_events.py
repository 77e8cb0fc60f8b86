"""When events are sent, in which thread, and what a receiver may do."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from django.dispatch import Signal

from galera_router import galera_atomic, signals
from galera_router.cluster import monitor
from galera_router.events import (
    Conflict,
    NodeDown,
    NodeUp,
    OutcomeUnknown,
    PrimaryChanged,
    Rerun,
    RerunRefused,
    Waited,
)
from galera_router.exceptions import CommitOutcomeUnknown, NoNodeAvailable, ReplayMismatch
from galera_router.instrumentation import install, uninstall
from tests.instrumentation.support import recorded
from tests.integration.support import Shop, wait_until
from tests.shop.models import Author, Book

COMMIT = r"\ACOMMIT\Z"


@contextmanager
def receiving(signal: Signal, receive: Any) -> Iterator[None]:
    signal.connect(receive)
    try:
        yield
    finally:
        signal.disconnect(receive)


def test_a_receiver_may_use_the_database(shop: Shop) -> None:
    shop.stock()
    seen: list[int] = []

    def look(event: Any, **kwargs: Any) -> None:
        seen.append(Book.objects.count())

    kinds = (signals.failover, signals.node_down, signals.promotion)
    with ExitStack() as stack:
        for signal in kinds:
            stack.enter_context(receiving(signal, look))
        with transaction.atomic():
            Book.objects.count()
            shop.reading.kill()
            assert Book.objects.count() == 1
            Author.objects.create(name="Bea")
            assert Book.objects.count() == 1
    assert seen == [1] * len(kinds)


def test_a_receiver_that_raises_does_not_break_the_transaction(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.stock()

    def fail(event: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    promoting = receiving(signals.promotion, fail)
    with receiving(signals.failover, fail), promoting, transaction.atomic():
        Book.objects.count()
        Author.objects.create(name="Bea")
        shop.writing.kill()
        Author.objects.create(name="Cid")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(3,)]
    assert len([record for record in caplog.records if record.exc_info]) == 2


def test_the_watchdog_tells_in_its_own_thread(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "ASK_WELL", 1.0)
    shop.stock()
    threads: list[str] = []

    def note(event: NodeDown, **kwargs: Any) -> None:
        threads.append(threading.current_thread().name)

    with receiving(signals.node_down, note), recorded() as recorder:
        shop.galera["db3"].kill()
        wait_until(lambda: shop.session.cluster.primary() is not None and bool(threads))
        shop.galera["db3"].start()
        wait_until(lambda: shop.session.cluster.primary() is not None and recorder.of(NodeUp) != [])
    assert threads == ["galera_router: watchdog"]
    (up,) = recorder.of(NodeUp)
    assert 0 < up.seconds < 60


class NoLock(nullcontext[None]):
    """Lets everybody in at once."""

    def acquire(self) -> None: ...
    def release(self) -> None: ...


@pytest.mark.parametrize("slow", ["a receiver", "a handler of the log"])
def test_who_takes_long_to_listen_keeps_no_statement_on_a_dead_node(shop: Shop, slow: str) -> None:
    """The watchdog frees what waits before it tells anybody why."""
    shop.stock()
    over = threading.Event()

    class Slow(logging.Handler):
        def createLock(self) -> None:
            # Else the statement's own line waits for that of the watchdog.
            self.lock = NoLock()  # type: ignore[assignment]

        def emit(self, record: logging.LogRecord) -> None:
            if "is down" in record.getMessage():
                over.wait(6.0)

    def listen(event: NodeDown, **kwargs: Any) -> None:
        over.wait(6.0)

    handler, log = Slow(), logging.getLogger("galera_router")
    with ExitStack() as stack:
        stack.callback(over.set)
        if slow == "a receiver":
            stack.enter_context(receiving(signals.node_down, listen))
        else:
            log.addHandler(handler)
            stack.callback(log.removeHandler, handler)
        stack.enter_context(transaction.atomic())
        Book.objects.count()
        frozen = shop.reading
        stack.callback(frozen.thaw)
        frozen.freeze()
        began = time.monotonic()
        assert Book.objects.count() == 1
        assert time.monotonic() - began < 4.0


def test_who_has_changed_the_primary(shop: Shop) -> None:
    shop.stock()
    with recorded() as recorder:
        call_command("galera_switchover", "db2", verbosity=0)
    (event,) = recorder.of(PrimaryChanged)
    assert (event.node, event.before, event.reason, event.held) == ("db2", "db1", "by hand", True)
    host, _, process = event.by.rpartition(":")
    assert host == socket.gethostname()
    assert process.isdigit()


def test_nobody_knows_what_became_of_it(shop: Shop) -> None:
    with shop.proxied() as proxies, shop.without_marker_table():
        Author.objects.create(name="Bea")
        rule = proxies["db1"].swallow(COMMIT, cut=True)
        unknown = pytest.raises(CommitOutcomeUnknown)
        with recorded() as recorder, unknown as raised, transaction.atomic():
            Author.objects.create(name="Cid")
        assert rule.fired == 1
        (event,) = recorder.of(OutcomeUnknown)
        assert event.lost == raised.value.node == "db1"
        assert event.connection_id == raised.value.connection_id
        assert event.writes == raised.value.writes == ("INSERT shop_author",)
        assert "Cid" not in str(recorder.found)


def test_a_conflict_that_goes_to_the_application(shop: Shop) -> None:
    shop.configure(OPTIONS={"failover_enable": False})
    shop.stock()
    with recorded() as recorder, pytest.raises(Exception, match="1213"), transaction.atomic():
        Book.objects.update(stock=F("stock") + 1)
        shop.galera["db3"].query("UPDATE galera_router.shop_book SET stock = 5")
        shop.settle()
        Book.objects.update(stock=F("stock") + 1)
    assert [(event.error, event.again) for event in recorder.of(Conflict)] == [(1213, False)]


@pytest.mark.parametrize("done", [False, True])
def test_what_is_run_again_and_what_is_not(shop: Shop, done: bool) -> None:
    shop.stock()
    left = [1]

    @galera_atomic
    def sell() -> None:
        book = Book.objects.get()
        if left:
            left.pop()
            shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 50")
            shop.settle()
            if done:
                thread = threading.Thread(target=write)
                thread.start()
                thread.join()
        book.stock -= 1
        book.save()

    def write() -> None:
        Author.objects.create(name="Bea")
        connection.close()

    with recorded() as recorder:
        if done:
            with pytest.raises(ReplayMismatch):
                sell()
        else:
            sell()
    assert [event.run for event in recorder.of(Rerun)] == ([] if done else [2])
    refused = recorder.of(RerunRefused)
    assert [event.error for event in refused] == (["ReplayMismatch"] if done else [])
    assert all("sell" in event.what and event.alias == "default" for event in refused)


def test_a_wait_in_vain(shop: Shop) -> None:
    shop.configure(OPTIONS={"reconnect_wait_time": 0.5})
    Author.objects.create(name="Bea")
    for node in shop.galera.nodes:
        node.kill()
    with recorded() as recorder, pytest.raises(NoNodeAvailable):
        Author.objects.create(name="Cid")
    (event,) = recorder.of(Waited)
    assert event.why == "for a node"
    assert 0.4 < event.seconds < 5


def test_what_is_uninstalled_hears_nothing(shop: Shop) -> None:
    shop.stock()
    with recorded() as recorder:
        install(recorder)  # again: it hears everything once
        with transaction.atomic():
            Book.objects.count()
            Author.objects.create(name="Bea")
    assert len(recorder.found) == 1
    uninstall(recorder)
    with transaction.atomic():
        Book.objects.count()
        Author.objects.create(name="Cid")
    assert len(recorder.found) == 1
    assert not signals.promotion.receivers

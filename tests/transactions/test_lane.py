"""The fast lane: the second read of a transaction is sent at once, but only while all is usual."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import MySQLdb
import pytest
from django.db import connection, connections, transaction
from MySQLdb.cursors import SSCursor

import galera_router
from galera_router import after, causal_token, reads
from galera_router.causality import scope
from galera_router.exceptions import ReplayMismatch
from galera_router.recovery import journal as journals
from galera_router.transactions import lane as module
from galera_router.transactions.cursor import _Door
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author, Book

PACKAGE = Path(galera_router.__file__).parent


def read() -> list[str]:
    """A read that the fast lane takes once one has gone before it."""
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@pytest.fixture
def quick(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What has been sent on the fast lane."""
    shop.warm()
    Author.objects.create(name="Ann")
    shop.settle()
    shop.forget()
    sent: list[bytes] = []
    note = module.Lane.note

    def noted(lane: module.Lane, cursor: Any, statement: Any, sql: bytes) -> None:
        sent.append(sql)
        note(lane, cursor, statement, sql)

    monkeypatch.setattr(module.Lane, "note", noted)
    monkeypatch.setattr(module, "_reads", {})
    return sent


def test_the_second_read_of_a_snapshot_and_those_behind_it(quick: list[bytes]) -> None:
    with transaction.atomic():
        assert [read() for _ in range(3)] == [["Ann"]] * 3
    assert len(quick) == 2
    assert read() == ["Ann"]
    assert len(quick) == 2


def test_a_newcomer_finds_the_way_of_a_first_read_in_eight_modules(shop: Shop) -> None:
    """From the call of ``execute()`` to its return; those of the request around it are others."""
    shop.settle()
    shop.forget()
    found = [modules(in_a_block) for _ in range(3)][-1]  # by then the statement is known
    assert len(found) <= 8, sorted(found)
    assert {"cursor", "lane", "session", "transaction", "packet"} <= found


def in_a_block() -> None:
    with transaction.atomic():
        read()


def modules(work: Callable[[], Any]) -> set[str]:
    """The modules of galera_router that run while the driver's door executes a statement."""
    found: set[str] = set()
    depth = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal depth
        if frame.f_code is _Door.execute.__code__:
            depth += {"call": 1, "return": -1}.get(event, 0)
        if depth and event == "call" and PACKAGE in Path(frame.f_code.co_filename).parents:
            found.add(Path(frame.f_code.co_filename).stem)

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def test_the_first_read_too_once_the_statement_is_known(quick: list[bytes], shop: Shop) -> None:
    for _ in range(2):
        with transaction.atomic():
            assert [read(), read()] == [["Ann"]] * 2
    assert len(quick) == 3
    with shop.traffic() as sent, transaction.atomic():
        read()
    (statements,) = [found for found in sent.values() if found]
    assert statements[0] == "Query START TRANSACTION READ ONLY"
    assert statements[2] == "Query COMMIT"


@pytest.mark.parametrize("noticed", [True, False])
def test_a_first_read_whose_connection_is_lost_is_sent_again(
    quick: list[bytes], shop: Shop, noticed: bool
) -> None:
    with shop.proxied() as proxies:
        for name in proxies:
            connections[f"default_{name}"].ensure_connection()
        for _ in range(6):  # by chance from either secondary
            with transaction.atomic():
                read()
        rules = [
            proxy.swallow("START TRANSACTION READ ONLY", cut=True) for proxy in proxies.values()
        ]
        if noticed:
            for node in shop.galera.nodes:
                node.kill_connections()
        with transaction.atomic():
            assert [read(), read()] == [["Ann"]] * 2
        assert any(rule.fired for rule in rules)


def test_a_first_read_after_a_write_waits_for_it(quick: list[bytes], shop: Shop) -> None:
    for name in ("Bob", "Cid"):
        with transaction.atomic():
            read()
        Author.objects.create(name=name)
        with transaction.atomic():
            assert name in read()


def test_reads_on_the_primary(quick: list[bytes]) -> None:
    with transaction.atomic():
        Author.objects.create(name="Bob")
        assert [read() for _ in range(3)] == [["Ann", "Bob"]] * 3
        Author.objects.filter(name="Bob").update(name="Cid")
        assert [read() for _ in range(3)] == [["Ann", "Cid"]] * 3
    assert len(quick) == 4  # the write in between closes it


def in_reads_primary(stack: ExitStack) -> None:
    stack.enter_context(reads("primary"))


def by_an_option_of_the_connection(stack: ExitStack) -> None:
    connection.reads = "primary"  # type: ignore[attr-defined]


def by_optimism_turned_off(stack: ExitStack) -> None:
    connection.optimistic_transactions = False  # type: ignore[attr-defined]


def by_a_second_run(stack: ExitStack) -> None:
    session = connection.galera_session  # type: ignore[attr-defined]
    stack.enter_context(session.on_primary())


@pytest.mark.parametrize(
    "disturb",
    [in_reads_primary, by_an_option_of_the_connection, by_optimism_turned_off, by_a_second_run],
)
def test_what_moves_reads_to_the_primary_moves_those_of_an_open_snapshot(
    quick: list[bytes], shop: Shop, disturb: Callable[[ExitStack], None]
) -> None:
    with transaction.atomic(), ExitStack() as stack:
        assert [read(), read()] == [["Ann"]] * 2
        disturb(stack)
        assert read() == ["Ann"]
        assert len(quick) == 1
        assert shop.session.promoted


def test_a_write_of_another_thread_of_the_request_is_seen(quick: list[bytes]) -> None:
    with scope.needing({}, request=True), transaction.atomic():
        Book.objects.count()
        Book.objects.count()
        thread = threading.Thread(target=write_and_close)
        thread.start()
        thread.join()
        assert read() == ["Ann", "Bob"]


def write_and_close() -> None:
    Author.objects.create(name="Bob")
    connections.close_all()


def test_a_token_that_came_later_is_waited_for(quick: list[bytes], shop: Shop) -> None:
    def write() -> str:
        Author.objects.create(name="Bob")
        return causal_token()

    with transaction.atomic():
        assert [Book.objects.count(), Book.objects.count()] == [0, 0]
        token = elsewhere(write)
        with after(token):
            assert read() == ["Ann", "Bob"]


def test_a_lost_secondary_is_replaced_and_its_reads_are_compared(
    quick: list[bytes], shop: Shop
) -> None:
    with transaction.atomic():
        assert [read() for _ in range(3)] == [["Ann"]] * 3
        shop.reading.kill()
        assert [read() for _ in range(3)] == [["Ann"]] * 3
    assert len(quick) == 4


@pytest.mark.parametrize("promoted", [False, True])
def test_a_cursor_whose_read_has_moved_speaks_through_the_new_connection(
    quick: list[bytes], shop: Shop, promoted: bool
) -> None:
    with transaction.atomic():
        if promoted:
            list(Book.objects.select_for_update())
        with connection.cursor() as cursor:
            for number in (1, 2, 3):
                if number == 3:
                    (shop.writing if promoted else shop.reading).kill_connections()
                cursor.execute("SELECT name, %s FROM shop_author", [number])
                assert cursor.fetchall() == (("Ann", number),)
            link = shop.session.primary if promoted else shop.session.snapshot
            assert link is not None
            assert cursor.cursor.cursor.connection is link.connection


@pytest.mark.parametrize("promoted", [False, True])
def test_what_was_read_on_the_lane_is_compared(
    quick: list[bytes], shop: Shop, promoted: bool
) -> None:
    with pytest.raises(ReplayMismatch), transaction.atomic():
        if promoted:
            list(Book.objects.select_for_update())
        Book.objects.count()
        read()
        node = shop.writing if promoted else shop.reading
        shop.galera["db3"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
        shop.settle()
        node.kill_connections()
        read()


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_beyond_the_limit_of_the_journal_nothing_is_quick(quick: list[bytes], limit: int) -> None:
    connection.failover_history_limit = limit  # type: ignore[attr-defined]
    with transaction.atomic():
        assert [read() for _ in range(5)] == [["Ann"]] * 5
    assert len(quick) == limit - 1


def test_more_rows_than_are_kept_become_a_digest(
    quick: list[bytes], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "ROWS_KEPT", 2)
    monkeypatch.setattr(module, "ROWS_KEPT", 2)
    Author.objects.bulk_create(Author(name=f"b{n}") for n in range(4))
    shop.settle()
    shop.forget()
    with transaction.atomic():
        Book.objects.count()
        read()
        read()
        entries = list(shop.session.transaction.journal)  # type: ignore[union-attr]
        assert [entry.digest is None for entry in entries] == [True, False, True]
        shop.reading.kill_connections()
        assert len(read()) == 5


def test_more_bytes_than_are_kept_become_a_digest(
    quick: list[bytes], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "BYTES_KEPT", 4)
    monkeypatch.setattr(module, "BYTES_KEPT", 4)
    with transaction.atomic():
        assert [read() for _ in range(4)] == [["Ann"]] * 4
        entries = list(shop.session.transaction.journal)  # type: ignore[union-attr]
        assert [entry.digest is None for entry in entries] == [True, False, False, True]
        shop.reading.kill_connections()
        assert read() == ["Ann"]


def test_a_connection_that_the_application_closes_is_not_spoken_through(
    quick: list[bytes], shop: Shop
) -> None:
    with transaction.atomic():
        read(), read()
        connections[f"default_{shop.reading.name}"].close()
        assert [read(), read()] == [["Ann"]] * 2


def test_rows_that_a_node_alias_has_not_read_yet_are_not_taken_for_ours(
    quick: list[bytes], shop: Shop
) -> None:
    """Both speak through the same connection."""
    with transaction.atomic():
        read(), read()
        other = connections[f"default_{shop.reading.name}"]
        other.ensure_connection()
        cursor = other.connection.cursor(SSCursor)
        cursor.execute("SELECT 1 UNION SELECT 2")
        assert cursor.fetchone() == (1,)
        assert cursor.fetchall() == ((2,),)
        count = len(quick)
        assert read() == ["Ann"]
        assert len(quick) == count
        assert read() == ["Ann"]
        assert len(quick) == count + 1


def test_a_cursor_used_again_has_the_new_answer_alone(quick: list[bytes]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for number in (1, 2, 3):
            cursor.execute("SELECT name, %s FROM shop_author", [number])
            assert cursor.fetchall() == (("Ann", number),)
            assert cursor.rowcount == 1
        with pytest.raises(MySQLdb.OperationalError):
            cursor.cursor.execute("SELECT nothing FROM shop_author")
        cursor.execute("SELECT name, %s FROM shop_author", [4])
        assert cursor.fetchone() == ("Ann", 4)
    with pytest.raises(MySQLdb.ProgrammingError):
        cursor.cursor.execute("SELECT name, %s FROM shop_author", [4])


#: The larger the number, the longer it takes.
SLOW = (
    "SELECT name, (SELECT MAX(a.seq + b.seq) FROM seq_1_to_%s a, seq_1_to_1000 b) FROM shop_author"
)


class Interrupted(Exception):
    """As a time limit's signal handler raises."""


def test_an_exception_in_the_middle_costs_the_connection(quick: list[bytes], shop: Shop) -> None:
    def raise_it(*args: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, raise_it)
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                for number in (1, 2):
                    cursor.execute(SLOW, [number])
                assert len(quick) == 1
                link = shop.session.snapshot
                signal.setitimer(signal.ITIMER_REAL, 0.3)
                with pytest.raises(Interrupted):
                    quickly_forever(cursor)
            assert read() == ["Ann"]
            assert shop.session.snapshot is not link
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def quickly_forever(cursor: Any) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        cursor.execute(SLOW, [20_000])
    raise AssertionError("nothing has come")


def test_a_statement_from_within_another_one_is_refused(quick: list[bytes], shop: Shop) -> None:
    told: list[Exception] = []

    def query(*args: object) -> None:
        try:
            read()
        except Exception as error:
            told.append(error)

    before = signal.signal(signal.SIGALRM, query)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            for number in (1, 2, 20_000):
                if number > 2:
                    signal.setitimer(signal.ITIMER_REAL, 0.01)
                cursor.execute(SLOW, [number])
            assert cursor.fetchall() == (("Ann", 21_000),)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert [type(error).__name__ for error in told] == ["InterfaceError"]


def test_a_read_behind_a_statement_that_may_have_ended_the_transaction(
    quick: list[bytes], shop: Shop
) -> None:
    """The server is asked first whether it has."""
    with transaction.atomic(), connection.cursor() as cursor:
        Author.objects.create(name="Bob")
        read(), read()
        cursor.execute("ALTER TABLE shop_tag COMMENT = ''")
        count = len(quick)
        assert read() == ["Ann", "Bob"]
        assert len(quick) == count
        current = shop.session.transaction
        assert current is not None
        assert current.partly

"""Others write the same rows: the transaction is replayed where it stands, or says so."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import MySQLdb
import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F

from galera_router import galera_atomic
from galera_router.recovery.journal import Entry
from galera_router.recovery.replay import Replay
from galera_router.testing import GaleraNode
from tests.integration.support import Shop, crowd, elsewhere
from tests.shop.models import Author, Book, Tag

TIMES = 20
HUNDRED = "UPDATE galera_router.shop_book SET stock = stock + 100"


def insist(node: GaleraNode, sql: str) -> None:
    """Have the node carry out ``sql``, which may itself be the one that loses."""
    while True:
        try:
            node.query(sql)
        except MySQLdb.OperationalError as error:
            if error.args[0] != 1213:
                raise
        else:
            return


def add(pk: int | None = None) -> int:
    books = Book.objects.all() if pk is None else Book.objects.filter(pk=pk)
    return books.update(stock=F("stock") + 1)


def stocks(shop: Shop) -> list[Any]:
    return shop.everywhere("SELECT DISTINCT stock FROM galera_router.shop_book")


def tags(shop: Shop) -> int:
    return int(shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag")[0][0])


def number(error: BaseException) -> Any:
    return error.args[0]


@contextlib.contextmanager
def client(shop: Shop, node: str = "db1") -> Iterator[Any]:
    """A cursor of somebody else's, outside autocommit."""
    server = shop.galera[node]
    other = MySQLdb.connect(
        host=server.host,
        port=server.port,
        user=shop.galera.user,
        password=shop.galera.password,
        database=shop.galera.database,
    )
    with contextlib.closing(other), contextlib.closing(other.cursor()) as cursor:
        yield cursor


@contextlib.contextmanager
def others(node: GaleraNode, sql: str, pause: float) -> Iterator[list[int]]:
    """Somebody who does ``sql`` again and again; how often is counted."""
    done, end = [0], threading.Event()

    def run() -> None:
        while not end.wait(pause):
            with contextlib.suppress(MySQLdb.OperationalError):
                node.query(sql)
                done[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        end.set()
        thread.join()


# --- certification ------------------------------------------------------------------------


def nothing(n: int) -> None:
    """The next statement is COMMIT."""


def write(n: int) -> None:
    Tag.objects.create(name=f"t{n}")


def write_the_same(n: int) -> None:
    assert Book.objects.update(blurb=f"b{n}") == 1


def read(n: int) -> None:
    assert Tag.objects.count() == 0


def read_the_same(n: int) -> None:
    """What it gives was not seen before: it may be anything."""
    assert Book.objects.get().stock == 11 + 101 * n + 100


def locked(n: int) -> None:
    assert Book.objects.select_for_update().get().stock == 11 + 101 * n + 100


def savepoint(n: int) -> None:
    with transaction.atomic():
        Tag.objects.create(name=f"t{n}")


@pytest.mark.parametrize(
    "following", [nothing, write, write_the_same, read, read_the_same, locked, savepoint]
)
def test_another_node_has_committed_the_same_row(
    shop: Shop, following: Callable[[int], None]
) -> None:
    """It has been applied here: the server has undone ours, and the next statement is told."""
    shop.stock()
    hooks: list[int] = []
    for n in range(TIMES):
        with transaction.atomic():
            transaction.on_commit(lambda: hooks.append(1))
            assert add() == 1
            shop.galera["db2"].query(HUNDRED)
            shop.settle()
            following(n)
    assert stocks(shop) == [(10 + 101 * TIMES,)]
    assert len(hooks) == TIMES
    assert tags(shop) == (TIMES if following in (write, savepoint) else 0)


@pytest.mark.parametrize("following", [nothing, write, write_the_same])
def test_another_node_is_just_committing_the_same_row(
    shop: Shop, following: Callable[[int], None]
) -> None:
    """Nobody has noticed yet: COMMIT is told that certification has failed."""
    shop.stock()
    for n in range(TIMES):
        with transaction.atomic():
            assert add() == 1
            thread = threading.Thread(target=insist, args=(shop.galera["db2"], HUNDRED))
            thread.start()
            following(n)
        thread.join()
    assert stocks(shop) == [(10 + 101 * TIMES,)]
    assert tags(shop) == (TIMES if following is write else 0)


PATIENT = {"conflict_retries": 10}


@pytest.mark.parametrize("within", [True, False])
def test_many_write_the_same_row(shop: Shop, within: bool) -> None:
    """Often enough to meet every moment at which a server may undo a transaction."""
    pk = shop.stock().pk
    shop.configure(OPTIONS=PATIENT)
    end = time.monotonic() + 5.0
    count = 0
    with others(shop.galera["db2"], HUNDRED, 0.002) as done:
        while time.monotonic() < end:
            with transaction.atomic() if within else contextlib.nullcontext():
                assert add(pk) == 1
            count += 1
            stock = shop.galera["db1"].query("SELECT stock % 100 FROM galera_router.shop_book")
            assert stock == [((10 + count) % 100,)], f"after {count}"
    assert count > 30  # on a machine that is busy with other clusters
    assert done[0] > 30
    assert stocks(shop) == [(10 + count + 100 * done[0],)]


def test_what_is_replayed_is_replayed_as_a_whole(shop: Shop) -> None:
    """The replay is in the way of others, too; no part of it may be left without the rest."""
    pks = shop.shelf(3)
    end = time.monotonic() + 6.0
    count = told = 0
    with others(shop.galera["db2"], HUNDRED, 0.003) as done:
        while time.monotonic() < end:
            try:
                with transaction.atomic():
                    for pk in pks:
                        add(pk)
                    Tag.objects.bulk_create([Tag(name="t"), Tag(name="u")])
                    raw_tag()
            except OperationalError as error:
                told += number(error) == 1213
            else:
                count += 1
            stock = "SELECT DISTINCT stock % 100 FROM galera_router.shop_book"
            assert shop.galera["db1"].query(stock) == [((10 + count) % 100,)], f"after {count}"
    assert count + told > 10
    assert stocks(shop) == [(10 + count + 100 * done[0],)]
    assert tags(shop) == 3 * count


def raw_tag() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_tag (name) VALUES ('raw')")


def test_what_was_read_has_changed_and_the_error_is_told(shop: Shop) -> None:
    shop.stock()
    for n in range(TIMES):
        with pytest.raises(OperationalError) as caught, transaction.atomic():
            stock = Book.objects.get().stock
            assert stock == 10 + 100 * n
            Book.objects.update(stock=stock + 1)
            shop.galera["db2"].query(HUNDRED)
            shop.settle()
            Tag.objects.create(name="x")
        assert number(caught.value) == 1213
        shop.forget()
    assert stocks(shop) == [(10 + 100 * TIMES,)]
    assert tags(shop) == 0


def test_what_was_read_has_changed_and_the_function_runs_again(shop: Shop) -> None:
    shop.stock()
    runs: list[int] = []

    @galera_atomic
    def sell() -> None:
        book = Book.objects.get()
        book.stock += 1
        book.save()
        runs.append(book.stock)
        if len(runs) % 2:
            shop.galera["db2"].query(HUNDRED)
            shop.settle()
        Tag.objects.create(name="x")

    for _ in range(TIMES):
        sell()
        shop.forget()
    assert len(runs) == 2 * TIMES
    assert stocks(shop) == [(10 + 101 * TIMES,)]
    assert tags(shop) == TIMES


# --- how often ----------------------------------------------------------------------------


def test_they_are_not_replayed_where_that_is_turned_off(shop: Shop) -> None:
    shop.configure(OPTIONS={"conflict_retries": 0})
    shop.stock()
    with pytest.raises(OperationalError) as caught, transaction.atomic():
        add()
        shop.galera["db2"].query(HUNDRED)
        shop.settle()
        Tag.objects.create(name="x")
    assert number(caught.value) == 1213
    assert stocks(shop) == [(110,)]
    assert tags(shop) == 0


@pytest.mark.parametrize("retries", [1, 3])
@pytest.mark.parametrize("following", ["write", "commit"])
def test_after_so_many_the_error_is_told(shop: Shop, retries: int, following: str) -> None:
    shop.stock()
    shop.configure(OPTIONS={"conflict_retries": retries})
    add()
    mark = shop.galera["db1"].log_mark()
    shop.galera["db1"].query("SET GLOBAL general_log = 1")
    with others(shop.galera["db2"], HUNDRED, 0.01) as done:
        with pytest.raises(OperationalError) as caught, transaction.atomic():
            add()
            with connection.cursor() as cursor:
                cursor.execute("DO SLEEP(0.3)")
            if following == "write":
                Tag.objects.create(name="x")
        log = shop.galera["db1"].log_since(mark)
    assert number(caught.value) == 1213
    assert sum("START TRANSACTION" in statement.sql for statement in log) == 1 + retries
    assert stocks(shop) == [(11 + 100 * done[0],)]
    Tag.objects.create(name="all is well afterwards")
    assert tags(shop) == 1


# --- locks --------------------------------------------------------------------------------

IMPATIENT = {"init_command": "SET innodb_lock_wait_timeout = 1"}


@contextlib.contextmanager
def row_locked(shop: Shop, seconds: float) -> Iterator[None]:
    """Somebody on the primary changes the row, and commits that so much later."""
    with client(shop) as cursor:
        cursor.execute("UPDATE shop_book SET stock = stock + 100")

        def commit() -> None:
            time.sleep(seconds)
            cursor.connection.commit()

        thread = threading.Thread(target=commit)
        thread.start()
        try:
            yield
        finally:
            thread.join()


@pytest.mark.parametrize("within", [True, False])
def test_a_lock_is_waited_for_once_more(shop: Shop, within: bool) -> None:
    shop.stock()
    shop.configure(OPTIONS=IMPATIENT)
    Tag.objects.create(name="x")
    with row_locked(shop, 1.4), transaction.atomic() if within else contextlib.nullcontext():
        if within:
            Tag.objects.create(name="y")
        assert add() == 1
    assert stocks(shop) == [(111,)]
    assert tags(shop) == 1 + within


def test_many_wait_for_a_lock(shop: Shop) -> None:
    pk = shop.stock().pk
    shop.configure(OPTIONS=IMPATIENT)

    def work(n: int, hold: Callable[[], None]) -> int:
        with transaction.atomic():
            Tag.objects.create(name=f"t{n}")
            hold()
            return add(pk)

    with row_locked(shop, 1.4):
        assert crowd(TIMES, work, lambda: None) == [1] * TIMES
    assert stocks(shop) == [(110 + TIMES,)]
    assert tags(shop) == TIMES


@pytest.mark.alone
@pytest.mark.parametrize("within", [True, False])
def test_a_lock_is_not_waited_for_for_ever(shop: Shop, within: bool) -> None:
    shop.stock()
    shop.configure(OPTIONS=IMPATIENT)
    Tag.objects.create(name="x")
    with row_locked(shop, 3.0):
        started = time.monotonic()
        block = transaction.atomic() if within else contextlib.nullcontext()
        with pytest.raises(OperationalError) as caught, block:
            add()
        assert 1.8 < time.monotonic() - started < 2.8
    assert number(caught.value) == 1205
    assert stocks(shop) == [(110,)]


@pytest.mark.alone
def test_nowait_is_told_at_once_and_the_transaction_goes_on(shop: Shop) -> None:
    shop.stock()
    with row_locked(shop, 1.0):
        started = time.monotonic()
        with shop.galera["db1"].statements() as sent, transaction.atomic():
            Tag.objects.create(name="before")
            with pytest.raises(OperationalError) as caught, transaction.atomic():
                Book.objects.select_for_update(nowait=True).get()
            assert not Book.objects.select_for_update(skip_locked=True)
            Tag.objects.create(name="after")
        assert time.monotonic() - started < 0.9
    assert number(caught.value) == 1205
    assert sum("START TRANSACTION" in statement.sql for statement in sent) <= 2
    assert sum("NOWAIT" in statement.sql for statement in sent) == 1
    assert stocks(shop) == [(110,)]
    assert tags(shop) == 2


def test_two_of_ours_wait_for_each_other(shop: Shop) -> None:
    pks = shop.shelf(2)
    for _ in range(TIMES):
        both = threading.Barrier(2)

        def work(n: int, both: threading.Barrier = both) -> None:
            with transaction.atomic():
                assert add(pks[n]) == 1
                both.wait(10)
                assert add(pks[1 - n]) == 1
                Tag.objects.create(name="x")

        threads = [threading.Thread(target=elsewhere, args=(lambda n=n: work(n),)) for n in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert stocks(shop) == [(10 + 2 * TIMES,)]
    assert tags(shop) == 2 * TIMES


# --- in doubt -----------------------------------------------------------------------------


@pytest.mark.parametrize("delivered", [True, False])
@pytest.mark.parametrize("within", [True, False])
def test_a_conflict_while_in_doubt(shop: Shop, within: bool, delivered: bool) -> None:
    pk = shop.stock().pk
    with shop.proxied() as proxies:
        proxy = proxies["db1"]
        assert add(pk) == 1
        for n in range(TIMES):
            rule = (proxy.swallow if delivered else proxy.drop)(r"COMMIT(; END)?\Z")
            thread = threading.Thread(target=_conflict, args=(shop, rule, proxy))
            thread.start()
            with transaction.atomic() if within else contextlib.nullcontext():
                assert add(pk) == 1
            thread.join()
            assert rule.fired == 1
            assert stocks(shop) == [(11 + 101 * (n + 1),)]


def _conflict(shop: Shop, rule: Any, proxy: Any) -> None:
    rule.wait(10)
    shop.galera["db2"].query(HUNDRED)
    proxy.cut()


def _cut(rule: Any, proxy: Any) -> None:
    rule.wait(10)
    proxy.cut()


def test_what_was_read_has_changed_while_in_doubt(shop: Shop) -> None:
    shop.stock()
    runs: list[int] = []
    with shop.proxied() as proxies:
        proxy = proxies["db1"]

        @galera_atomic
        def sell() -> None:
            book = Book.objects.get()
            book.stock += 1
            book.save()
            runs.append(book.stock)

        for _ in range(TIMES):
            rule = proxy.drop(r"\ACOMMIT(; END)?\Z")
            thread = threading.Thread(target=_conflict, args=(shop, rule, proxy))
            thread.start()
            sell()
            thread.join()
            shop.forget()
    assert len(runs) == 2 * TIMES
    assert stocks(shop) == [(10 + 101 * TIMES,)]


# --- lost updates -------------------------------------------------------------------------


@pytest.fixture
def guarded(shop: Shop) -> Shop:
    shop.configure(OPTIONS={"lost_update_guard": True})
    return shop


def change(shop: Shop, done: list[int]) -> None:
    """Read, have another client of the same server write, write."""
    Tag.objects.create(name="x")
    book = Book.objects.get()
    done.append(book.stock)
    if len(done) % 2:
        shop.galera["db1"].query(HUNDRED)
    book.stock += 1
    book.save()


def test_without_the_guard_an_update_is_lost(shop: Shop) -> None:
    shop.stock()
    with transaction.atomic():
        change(shop, [])
    assert stocks(shop) == [(11,)]


def test_with_the_guard_the_function_runs_again(guarded: Shop) -> None:
    guarded.stock()
    done: list[int] = []
    function = galera_atomic(lambda: change(guarded, done))
    for _ in range(TIMES):
        function()
    assert len(done) == 2 * TIMES
    assert stocks(guarded) == [(10 + 101 * TIMES,)]
    assert tags(guarded) == TIMES


def test_with_the_guard_a_block_gets_the_error(guarded: Shop) -> None:
    guarded.stock()
    with pytest.raises(OperationalError) as caught, transaction.atomic():
        change(guarded, [])
    assert number(caught.value) == 1020
    assert stocks(guarded) == [(110,)]
    assert tags(guarded) == 0


def test_the_guard_holds_behind_a_lost_commit(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the new connection, in the replay, between what it reads and what it writes."""
    shop.stock()
    changes: list[int] = []
    send = Replay._replay

    def another_writes_first(replay: Replay, entry: Entry) -> None:
        if entry.statement.startswith(b"UPDATE") and not changes:
            changes.append(1)
            insist(shop.galera["db1"], HUNDRED)
        send(replay, entry)

    monkeypatch.setattr(Replay, "_replay", another_writes_first)

    @galera_atomic
    def sell() -> None:
        book = Book.objects.get()
        book.stock += 1
        book.save()

    with shop.proxied(OPTIONS={"lost_update_guard": True}) as proxies:
        proxy = proxies["db1"]
        with shop.session.on_primary():
            Book.objects.get()
        rule = proxy.drop(r"\ACOMMIT(; END)?\Z")
        thread = threading.Thread(target=_cut, args=(rule, proxy))
        thread.start()
        sell()
        thread.join()
    assert changes
    assert stocks(shop) == [(111,)]


def test_with_the_guard_a_row_that_was_not_read_is_no_error(guarded: Shop) -> None:
    guarded.stock()
    for _ in range(TIMES):
        with transaction.atomic():
            Tag.objects.create(name="x")
            assert Author.objects.count() == 1
            guarded.galera["db1"].query(HUNDRED)
            assert add() == 1
    assert stocks(guarded) == [(10 + 101 * TIMES,)]
    assert tags(guarded) == TIMES


def test_with_the_guard_the_answer_to_commit_is_lost(shop: Shop) -> None:
    shop.stock()
    with shop.proxied(OPTIONS={"lost_update_guard": True}) as proxies:
        for n in range(TIMES):
            fault = proxies["db1"].swallow if n % 2 else proxies["db1"].drop
            for pattern in (r"COMMIT(; END)?\Z", r"\ACOMMIT(; END)?\Z"):
                Tag.objects.create(name="x")
                rule = fault(pattern, cut=True)
                with transaction.atomic() if pattern[1] == "A" else contextlib.nullcontext():
                    assert add() == 1
                assert rule.fired == 1
    assert stocks(shop) == [(10 + 2 * TIMES,)]


def test_the_guard_is_turned_on_and_off(shop: Shop) -> None:
    shop.stock()
    for guard in (True, True, False, True, False):
        connection.lost_update_guard = guard  # type: ignore[attr-defined]
        for end in (None, ZeroDivisionError):
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                Tag.objects.create(name="x")
                assert session(shop) == ("REPEATABLE-READ" if guard else "READ-COMMITTED", guard)
                if end is not None:
                    raise end
        add()
        assert session(shop) == ("REPEATABLE-READ" if guard else "READ-COMMITTED", guard)
    assert tags(shop) == 5


def session(shop: Shop) -> tuple[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@SESSION.tx_isolation, @@SESSION.innodb_snapshot_isolation")
        level, snapshot = cursor.fetchone()
    return level, snapshot


def test_the_projects_own_isolation_level_comes_back(shop: Shop) -> None:
    shop.configure(OPTIONS={"isolation_level": "serializable"})
    shop.stock()
    for guard, level in ((True, "REPEATABLE-READ"), (False, "SERIALIZABLE")):
        connection.lost_update_guard = guard  # type: ignore[attr-defined]
        with transaction.atomic():
            Tag.objects.create(name="x")
            assert session(shop) == (level, guard)


def test_a_conflict_ahead_of_a_procedure_is_no_sign_of_what_that_has_done(shop: Shop) -> None:
    """It was not begun. What is set on the connection rules a replay out, but no second run."""
    book, runs = shop.stock(), []
    shop.galera["db1"].query(
        "CREATE OR REPLACE PROCEDURE galera_router.shop_noted(tag TEXT)"
        " INSERT INTO shop_tag (name) VALUES (tag)"
    )

    @galera_atomic
    def work() -> None:
        runs.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SET @shop = 1")
            add(book.pk)
            if len(runs) == 1:
                insist(shop.galera["db2"], HUNDRED)
                shop.galera["db1"].wait_applied()
            cursor.execute("CALL shop_noted('done')")

    try:
        work()
    finally:
        connection.close()
        shop.galera["db1"].query("DROP PROCEDURE galera_router.shop_noted")
    assert len(runs) == 2
    assert tags(shop) == 1

"""One primary at a time: the schedules that would give two, and what becomes of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from io import StringIO

import MySQLdb
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from galera_router import galera_atomic
from galera_router.cluster import change
from galera_router.cluster.failback import move
from galera_router.exceptions import FailoverImpossible, ReplayMismatch
from galera_router.testing.admin import open_connection
from tests.integration.support import Shop, crowd, elsewhere, wait_until
from tests.shop.models import Author, Room, Tag, Ticket

EPOCHS = "galera_router.galera_router_epoch"
SLOTS = "galera_router.galera_router_slot"


def make_primary(shop: Shop, name: str) -> None:
    """Have another process, which this one does not hear of, make ``name`` the primary."""
    node = shop.galera[name]
    with closing(open_connection(node.socket)) as server:
        server.query("USE galera_router")
        raw = Raw(server)
        raw.query(b"SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'")
        cluster_id = str(raw.rows()[0][1])
        _, old = change.ask(raw, cluster_id)
        change.make_primary(raw, cluster_id, old, "a test")


class Raw:
    """A connection of the driver's, as ``change`` wants one."""

    def __init__(self, driver: object) -> None:
        self._driver = driver

    def query(self, statement: bytes) -> None:
        self._driver.query(statement)  # type: ignore[attr-defined]

    def rows(self) -> tuple[tuple[object, ...], ...]:
        result = self._driver.store_result()  # type: ignore[attr-defined]
        return result.fetch_row(0) if result is not None else ()


def buy() -> bool:
    """Sell the one ticket under the lock of a row, unless it is sold; True if it was there."""
    with transaction.atomic():
        Room.objects.select_for_update().get(name="office")
        free = not Ticket.objects.exists()
        if free:
            Ticket.objects.create()
    return free


@pytest.fixture
def office(shop: Shop) -> Shop:
    """Everything begins on the primary; it has one row to lock, and no ticket is sold."""
    shop.configure(OPTIONS={"optimistic_transactions": False, "failback_delay": None})
    Room.objects.create(name="office")
    shop.settle()
    assert shop.writing.name == "db1"
    return shop


def tickets(shop: Shop) -> int:
    ((count,),) = shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_ticket")
    return int(count)


def test_what_is_open_on_the_old_primary_is_replayed_on_the_new_one(office: Shop) -> None:
    with transaction.atomic():
        Author.objects.create(name="Ann")
        make_primary(office, "db2")
    assert office.writing.name == "db2"
    assert office.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(1,)]


def test_what_begins_later_begins_on_the_new_one(office: Shop) -> None:
    make_primary(office, "db3")
    Tag.objects.create(name="outside")
    assert office.writing.name == "db3"
    make_primary(office, "db2")
    with transaction.atomic():
        Tag.objects.create(name="in a block")
    assert office.writing.name == "db2"
    assert office.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(2,)]


def test_a_lock_that_was_taken_before_the_change_sells_no_second_ticket(office: Shop) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        Room.objects.select_for_update().get(name="office")
        assert not Ticket.objects.exists()
        make_primary(office, "db2")
        assert elsewhere(buy)
        Ticket.objects.create()
    assert tickets(office) == 1


@pytest.mark.parametrize("back", [False, True])
def test_a_transaction_keeps_the_epoch_from_before_its_begin(office: Shop, back: bool) -> None:
    """Also if the primary has gone away and come back meanwhile: it is begun anew as a whole."""
    with pytest.raises(ReplayMismatch), transaction.atomic():
        assert not Ticket.objects.exists()
        make_primary(office, "db2")
        assert elsewhere(buy)
        if back:
            make_primary(office, "db1")
        Room.objects.select_for_update().get(name="office")
        Ticket.objects.create()
    assert tickets(office) == 1


def test_the_loser_runs_again_and_sees_the_winners_ticket(office: Shop) -> None:
    runs = []

    @galera_atomic
    def work() -> bool:
        runs.append(1)
        Room.objects.select_for_update().get(name="office")
        free = not Ticket.objects.exists()
        if len(runs) == 1:
            make_primary(office, "db2")
            office.galera["db2"].query("INSERT INTO galera_router.shop_ticket () VALUES ()")
        if free:
            Ticket.objects.create()
        return free

    assert work() is False
    assert tickets(office) == 1


def test_a_savepoint_that_undoes_the_reference_does_not_undo_the_fence(office: Shop) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        assert not Ticket.objects.exists()
        with suppress(ZeroDivisionError), transaction.atomic():
            Room.objects.select_for_update().get(name="office")
            raise ZeroDivisionError
        make_primary(office, "db2")
        assert elsewhere(buy)
        Room.objects.select_for_update().get(name="office")
        Ticket.objects.create()
    assert tickets(office) == 1


def test_foreign_keys_that_are_not_checked_do_not_open_the_fence(office: Shop) -> None:
    unchecked = connection.constraint_checks_disabled()
    with pytest.raises(ReplayMismatch), unchecked, transaction.atomic():
        assert not Ticket.objects.exists()
        make_primary(office, "db2")
        assert elsewhere(buy)
        Room.objects.select_for_update().get(name="office")
        Ticket.objects.create()
    assert tickets(office) == 1


@pytest.mark.parametrize("inside", [True, False])
def test_who_holds_a_lock_of_the_server_is_told_that_it_is_lost(office: Shop, inside: bool) -> None:
    """At the next statement that writes, or at COMMIT."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('office', 0)")
    with pytest.raises(DatabaseError) as told:
        if inside:
            with transaction.atomic():
                Tag.objects.create(name="a")
                make_primary(office, "db2")
        else:
            make_primary(office, "db2")
        Tag.objects.create(name="b")
    assert isinstance(told.value, FailoverImpossible) or told.value.args[0] == 1213
    assert office.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(0,)]
    if inside:
        with pytest.raises(FailoverImpossible):
            Tag.objects.create(name="c")
    assert elsewhere(lambda: Tag.objects.create(name="d")) is not None


def test_a_node_that_lags_cannot_become_the_primary(
    office: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it ever: it would not see what was sold."""
    monkeypatch.setattr("galera_router.cluster.failback.TIMEOUT", 0.0)  # the driver adds 2 s
    node = office.session.cluster.nodes[1]
    with closing(open_connection(office.galera["db2"].socket)) as backup:
        backup.query("LOCK TABLES galera_router.shop_tag READ")
        Tag.objects.create(name="not applied on db2")
        with pytest.raises(MySQLdb.Error):
            move(node, "a test")
        ((reason,),) = office.galera["db1"].query(f"SELECT reason FROM {EPOCHS}")
        assert str(reason).startswith("it is the first (by ")
    office.settle()
    assert move(node, "a test").seconds > 0


def test_a_change_that_fails_half_way_changes_nothing(office: Shop) -> None:
    """It waits for a lock, and is ended."""
    node = office.galera["db2"]
    before = office.everywhere(f"SELECT epoch FROM {EPOCHS}"), rows(office)
    with closing(open_connection(node.socket)) as other:
        other.query("BEGIN")
        other.query(f"SELECT * FROM {SLOTS} FOR UPDATE")
        other.store_result()
        with pytest.raises(MySQLdb.OperationalError):
            make_primary(office, "db2")
    assert (office.everywhere(f"SELECT epoch FROM {EPOCHS}"), rows(office)) == before
    Tag.objects.create(name="as before")
    assert office.writing.name == "db1"


def test_a_node_without_a_quorum_is_not_the_primary_even_with_dirty_reads(shop: Shop) -> None:
    """It answers every read then, and would sell the ticket once more."""
    shop.configure(
        OPTIONS={
            "optimistic_transactions": False,
            "init_command": "SET SESSION wsrep_dirty_reads = 1",
        }
    )
    Room.objects.create(name="office")
    assert shop.writing.name == "db1"
    shop.galera["db1"].isolate()
    assert buy()
    assert shop.writing.name != "db1"
    shop.galera.heal()
    assert tickets(shop) == 1


def rows(shop: Shop) -> list[object]:
    return shop.everywhere(f"SELECT slot FROM {SLOTS} ORDER BY slot")


def test_rows_that_somebody_has_removed_are_made_anew(office: Shop) -> None:
    office.galera["db2"].query(f"SET STATEMENT foreign_key_checks=0 FOR DELETE FROM {SLOTS}")
    Tag.objects.create(name="slots")
    office.galera["db2"].query(f"DELETE FROM {EPOCHS}")
    office.galera["db2"].query(f"SET STATEMENT foreign_key_checks=0 FOR DELETE FROM {SLOTS}")
    with transaction.atomic():
        Tag.objects.create(name="all")
    assert office.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(2,)]
    assert len(rows(office)) == 2


# --- switchover ---------------------------------------------------------------------------


def switch(*args: str) -> str:
    """What the command says."""
    out = StringIO()
    call_command("galera_switchover", *args, stdout=out, stderr=out)
    return out.getvalue()


def test_the_command_moves_the_primary_and_says_how_long_writes_paused(office: Shop) -> None:
    assert "db2 is the primary now. Writes have paused for " in switch("db2")
    assert "It stays there" in switch("default_db3")
    Tag.objects.create(name="x")
    assert office.writing.name == "db3"
    assert switch("db3") == "db3 is the primary already.\n"
    assert "It stays there" not in switch()
    Tag.objects.create(name="y")
    assert office.writing.name == "db1"


def test_the_command_keeps_a_primary_where_a_failover_has_put_it(office: Shop) -> None:
    held = f"SELECT server LIKE '%db2', held FROM {EPOCHS}"
    make_primary(office, "db2")  # not by hand
    assert office.everywhere(held) == [(1, 0)]
    assert "It stays there" in switch("db2")
    assert office.everywhere(held) == [(1, 1)]
    Tag.objects.create(name="x")
    assert office.writing.name == "db2"
    assert switch("db2") == "db2 is the primary already.\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["db9"], "There is: db1, db2, db3."),
        (["db2", "--database", "nothing"], "There is: default."),
    ],
)
def test_a_wrong_name_is_told(office: Shop, args: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        switch(*args)


def test_a_node_that_is_dead_does_not_become_the_primary(office: Shop) -> None:
    office.galera["db2"].kill()
    with pytest.raises(CommandError, match="db2 has not become the primary"):
        switch("db2")


def test_an_operators_choice_is_no_reason_for_a_failback(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galera_router.cluster.monitor.ASK_WELL", 0.2)
    shop.configure(OPTIONS={"failback_delay": 0.1})
    Tag.objects.create(name="x")
    switch("db2")
    until = time.monotonic() + 3
    while time.monotonic() < until:
        Tag.objects.create(name="x")
        assert shop.writing.name == "db2"
        time.sleep(0.05)
    make_primary(shop, "db3")  # not by hand
    wait_until(lambda: written_on(shop) == "db1")


def written_on(shop: Shop) -> str:
    Tag.objects.create(name="x")
    return shop.writing.name


@pytest.fixture
def crew(office: Shop) -> Iterator[list[Exception]]:
    """Four threads that write and read; returns the errors that they have met."""
    errors: list[Exception] = []
    done = threading.Event()
    office.stock(4)

    def work(number: int) -> None:
        until = time.monotonic() + 60
        try:
            while not done.is_set() and time.monotonic() < until:
                with transaction.atomic():
                    Tag.objects.create(name=f"w{number}")
                    list(Author.objects.all())
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    yield errors
    done.set()
    for thread in threads:
        thread.join()


def test_nobody_notices_switchovers(office: Shop, crew: list[Exception]) -> None:
    for name in ["db2", "db3", "db1"] * 3:
        assert f"{name} is the primary now" in switch(name)
        time.sleep(0.1)
    assert not crew


# --- who has set something, or has lost its markers, is fenced as well


def sell_to_two(office: Shop) -> None:
    """One sees under the lock that the ticket is free; another process sells it elsewhere."""
    with suppress(DatabaseError), transaction.atomic():
        Room.objects.select_for_update().get(name="office")
        assert not Ticket.objects.exists()
        make_primary(office, "db2")
        assert elsewhere(buy)
        Ticket.objects.create()


@pytest.mark.parametrize(
    "before",
    [
        ["SET @who = 'x'"],
        ["SELECT @who := 'x'"],
        ["SET @who = 'x'", "INSERT INTO shop_tag (name) VALUES (@who)"],
        ["UPDATE shop_tag SET name = @who := 'y'"],
        ["SELECT GET_LOCK('a', 0), @who := 'x'", "INSERT INTO shop_tag (name) VALUES (@who)"],
    ],
)
def test_no_second_ticket_is_sold_by_who_has_set_something(office: Shop, before: list[str]) -> None:
    with connection.cursor() as cursor:
        for sql in before:
            cursor.execute(sql)
            cursor.fetchall()
    sell_to_two(office)
    assert tickets(office) == 1
    connection.close()


def test_no_second_ticket_is_sold_where_several_markers_were_removed(office: Shop) -> None:
    """Those that a burst has left were not needed since, and another process has removed them."""

    def work(number: int, hold: Callable[[], None]) -> None:
        with transaction.atomic():
            Tag.objects.create(name=str(number))
            hold()

    assert crowd(4, work, lambda: None) == [None] * 4
    office.galera["db1"].query("DELETE FROM galera_router.galera_router_marker")
    office.settle()
    assert crowd(2, work, lambda: None) == [None] * 2
    sell_to_two(office)
    assert tickets(office) == 1

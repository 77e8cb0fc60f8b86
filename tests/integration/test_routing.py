"""Which server gets what: counted in the servers' general logs."""

from __future__ import annotations

import pytest
from django.db import connection, connections, transaction
from django.test import Client, TransactionTestCase, override_settings

from galera_router import galera_atomic
from galera_router.causality import scope
from tests.integration.causality.support import LOOK
from tests.integration.support import Shop
from tests.shop.models import Author, Book

PRIMARY = "db1"


def split(sent: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """The primary's statements and those of the one secondary that got any."""
    secondaries = [log for name, log in sent.items() if name != PRIMARY and log]
    assert len(secondaries) <= 1, sent
    return sent[PRIMARY], secondaries[0] if secondaries else []


def marker_advance(statements: list[str]) -> list[str]:
    """The statement that advances the marker; there is exactly one."""
    found = [s for s in statements if "FOR UPDATE galera_router_marker SET seq" in s]
    assert len(found) == 1
    return found


def shop_option(name: str) -> object:
    return getattr(connections["default"], name)


@pytest.fixture
def warm(shop: Shop) -> Shop:
    shop.configure(ATOMIC_REQUESTS=True)
    shop.stock()
    shop.warm()
    return shop


def test_view_without_a_query_sends_nothing(warm: Shop) -> None:
    with warm.traffic() as sent:
        assert Client().get("/nothing/").status_code == 200
    assert sent == {"db1": [], "db2": [], "db3": []}


def test_view_with_ten_reads_leaves_the_primary_alone(warm: Shop) -> None:
    with warm.traffic() as sent:
        assert Client().get("/ten/").content == b"10"
    primary, secondary = split(sent)
    assert primary == []
    assert secondary[0] == "Query START TRANSACTION READ ONLY"
    assert [s[:12] for s in secondary[1:-1]] == ["Query SELECT"] * 10
    assert secondary[-1] == "Query COMMIT"


def test_a_read_only_request_does_not_even_connect_to_the_primary(shop: Shop) -> None:
    shop.configure(ATOMIC_REQUESTS=True)
    shop.stock()
    shop.configure(ATOMIC_REQUESTS=True)
    with shop.traffic() as sent:
        assert Client().get("/ten/").content == b"10"
    assert sent[PRIMARY] == []


def test_five_reads_then_a_save(warm: Shop) -> None:
    with warm.traffic() as sent:
        assert Client().get("/five-and-save/").content == b"11"
    primary, secondary = split(sent)
    assert len(secondary) == 7
    assert secondary[0] == "Query START TRANSACTION READ ONLY"
    assert secondary[-1] == "Query COMMIT"
    assert primary[0] == "Query START TRANSACTION"
    assert "FOR UPDATE galera_router_marker SET seq" in primary[1]
    assert [s[:12] for s in primary[2:7]] == ["Query SELECT"] * 5
    assert primary[7] == "Query SELECT @@in_transaction"
    assert primary[8].startswith("Query UPDATE `shop_book`")
    assert primary[9:] == ["Query COMMIT"], "the token costs nothing"


def test_nested_atomic_with_reads_only_sends_the_primary_nothing(warm: Shop) -> None:
    with warm.traffic() as sent, transaction.atomic(), transaction.atomic():
        Author.objects.count()
        with transaction.atomic(using="default"):
            Author.objects.count()
    primary, secondary = split(sent)
    assert primary == []
    assert len(secondary) == 4


def test_empty_atomic_sends_nothing(warm: Shop) -> None:
    with warm.traffic() as sent:
        with transaction.atomic(), transaction.atomic():
            pass
        with galera_atomic(durable=True):
            pass
    assert sent == {"db1": [], "db2": [], "db3": []}


def test_a_write_sends_the_secondaries_nothing(warm: Shop) -> None:
    with warm.traffic() as sent, transaction.atomic():
        Author.objects.create(name="Bea")
    assert [s.split(" `")[0].replace("transaction_read", "tx_read") for s in sent["db1"]] == [
        "Query START TRANSACTION",
        *marker_advance(sent["db1"]),
        "Query SET STATEMENT tx_read_only=1 FOR INSERT INTO",
        "Query COMMIT",
    ]
    assert sent["db2"] == sent["db3"] == []


def test_autocommit_reads_of_a_request_go_to_one_secondary_until_it_writes(warm: Shop) -> None:
    with warm.traffic() as sent, scope.needing({}, request=True):
        Author.objects.count()
        Book.objects.count()
        Author.objects.create(name="Bea")
        assert Author.objects.count() == 2
    primary, secondary = split(sent)
    assert len(secondary) == 2
    assert [s[:12] for s in primary] == [
        "Query BEGIN ",
        "Query START ",
        "Query INSERT",
        "Query SET ST",  # the marker
        "Query IF ROW",
        "Query END IF",
        "Query COMMIT",
        "Query END",
        "Query SELECT",
    ]


def test_autocommit_reads_outside_of_requests_wait_for_each_write_once(warm: Shop) -> None:
    with warm.traffic() as sent:
        for name in ("Bea", "Cleo"):
            Author.objects.create(name=name)
            warm.settle()  # else the first look may fail, and a wait in the server follows
            for _ in range(3):
                Author.objects.count()
    primary, secondary = split(sent)
    assert not [s for s in primary if "__count" in s]
    looked = ["a look" if s.startswith(LOOK) else s for s in secondary if "wsrep_sync" not in s]
    count = "Query SELECT COUNT(*) AS `__count` FROM `shop_author`"
    assert looked == ["a look", count, count, count] * 2


def test_pessimistic_transactions_start_on_the_primary(shop: Shop) -> None:
    shop.stock()
    shop.configure(OPTIONS={"optimistic_transactions": False})
    shop.warm()
    with shop.traffic() as sent, transaction.atomic():
        Author.objects.count()
    primary, secondary = split(sent)
    assert [s[:12] for s in primary] == ["Query START ", "Query SELECT", "Query COMMIT"]
    assert secondary == []


def test_an_option_is_overridden_for_the_current_connection(warm: Shop) -> None:
    connection.optimistic_transactions = False  # type: ignore[attr-defined]
    with warm.traffic() as sent, transaction.atomic():
        Author.objects.count()
    assert len(sent[PRIMARY]) == 3
    connection.close()
    assert shop_option("optimistic_transactions") is True


def test_all_reads_of_a_transaction_come_from_one_snapshot(warm: Shop) -> None:
    with transaction.atomic():
        assert Author.objects.count() == 1
        warm.galera["db1"].query("INSERT INTO galera_router.shop_author (name) VALUES ('Bea')")
        warm.settle()
        assert Author.objects.count() == 1
    assert Author.objects.count() == 2


def test_the_host_is_read_first(shop: Shop) -> None:
    shop.stock()
    node = shop.galera["db3"]
    shop.configure(HOST=node.host, PORT=node.port)
    shop.warm()
    with shop.traffic() as sent:
        for _ in range(5):
            with transaction.atomic():
                Author.objects.count()
    assert len(sent["db3"]) == 15
    assert sent["db1"] == sent["db2"] == []


def test_the_secondary_is_chosen_anew_per_request(warm: Shop) -> None:
    with warm.traffic() as sent:
        for _ in range(30):
            warm.session.new_request()
            with transaction.atomic():
                Author.objects.count()
    assert sent["db1"] == []
    assert len(sent["db2"]) + len(sent["db3"]) == 90
    assert sent["db2"]
    assert sent["db3"]


def test_a_request_stays_with_its_secondary(warm: Shop) -> None:
    with warm.traffic() as sent:
        for _ in range(15):
            with transaction.atomic():
                Author.objects.count()
            Author.objects.count()
    primary, secondary = split(sent)
    assert primary == []
    assert len(secondary) == 60


def test_a_test_that_may_not_read_on_nodes_does_not_keep_to_one(warm: Shop) -> None:
    """An earlier test of the same process might: what it has pinned is not read any more."""

    class OnlyTheRole(TransactionTestCase):
        databases = {"default"}  # noqa: RUF012

    def pins() -> bool:
        assert Author.objects.count() == 1
        return warm.session.reader.pin is not None

    assert pins()
    OnlyTheRole.setUpClass()
    try:
        assert not pins()
    finally:
        OnlyTheRole.tearDownClass()
        OnlyTheRole.doClassCleanups()
    assert pins()


def test_a_thread_without_requests_chooses_anew_and_waits(
    warm: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never back in time: the first read on another node is behind a wait."""
    monkeypatch.setattr("galera_router.transactions.reading.PINNED", 0.0)
    with warm.traffic() as sent:
        for _ in range(30):
            with transaction.atomic():
                Author.objects.count()
    assert sent["db1"] == []
    waits = [s for name in ("db2", "db3") for s in sent[name] if "wsrep_sync_wait" in s]
    assert 0 < len(waits) < 30


def test_a_transaction_after_a_write_waits_for_it_once(warm: Shop) -> None:
    with transaction.atomic():
        Author.objects.create(name="Bea")
    with warm.galera["db2"].hold_applier(), warm.galera["db3"].hold_applier():
        pass
    with warm.traffic() as sent, transaction.atomic():
        assert Author.objects.count() == 2
    primary, secondary = split(sent)
    assert primary == []
    assert secondary[0].startswith(LOOK)
    assert not [s for s in secondary[1:] if s.startswith(LOOK)]


def test_health_checks_leave_the_primary_alone(shop: Shop) -> None:
    shop.configure(ATOMIC_REQUESTS=True, CONN_HEALTH_CHECKS=True)
    shop.stock()
    shop.warm()
    connections["default"].health_check_done = False  # type: ignore[attr-defined]
    with shop.traffic() as sent:
        assert Client().get("/ten/").content == b"10"
    assert sent[PRIMARY] == []
    assert shop.session.primary is not None
    assert shop.session.primary.unchecked, "it is checked when it is next used"
    Author.objects.create(name="Bea")
    assert not shop.session.primary.unchecked


@override_settings(INSTALLED_APPS=["django.contrib.contenttypes"])
def test_a_test_may_leave_the_app_out_for_a_while(warm: Shop) -> None:
    """What it does has been done when the process began."""
    with override_settings(DATABASE_ROUTERS=["galera_router.routers.GaleraRouter"]):
        assert Author.objects.count() == 1

"""A project's own tests, which look at which database they are in."""

from __future__ import annotations

import threading
import urllib.request
from urllib.parse import urlencode

from django.db import connection, connections, transaction
from django.test import LiveServerTestCase, TestCase, TransactionTestCase, runner

from galera_router.cluster import nodes as cluster
from galera_router.transactions.sessions import session_of
from tests.shop.models import Author

# The first node is the primary, even if a test has only just started its server.
cluster.STARTED = 0.0

NODES = ("default_db1", "default_db2", "default_db3")


def expected() -> str:
    """The test database, or this process's clone of it."""
    worker: int = runner._worker_id  # type: ignore[attr-defined]
    return "test_galera_router" + (f"_{worker}" if worker else "")


def current(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT DATABASE()")
        (name,) = cursor.fetchone()
    return str(name)


def fresh() -> None:
    """Nobody else's rows are here, and one of our own is seen."""
    assert connection.settings_dict["NAME"] == expected()
    assert Author.objects.count() == 0
    Author.objects.create(name="Ann")
    assert Author.objects.get().name == "Ann"
    assert current("default") == expected()


def lose_the_connection() -> None:
    """Have the server end this process's connection to the primary."""

    def kill() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist"
                " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            for (number,) in cursor.fetchall():
                cursor.execute("KILL %s", [number])
        connections.close_all()

    thread = threading.Thread(target=kill)
    thread.start()
    thread.join()


class InTransaction(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        fresh()

    def test_the_classs_row_is_seen(self) -> None:
        assert Author.objects.get().name == "Ann"

    def test_a_row_of_its_own(self) -> None:
        Author.objects.create(name="Bea")
        assert Author.objects.count() == 2


class InTransactionOnTheNodes(TestCase):
    databases = "__all__"

    def test_it_is_on_its_own(self) -> None:
        fresh()


class Committing(TransactionTestCase):
    def test_it_is_on_its_own(self) -> None:
        fresh()

    def test_what_it_has_committed_is_gone(self) -> None:
        fresh()

    def test_a_lost_transaction_goes_on_in_the_same_database(self) -> None:
        with transaction.atomic():
            fresh()
            lose_the_connection()
            Author.objects.create(name="Bea")
            assert current("default") == expected()
        assert Author.objects.count() == 2


class OnTheNodes(TransactionTestCase):
    databases = "__all__"

    def test_the_nodes_are_in_the_same_database(self) -> None:
        fresh()
        assert {current(alias) for alias in NODES} == {expected()}

    def test_reads_leave_the_primary(self) -> None:
        fresh()
        with transaction.atomic():
            assert Author.objects.count() == 1
            context = session_of("default")
            assert context is not None
            assert context.snapshot is not None
        assert not context.promoted, "nothing has come to the primary"


class Live(LiveServerTestCase):
    def test_a_view_sees_the_test_and_the_test_the_view(self) -> None:
        fresh()
        self.visit()

    def visit(self) -> None:
        data = urlencode({"name": "Bea"}).encode()
        with urllib.request.urlopen(f"{self.live_server_url}/add/", data, timeout=20):
            pass
        with urllib.request.urlopen(f"{self.live_server_url}/read/", timeout=20) as answer:
            assert answer.read() == b"Ann,Bea"
        assert Author.objects.count() == 2


class LiveOnTheNodes(Live):
    databases = "__all__"

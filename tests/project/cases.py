"""A project's own tests, written for stock Django: ``databases`` is left at its default."""

from __future__ import annotations

import unittest
import urllib.request

from django.db import IntegrityError, connection, router, transaction
from django.test import Client, LiveServerTestCase, TestCase, TransactionTestCase

from galera_router.cluster import nodes as cluster
from tests.shop.models import Author, Book

# The first node is the primary, even if a test has only just started its server.
cluster.STARTED = 0.0


class InTransaction(TestCase):
    """Each test in a transaction that is rolled back."""

    author: Author

    @classmethod
    def setUpTestData(cls) -> None:
        cls.author = Author.objects.create(name="Ann")

    def test_data_of_the_class_are_seen(self) -> None:
        assert Author.objects.get() == self.author
        self.author.name = "changed"
        self.author.save()
        assert Author.objects.filter(name="changed").exists()

    def test_and_are_as_they_were(self) -> None:
        assert Author.objects.get().name == "Ann"
        assert connection.settings_dict["NAME"].startswith("test_")

    def test_queries_are_counted(self) -> None:
        with self.assertNumQueries(2):
            Author.objects.count()
            Author.objects.create(name="Bea")

    def test_hooks_are_captured(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as hooks:
            transaction.on_commit(lambda: None)
        assert len(hooks) == 1

    def test_an_error_inside_a_block(self) -> None:
        with self.assertRaises(IntegrityError), transaction.atomic():  # noqa: PT027
            Author.objects.create(name="Ann")
        assert Author.objects.count() == 1

    def test_a_view(self) -> None:
        Book.objects.create(author=self.author, title="t", stock=10)
        assert Client().get("/ten/").content == b"10"
        assert Client().get("/five-and-save/").content == b"11"


class FirstQueryIsCounted(TestCase):
    """The connection is made inside the block, as it is lazy; that is not counted."""

    def test_one_query(self) -> None:
        with self.assertNumQueries(1):
            Author.objects.count()


class InTransactionOnTheNodes(TestCase):
    """What the transaction has written exists on its own connection only."""

    databases = "__all__"

    def test_the_data_are_seen(self) -> None:
        assert router.db_for_read(Author) == "default"
        Author.objects.create(name="Ann")
        assert Author.objects.count() == 1


class InThreads(LiveServerTestCase):
    """Views of a live server run in threads of their own."""

    def test_a_view(self) -> None:
        Author.objects.create(name="Ann")
        with urllib.request.urlopen(f"{self.live_server_url}/read/") as answer:
            assert answer.read() == b"Ann"


class WithCommits(TransactionTestCase):
    """Each test commits, and the tables are flushed afterwards."""

    def test_a_commit(self) -> None:
        hooks: list[int] = []
        with transaction.atomic():
            Author.objects.create(name="Ann")
            transaction.on_commit(lambda: hooks.append(1))
        assert Author.objects.count() == 1
        assert hooks == [1]

    def test_a_rollback(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():  # noqa: PT027
            Author.objects.create(name="Ann")
            raise ZeroDivisionError
        assert Author.objects.count() == 0

    def test_a_view(self) -> None:
        Book.objects.create(author=Author.objects.create(name="Ann"), title="t", stock=10)
        assert Client().get("/ten/").content == b"10"
        assert Client().get("/five-and-save/").content == b"11"


class OnTheNodes(TransactionTestCase):
    """One that asks for the secondaries: ``databases`` names them."""

    databases = "__all__"

    def test_reads_follow_the_write(self) -> None:
        with transaction.atomic():
            Author.objects.create(name="Ann")
        with transaction.atomic():
            assert Author.objects.count() == 1


if __name__ == "__main__":
    unittest.main()

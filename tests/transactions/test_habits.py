"""Views and functions that nearly always write begin on the primary; others on a secondary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from galera_router import galera_atomic
from galera_router.cluster.nodes import READ_ONLY
from galera_router.transactions.places import ENOUGH, MOST, READ, Habits, place_of
from tests.integration.support import Shop
from tests.shop.models import Author, Book

HERE, THERE = ("shop.py", 1), ("shop.py", 2)


@pytest.fixture
def learning(shop: Shop) -> Shop:
    """The default of ``optimistic_transactions``, and a book."""
    shop.configure(OPTIONS={"optimistic_transactions": "auto"}, ATOMIC_REQUESTS=True)
    shop.stock()
    shop.warm()
    return shop


def wrote(known: Habits, times: int) -> Habits:
    for _ in range(times):
        known.note(HERE, wrote=True)
    return known


def test_what_is_new_begins_on_a_secondary() -> None:
    assert not Habits("default").begins_on_primary(HERE)
    assert not wrote(Habits("default"), ENOUGH - 1).begins_on_primary(HERE)


def test_what_has_written_each_time_does_not() -> None:
    known = wrote(Habits("default"), ENOUGH)
    assert known.begins_on_primary(HERE)
    assert not known.begins_on_primary(THERE)


def test_a_read_now_and_then_does_not_matter() -> None:
    known = wrote(Habits("default"), 100)
    known.note(HERE, wrote=False)
    assert known.begins_on_primary(HERE)
    for _ in range(MOST // READ):
        known.note(HERE, wrote=False)
    assert not known.begins_on_primary(HERE)


def test_half_of_the_runs_are_not_nearly_all() -> None:
    known = Habits("default")
    for _ in range(50):
        wrote(known, 1)
        known.note(HERE, wrote=False)
        assert not known.begins_on_primary(HERE)


def test_the_memory_is_bounded() -> None:
    known = Habits("default", limit=100)
    for line in range(1000):
        known.note(("shop.py", line), wrote=True)
    assert len(known.points) <= 101


def test_changes_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "galera_router")
    known = wrote(Habits("default"), MOST)
    for _ in range(MOST):
        known.note(HERE, wrote=False)
    assert [record.getMessage() for record in caplog.records] == [
        "default: shop.py line 1 begins on the primary now",
        "default: shop.py line 1 begins on a secondary now",
    ]


def test_a_function_without_a_hash_has_a_place_too() -> None:
    class Callable_:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> None: ...

    assert place_of(Callable_())[1] > 0


@galera_atomic
def raise_stock() -> None:
    book = Book.objects.get()
    book.stock += 1
    book.save()


def post() -> None:
    assert Client().get("/five-and-save/").status_code == 200


def readers(sent: dict[str, list[str]]) -> list[str]:
    """The nodes other than the primary that were sent something."""
    return [name for name, statements in sent.items() if name != "db1" and statements]


@pytest.mark.parametrize("work", [post, raise_stock])
def test_its_reads_are_made_once(learning: Shop, work: Callable[[], Any]) -> None:
    for _ in range(ENOUGH):
        with learning.traffic() as sent:
            work()
        assert readers(sent)
    with learning.traffic() as sent:
        work()
    assert not readers(sent)
    statements = [text for text in sent["db1"] if "shop_book" in text]
    assert sum("SELECT" in text for text in statements) == 1
    begin = sent["db1"].index("Query START TRANSACTION")
    assert "UPDATE galera_router_marker" in sent["db1"][begin + 1]


def test_what_only_reads_for_a_while_goes_back_to_a_secondary(learning: Shop) -> None:
    @galera_atomic
    def perhaps(write: bool) -> None:
        Author.objects.count()
        if write:
            Author.objects.update(name="Ann")

    for _ in range(ENOUGH):
        perhaps(write=True)
    with learning.traffic() as sent:
        perhaps(write=False)
    assert not readers(sent)
    with learning.traffic() as sent:
        perhaps(write=False)
    assert readers(sent)


def test_where_no_node_takes_writes_it_can_still_read(learning: Shop) -> None:
    """The marker that goes ahead would be refused, and nothing may be written this time."""

    @galera_atomic
    def perhaps(write: bool) -> int:
        if write:
            Author.objects.update(name="Ann")
        return Author.objects.count()

    for _ in range(MOST):
        perhaps(write=True)
    cluster = learning.session.cluster
    for node in cluster.nodes:
        cluster.mark_refusing(node, READ_ONLY, OperationalError(1290, "--read-only"))
    with learning.traffic() as sent:
        assert perhaps(write=False) == 1
    assert readers(sent)


def test_a_run_on_the_primary_that_only_read_gives_no_token(learning: Shop) -> None:
    @galera_atomic
    def perhaps(write: bool) -> None:
        Author.objects.count()
        if write:
            Author.objects.update(name="Ann")

    for _ in range(MOST):
        perhaps(write=True)
    learning.forget()
    before = learning.session.following.writes
    perhaps(write=False)
    assert learning.session.following.writes == before


def test_always_optimistic_means_always(learning: Shop) -> None:
    learning.configure(OPTIONS={"optimistic_transactions": True})
    for _ in range(ENOUGH + 2):
        with learning.traffic() as sent:
            raise_stock()
        assert readers(sent)

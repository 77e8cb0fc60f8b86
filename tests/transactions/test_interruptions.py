"""An exception in the middle of a statement, and a statement in the middle of another one."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import request_started
from django.db import OperationalError, connection, transaction
from django.db.backends.mysql.base import django_conversions
from MySQLdb.constants import FIELD_TYPE

from galera_router import galera_atomic
from galera_router.exceptions import FailoverImpossible
from galera_router.recovery.runs import Run
from galera_router.transactions import lane
from tests.integration.support import Shop
from tests.shop.models import Author, Book, Tag


class Stop(BaseException):
    """No database error, and no Exception either."""


@contextlib.contextmanager
def interrupted(name: str, count: int = 1) -> Iterator[None]:
    """Raise :class:`Stop` when the C function ``name`` returns for the n-th time."""
    left = [count]

    def profile(frame: Any, event: str, argument: Any) -> None:
        if event == "c_return" and getattr(argument, "__name__", "") == name:
            left[0] -= 1
            if not left[0]:
                sys.setprofile(None)
                raise Stop

    sys.setprofile(profile)
    try:
        with pytest.raises(Stop):
            yield
    finally:
        sys.setprofile(None)


def tags(shop: Shop) -> list[str]:
    return [name for (name,) in shop.everywhere("SELECT name FROM galera_router.shop_tag")]


def test_an_interrupted_write_cannot_be_gone_on_from(shop: Shop) -> None:
    """Nobody knows what it has done."""
    with pytest.raises(FailoverImpossible, match="INSERT was interrupted"), transaction.atomic():
        Tag.objects.create(name="before")
        with interrupted("query"):
            Tag.objects.create(name="interrupted")
        Tag.objects.create(name="after")
    assert tags(shop) == []


def test_an_interrupted_write_in_an_inner_block_is_undone_with_it(shop: Shop) -> None:
    """Going back to a savepoint from before leaves nothing open."""
    with transaction.atomic():
        Tag.objects.create(name="before")
        with interrupted("query", 2), transaction.atomic():  # behind the savepoint
            Tag.objects.create(name="interrupted")
        Tag.objects.create(name="after")
    assert sorted(tags(shop)) == ["after", "before"]


def test_an_interrupted_read_is_made_elsewhere(shop: Shop) -> None:
    shop.stock()
    with transaction.atomic():
        assert Book.objects.count() == 1
        with interrupted("query"):
            Book.objects.count()
        assert Author.objects.count() == 1
        Tag.objects.create(name="after")
    assert tags(shop) == ["after"]


def test_its_connections_are_not_used_again(shop: Shop) -> None:
    Tag.objects.create(name="before")
    primary = shop.session.primary
    with interrupted("query"):
        Tag.objects.create(name="interrupted")
    Tag.objects.create(name="after")
    assert shop.session.primary is not primary


def test_a_read_that_writes_counts_as_a_write_wherever_it_is_interrupted(shop: Shop) -> None:
    """A function may do so, outside a transaction: the next read does not go back behind it."""
    shop.galera["db1"].query(
        "CREATE OR REPLACE FUNCTION galera_router.shop_tagged(v TEXT) RETURNS INT BEGIN"
        " INSERT INTO galera_router.shop_tag (name) VALUES (v); RETURN 1; END"
    )
    for count in range(1, 8):  # of all packets, the COMMIT's among them
        shop.settle()
        Tag.objects.exists()
        before = shop.session.following.writes
        with interrupted("query", count), connection.cursor() as cursor:
            cursor.execute("SELECT shop_tagged('x')")
            Tag.objects.exists()
        there = shop.galera["db1"].query("SELECT COUNT(*) FROM galera_router.shop_tag")
        Tag.objects.exists()  # what was interrupted is found now
        written = shop.session.following.writes > before
        assert written or there == [(0,)], f"interrupted at packet {count}"
        Tag.objects.all().delete()


def test_an_interrupted_rollback_leaves_nothing(shop: Shop) -> None:
    with contextlib.suppress(ValueError), interrupted("query", 2), transaction.atomic():
        Tag.objects.create(name="undone")
        raise ValueError
    Tag.objects.create(name="after")
    assert tags(shop) == ["after"]


class Writing(logging.Handler):
    """Writes each record to the database."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[BaseException | None] = []

    def emit(self, record: logging.LogRecord) -> None:
        Tag.objects.create(name="logged")

    def handleError(self, record: logging.LogRecord) -> None:
        self.errors.append(sys.exc_info()[1])


def test_a_log_handler_that_writes_does_not_break_a_failover(shop: Shop) -> None:
    """What is logged in the middle of a statement is told at its end."""
    handler = Writing()
    logger = logging.getLogger("galera_router")
    logger.addHandler(handler)
    try:
        with transaction.atomic():
            Tag.objects.create(name="before")
            shop.writing.kill()
            Tag.objects.create(name="after")
    finally:
        logger.removeHandler(handler)
    assert handler.errors == []
    found = shop.writing.query("SELECT name FROM galera_router.shop_tag")
    assert {name for (name,) in found} == {"before", "after", "logged"}


def test_a_cursor_that_was_closed_says_so(shop: Shop) -> None:
    cursor = connection.cursor()
    cursor.close()
    with pytest.raises(Exception, match="closed"):
        cursor.execute("SELECT 1")


def unreadable(text: bytes) -> str:
    """A value's text in another encoding than the connection's."""
    return b"\xff".decode("utf-8")


def test_text_that_cannot_be_read_is_no_interruption(shop: Shop) -> None:
    """The answer is complete, and the connection as good as before."""
    shop.configure(OPTIONS={"conv": {**django_conversions, FIELD_TYPE.DATETIME: unreadable}})
    with transaction.atomic(), connection.cursor() as cursor:
        Tag.objects.create(name="before")
        primary = shop.session.primary
        with pytest.raises(UnicodeDecodeError):
            cursor.execute("SELECT CAST('2026-01-01' AS DATETIME)")
        Tag.objects.create(name="after")
        assert shop.session.primary is primary
    assert sorted(tags(shop)) == ["after", "before"]


#: With each of these a transaction cannot be replayed; and how the error says so.
NO_REPLAY: list[tuple[dict[str, Any], str]] = [
    ({"failover_history_limit": 2}, "more than 2"),
    ({"failover_history_limit": 0}, "more than 0"),
    ({"failover_enable": False}, "interrupted"),
]


@pytest.mark.parametrize(("options", "told"), NO_REPLAY)
def test_what_cannot_be_replayed_is_not_gone_on_from(
    shop: Shop, options: dict[str, Any], told: str
) -> None:
    """A read that was interrupted has done nothing, but it has cost the connection."""
    shop.configure(OPTIONS=options)
    with pytest.raises(FailoverImpossible, match=told), transaction.atomic():
        for name in "abc":
            Tag.objects.create(name=name)
        with interrupted("query"):
            Tag.objects.count()
        Tag.objects.create(name="after")
    assert tags(shop) == []
    Tag.objects.create(name="anew")
    assert tags(shop) == ["anew"]


@pytest.mark.parametrize(("options", "told"), NO_REPLAY)
def test_a_first_read_that_was_interrupted_has_lost_nothing(
    shop: Shop, options: dict[str, Any], told: str
) -> None:
    shop.configure(OPTIONS={**options, "optimistic_transactions": False})
    Tag.objects.create(name="before")
    with transaction.atomic():
        with interrupted("query"):
            Tag.objects.count()
        Tag.objects.create(name="after")
    assert sorted(tags(shop)) == ["after", "before"]


@pytest.mark.parametrize(("options", "told"), [*NO_REPLAY, ({}, "SET left state")])
def test_nor_where_an_inner_block_swallows_that(
    shop: Shop, options: dict[str, Any], told: str
) -> None:
    """Django swallows the error of ROLLBACK TO SAVEPOINT; the outer block tells it."""
    shop.configure(OPTIONS=options)
    hooks: list[int] = []
    with pytest.raises(FailoverImpossible, match=told), transaction.atomic():
        transaction.on_commit(lambda: hooks.append(1))
        with connection.cursor() as cursor:
            if not options:
                cursor.execute("SET @own = 1")
        for name in "abc":
            Tag.objects.create(name=name)
        with interrupted("query", 2), transaction.atomic():  # behind the savepoint
            Tag.objects.create(name="interrupted")
    assert (tags(shop), hooks) == ([], [])


def test_an_interrupted_commit_raises_what_has_interrupted_it(shop: Shop) -> None:
    """What became of it is not known; the connection goes on as before."""
    Tag.objects.create(name="before")
    with interrupted("query", 2), transaction.atomic():
        Tag.objects.create(name="in doubt")
    assert connection.get_autocommit()
    with transaction.atomic():
        Tag.objects.create(name="after")
    assert set(tags(shop)) >= {"before", "after"}


def test_a_statement_that_another_thread_forgets_is_classified_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Forgetful(dict[str, Any]):
        def __contains__(self, key: object) -> bool:
            return True

        def __getitem__(self, key: str) -> Any:
            raise KeyError(key)

    monkeypatch.setattr(lane, "_reads", Forgetful())
    assert lane.known("SELECT 1").readable


# --- what was interrupted before a run of a function or a request


def deadlock() -> None:
    raise OperationalError(1213, "Deadlock found when trying to get lock")


def write_interrupted() -> None:
    Tag.objects.create(name="before")
    with interrupted("query"):
        Tag.objects.create(name="interrupted")


def test_a_write_before_a_function_does_not_keep_it_from_being_run_again(shop: Shop) -> None:
    """Nobody would do that one twice."""
    runs: list[int] = []

    def work() -> None:
        runs.append(Tag.objects.count())
        if len(runs) == 1:
            deadlock()

    write_interrupted()
    galera_atomic(work)()
    assert len(runs) == 2


def test_a_write_in_a_run_does(shop: Shop) -> None:
    """It may be there, and would be done twice."""
    run = Run()
    with run:
        write_interrupted()
        Tag.objects.count()
    assert run.obstacle() == "something was committed on 'default'"


def test_a_write_before_a_request_does_not_keep_it_from_being_run_again(shop: Shop) -> None:
    write_interrupted()
    request_started.send(sender=None)
    run = Run()
    with run:
        assert Tag.objects.count() in {1, 2}
    assert run.obstacle() is None

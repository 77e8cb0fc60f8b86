"""``optimistic_transactions="auto"``: where a plain block begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from galera_router import galera_atomic
from galera_router.transactions.places import READS
from tests.integration.support import Shop
from tests.shop.models import Book, Tag

MIDDLEWARE = ["galera_router.middleware.GaleraMiddleware"]


def where(shop: Shop) -> str:
    """Where the open transaction reads."""
    Book.objects.count()
    return "secondary" if shop.session.snapshot is not None else "primary"


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(where(_shops[-1]))


_shops: list[Shop] = []
urlpatterns = [path("", view)]


@pytest.fixture
def auto(shop: Shop) -> Iterator[Shop]:
    shop.configure(ATOMIC_REQUESTS=True, OPTIONS={"optimistic_transactions": "auto"})
    shop.stock()
    _shops.append(shop)
    yield shop
    _shops.pop()


def read(shop: Shop) -> str:
    with transaction.atomic():
        return where(shop)


def maybe_write(shop: Shop, write: bool) -> str:
    with transaction.atomic():
        found = where(shop)
        if write:
            Tag.objects.create(name="x")
        return found


def test_a_place_that_only_reads_begins_on_a_secondary_after_a_while(auto: Shop) -> None:
    assert [read(auto) for _ in range(READS + 2)] == ["primary"] * READS + ["secondary"] * 2


def test_one_write_makes_the_place_begin_on_the_primary_for_good(auto: Shop) -> None:
    seen = [maybe_write(auto, n == READS + 1) for n in range(2 * READS + 4)]
    assert seen == ["primary"] * READS + ["secondary"] * 2 + ["primary"] * (READS + 2)


def test_a_place_whose_statements_need_the_primary_does_not_gamble(auto: Shop) -> None:
    """The server's clock is no secondary's: its reads would be repeated each time."""

    def ask() -> str:
        with transaction.atomic(), connection.cursor() as cursor:
            found = where(auto)
            cursor.execute("SELECT NOW()")
            return found

    assert [ask() for _ in range(READS + 2)] == ["primary"] * (READS + 2)


def test_places_do_not_know_of_each_other(auto: Shop) -> None:
    for _ in range(READS):
        read(auto)
    with transaction.atomic():
        assert where(auto) == "primary"
    assert read(auto) == "secondary"


def test_a_function_that_runs_again_begins_on_a_secondary(auto: Shop) -> None:
    @galera_atomic
    def function() -> str:
        return where(auto)

    assert function() == "secondary"


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [(MIDDLEWARE, "secondary"), ([], "primary")],
    ids=["with", "without"],
)
def test_a_request_begins_on_a_secondary_if_it_can_be_run_again(
    auto: Shop, middleware: list[str], expected: str
) -> None:
    """ATOMIC_REQUESTS without the middleware is a plain block around the view."""
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=middleware):
        assert Client().get("/").content.decode() == expected


@pytest.mark.parametrize(("option", "expected"), [(True, "secondary"), (False, "primary")])
def test_the_other_values_are_for_all_transactions(auto: Shop, option: bool, expected: str) -> None:
    auto.configure(OPTIONS={"optimistic_transactions": option})
    assert [read(auto) for _ in range(READS + 1)] == [expected] * (READS + 1)

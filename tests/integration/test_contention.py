"""Many read, change and save one row: whoever has failed some times gets its turn."""

from __future__ import annotations

import time

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from galera_router import galera_atomic, reads
from galera_router.recovery import turns
from tests.benchmarks.contention import Tally, in_threads, raise_stock
from tests.integration.support import Shop
from tests.shop.models import Book

SECONDS, WORKERS = 6.0, 8


def view(request: HttpRequest) -> HttpResponse:
    raise_stock([0])
    return HttpResponse("done")


urlpatterns = [path("", view)]


def request(count: list[int]) -> None:
    """The test client raises what the project would be told of."""
    assert Client().post("/").content == b"done"


def all_were_done(found: list[Tally]) -> None:
    assert [error for tally in found for error in tally.failed] == []
    assert min(tally.done for tally in found) > 0
    done = sum(tally.done for tally in found)
    with reads("primary"):
        assert Book.objects.get().stock == 10 + done


@pytest.fixture
def guarded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(turns, "_hot", {})
    shop.configure(OPTIONS={"lost_update_guard": True}, ATOMIC_REQUESTS=True)
    shop.stock()
    return shop


def test_no_function_fails(guarded: Shop) -> None:
    all_were_done(in_threads(WORKERS, SECONDS))


@override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=["galera_router.middleware.GaleraMiddleware"])
def test_no_request_fails(guarded: Shop) -> None:
    all_were_done(in_threads(WORKERS, SECONDS, request))


def test_no_slow_function_fails(guarded: Shop) -> None:
    """One that takes its time between the read and the write."""

    def slow(count: list[int]) -> None:
        book = Book.objects.get()
        time.sleep(0.1)
        book.stock += 1
        book.save(update_fields=["stock"])

    all_were_done(in_threads(WORKERS, SECONDS, galera_atomic(slow)))

"""No node is there: each query of one request waits for one anew.

An error page and the mail to the admins make queries as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from galera_router.testing import Proxy
from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book

WAIT, SOON = 1.0, 0.4


def _seconds() -> list[float]:
    """How long each of three queries took to fail."""
    taken = []
    for query in (Author.objects.count, Book.objects.first, lambda: Author(name="a").save()):
        began = time.monotonic()
        try:
            query()
        except OperationalError:
            taken.append(time.monotonic() - began)
    return taken


def view(request: HttpRequest) -> HttpResponse:
    return JsonResponse(_seconds(), safe=False)


def view_that_fails(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Author.objects.count()))


def error_page(request: HttpRequest) -> HttpResponse:
    """It says who is logged in, say."""
    return JsonResponse(_seconds(), safe=False, status=500)


urlpatterns = [
    path("", transaction.non_atomic_requests(view)),
    path("atomic/", view),
    path("fails/", view_that_fails),
]
handler500 = error_page


@pytest.fixture
def lost(shop: EitherShop) -> Iterator[dict[str, Proxy]]:
    """No node can be reached."""
    overrides = {"ATOMIC_REQUESTS": True, "OPTIONS": {"reconnect_wait_time": WAIT}}
    with shop.proxied(**overrides) as proxies, override_settings(ROOT_URLCONF=__name__):
        shop.warm()
        for proxy in proxies.values():
            proxy.refuse()
            proxy.cut()
        yield proxies


@both(stock=False)
def test_further_queries_fail_at_once(lost: dict[str, Proxy]) -> None:
    first, *others = Client().get("/").json()
    assert first >= WAIT / 2, "the cluster may need a moment"
    assert len(others) == 2
    assert max(others) < SOON, others


@both(stock=False)
def test_the_error_page_fails_at_once(lost: dict[str, Proxy]) -> None:
    began = time.monotonic()
    taken = Client(raise_request_exception=False).get("/fails/").json()
    assert len(taken) == 3
    assert max(taken) < SOON, taken
    assert time.monotonic() - began < 2 * WAIT


@both(stock=False)
def test_the_next_request_waits_again(lost: dict[str, Proxy]) -> None:
    """It may be well by then."""
    Client().get("/")
    first, *others = Client().get("/").json()
    assert first >= WAIT / 2
    assert max(others) < SOON, others

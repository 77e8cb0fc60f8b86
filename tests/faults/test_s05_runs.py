"""A request or a function is run again only if nothing else was done.

What the failed run has committed elsewhere would be committed a second time: by middleware in the
response phase, on a plain database or another cluster, in a thread of the view, by a hook.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from galera_router import expand, galera_atomic
from tests.faults.known import both
from tests.faults.server import tags
from tests.faults.support import EitherShop
from tests.integration.support import elsewhere, use_databases
from tests.shop.models import Author, Book, Tag

#: What the view does before it writes, and once what another client does then.
beside: list[Callable[[], Any]] = []
meanwhile: list[Callable[[], Any]] = []


def conflict() -> None:
    """Read a book that another client then changes, do something beside it, and change it."""
    book = Book.objects.get()
    for deed in beside:
        deed()
    if meanwhile:
        meanwhile.pop()()
    book.stock += 1
    book.save(update_fields=["stock"])


def view(request: HttpRequest) -> HttpResponse:
    conflict()
    return HttpResponse("done")


urlpatterns = [path("conflict/", view)]


class Logging:
    """Middleware that logs each request to a table when it is answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        log("default")
        return response


def log(alias: str) -> None:
    Tag.objects.using(alias).create(name="log")


@pytest.fixture
def atomic(shop: EitherShop) -> Iterator[EitherShop]:
    """Requests are transactions, and there are two more databases: one plain, one a cluster."""
    shop.configure(ATOMIC_REQUESTS=True)
    plain = {**shop.galera.databases()["default"], "HOST": "127.0.0.1"}
    nodes = plain.pop("NODES")
    others: dict[str, Any] = {"plain": {**plain, "PORT": nodes["db1"]["PORT"]}}
    cluster = {**shop.galera.databases()["default"], "CONN_MAX_AGE": None}
    others |= {"other": others["plain"]} if shop.is_stock else expand({"other": cluster})
    use_databases({**settings.DATABASES, **others})
    shop.stock()
    beside.clear()
    meanwhile[:] = [lambda: change(shop)]
    yield shop
    beside.clear()
    meanwhile.clear()


def change(shop: EitherShop) -> None:
    shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 5")


def requested(*middleware: str) -> None:
    """Send one request; an error page is an answer too."""
    all_of_it = ["galera_router.middleware.GaleraMiddleware", *middleware]
    with override_settings(ROOT_URLCONF="tests.faults.test_s05_runs", MIDDLEWARE=all_of_it):
        Client(raise_request_exception=False).post("/conflict/")


def called() -> None:
    """Call a function that is run again where it must be."""
    with contextlib.suppress(DatabaseError):
        galera_atomic(conflict)()


DEEDS: dict[str, Callable[[], Any]] = {
    "plain database": lambda: log("plain"),
    "other cluster": lambda: log("other"),
    "thread": lambda: elsewhere(lambda: log("default")),
}


@both()
def test_middleware_in_the_response_phase_works_once(atomic: EitherShop) -> None:
    """What it has written is not written again by another run."""
    requested("tests.faults.test_s05_runs.Logging")
    assert tags(atomic) == ["log"]


@both()
@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
@pytest.mark.parametrize("run", [requested, called])
def test_what_was_committed_beside_the_transaction_is_done_once(
    atomic: EitherShop, run: Callable[[], None], deed: Callable[[], Any]
) -> None:
    """With the first run's error, if need be."""
    beside.append(deed)
    run()
    assert tags(atomic) == ["log"]


@both()
@pytest.mark.parametrize("first", ["read", "nothing"])
def test_a_hook_that_has_run_does_not_run_again(atomic: EitherShop, first: str) -> None:
    """The second hook fails as a transaction does that may be run again."""
    ran: list[str] = []

    def fail() -> None:
        raise OperationalError(1213, "Deadlock found when trying to get lock")

    @galera_atomic
    def function() -> None:
        if first == "read":
            Author.objects.count()
        transaction.on_commit(lambda: ran.append("hook"))
        transaction.on_commit(fail)

    with pytest.raises(OperationalError):
        function()
    assert ran == ["hook"]

"""What was written is seen by the reads behind it, however it was written.

The secondaries apply nothing in these tests, so a read that does not wait for them is old.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from galera_router import reads
from tests.faults.known import both
from tests.faults.server import secondaries_held
from tests.faults.support import EitherShop
from tests.integration.support import elsewhere
from tests.shop.models import Author, Book, Tag


@pytest.fixture
def warm(shop: EitherShop, routines: None) -> EitherShop:
    """Reads wait half a second for a secondary, and then go to the primary."""
    shop.configure(OPTIONS={"wsrep_sync_timeout": 0.5})
    shop.stock()
    shop.warm()
    return shop


def add() -> None:
    Tag.objects.create(name="new")


def count() -> int:
    return Tag.objects.count()


# --- threads of a view --------------------------------------------------------------------


def written_in_thread(request: HttpRequest) -> HttpResponse:
    elsewhere(add)
    return HttpResponse(count())


def read_in_thread(request: HttpRequest) -> HttpResponse:
    add()
    return HttpResponse(elsewhere(count))


def only_written_in_thread(request: HttpRequest) -> HttpResponse:
    elsewhere(add)
    return HttpResponse("written")


def only_read(request: HttpRequest) -> HttpResponse:
    return HttpResponse(count())


def written_by(request: HttpRequest, way: str) -> HttpResponse:
    WAYS[way]()
    return HttpResponse("written")


urlpatterns = [
    path("by/<way>/", written_by),
    path("written/", written_in_thread),
    path("read/", read_in_thread),
    path("only-written/", only_written_in_thread),
    path("count/", only_read),
]


@pytest.fixture
def urls() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.faults.test_s08_own_writes"):
        yield


@both()
@pytest.mark.usefixtures("urls")
@pytest.mark.parametrize("where", ["written", "read"])
def test_a_view_and_its_thread_see_what_the_other_has_written(warm: EitherShop, where: str) -> None:
    """They are one request."""
    with secondaries_held(warm):
        assert Client().get(f"/{where}/").content == b"1"


@both()
@pytest.mark.usefixtures("urls")
def test_the_next_request_sees_what_a_thread_has_written(warm: EitherShop) -> None:
    """The response carries a token, whoever has written."""
    client = Client()
    with secondaries_held(warm):
        client.get("/only-written/")
        assert elsewhere(lambda: client.get("/count/")).content == b"1"


# --- ways to write ------------------------------------------------------------------------

INSERT = "INSERT INTO galera_router.shop_tag (name) VALUES ('new')"


def with_drivers_cursor() -> None:
    cursor = connection.connection.cursor()
    cursor.execute(INSERT)
    cursor.close()


def with_drivers_query() -> None:
    connection.ensure_connection()
    connection.connection.query(INSERT)


def with_callproc() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT NOW()")
        cursor.callproc("shop_add", ["new"])


def drivers_cursor_in_block() -> None:
    with transaction.atomic():
        with_drivers_cursor()


WAYS = {
    way.__name__: way
    for way in (
        with_drivers_cursor,
        with_drivers_query,
        with_callproc,
        drivers_cursor_in_block,
    )
}


@both()
@pytest.mark.parametrize("write", [with_drivers_cursor, with_drivers_query])
def test_own_writes_are_seen(warm: EitherShop, write: Callable[[], None]) -> None:
    """Behind the write, in the same thread."""
    with secondaries_held(warm):
        write()
        assert count() == 1


@both()
@pytest.mark.usefixtures("urls")
def test_the_next_request_sees_what_a_block_has_written(warm: EitherShop) -> None:
    """So it is already where the driver's cursor has been used in a block."""
    client = Client()
    with secondaries_held(warm):
        client.get("/by/drivers_cursor_in_block/")
        assert elsewhere(lambda: client.get("/count/")).content == b"1"


@both()
@pytest.mark.parametrize("write", [with_callproc, drivers_cursor_in_block])
def test_own_writes_of_a_block_are_seen(warm: EitherShop, write: Callable[[], None]) -> None:
    """So it is already: the primary had a transaction open."""
    with secondaries_held(warm):
        write()
        assert count() == 1


@both()
@pytest.mark.usefixtures("urls")
@pytest.mark.parametrize("way", ["with_drivers_cursor", "with_drivers_query", "with_callproc"])
def test_the_next_request_sees_what_one_has_written(warm: EitherShop, way: str) -> None:
    """The response carries a token, however it was written."""
    client = Client()
    with secondaries_held(warm):
        client.get(f"/by/{way}/")
        assert elsewhere(lambda: client.get("/count/")).content == b"1"


@both()
def test_own_writes_are_seen_in_a_block_on_every_alias(warm: EitherShop) -> None:
    """Whoever wants a transaction everywhere opens one on each alias of the settings."""
    with secondaries_held(warm), contextlib.ExitStack() as stack:
        add()
        for alias in settings.DATABASES:
            stack.enter_context(transaction.atomic(using=alias))
        assert count() == 1


# --- a model's own from_db ----------------------------------------------------------------


def from_db(cls: Any, db: str, field_names: Any, values: Any) -> Any:
    """As Django's documentation once gave it."""
    instance = cls(*values)
    instance._state.adding = False
    instance._state.db = db
    return instance


@both()
def test_own_writes_are_seen_beside_a_model_that_loads_itself(
    warm: EitherShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``author.books`` is read where the author's new book is."""
    monkeypatch.setattr(Author, "from_db", classmethod(from_db))
    with secondaries_held(warm):
        author = Author.objects.get()
        with transaction.atomic():
            Book.objects.create(author=author, title="new")
        assert author.books.count() == 2


# --- reads() in a generator ---------------------------------------------------------------


def names() -> Generator[str, None, None]:
    with reads("any"):
        yield from ("a", "b")


@both()
def test_the_mode_of_a_generator_is_not_its_consumers(warm: EitherShop) -> None:
    """Between two of its items own writes are seen as ever."""
    with secondaries_held(warm):
        add()
        for _name in names():
            assert count() == 1


@both()
def test_a_generator_that_is_closed_late_ends_no_others_block(warm: EitherShop) -> None:
    """``reads("primary")`` holds until its own end."""
    with secondaries_held(warm):
        generator = names()
        next(generator)
        with reads("primary"):
            generator.close()
            warm.galera["db1"].query(INSERT)
            assert count() == 1

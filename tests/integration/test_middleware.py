"""A request that failed in its transaction is run again, from a clean state, unseen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient, Client
from django.test.utils import override_settings

from galera_router.exceptions import ReplayMismatch
from tests.integration.support import Shop
from tests.shop import views
from tests.shop.models import Author


@pytest.fixture
def atomic(shop: Shop) -> Iterator[Shop]:
    shop.configure(ATOMIC_REQUESTS=True)
    shop.stock()
    views.hooks.clear()
    yield shop
    views.meanwhile.clear()


def change(shop: Shop) -> None:
    shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 5")


def stock(shop: Shop) -> Any:
    return shop.everywhere("SELECT stock FROM galera_router.shop_book")


def test_a_request_is_run_again(atomic: Shop) -> None:
    views.meanwhile.append(lambda request: change(atomic))
    with atomic.traffic() as sent:
        response = Client().post(
            "/conflict/", {"word": "hello", "file": SimpleUploadedFile("f.txt", b"content")}
        )
    begun = [s for name in ("db2", "db3") for s in sent[name] if "START" in s]
    assert len(begun) == 1, "the second run is on the primary from its start"
    assert response.json() == {"stock": 6, "word": "hello", "file": "content", "visits": 0}
    assert stock(atomic) == [(6,)]
    assert views.hooks == ["committed"]


def test_a_large_upload_is_readable_again(atomic: Shop) -> None:
    views.meanwhile.append(lambda request: change(atomic))
    with override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=10):
        response = Client().post(
            "/conflict/", {"file": SimpleUploadedFile("f.txt", b"more than ten bytes")}
        )
    assert response.json()["file"] == "more than ten bytes"


def test_a_form_body_is_readable_again(atomic: Shop) -> None:
    views.meanwhile.append(lambda request: change(atomic))
    response = Client().post(
        "/conflict/", "word=hello", content_type="application/x-www-form-urlencoded"
    )
    assert response.json()["word"] == "hello"


def test_session_and_user_are_as_before_the_first_run(atomic: Shop) -> None:
    User.objects.create_user("ann", password="secret")
    atomic.settle()
    client = Client()
    assert client.login(username="ann", password="secret")
    atomic.settle()
    for visit in range(2):
        views.meanwhile.append(lambda request: change(atomic))
        assert client.post("/conflict/").json()["visits"] == visit
        atomic.settle()
    assert client.session["visits"] == 2


def test_a_non_atomic_view_is_not_run_again(atomic: Shop) -> None:
    views.meanwhile.append(lambda request: change(atomic))
    with pytest.raises(ReplayMismatch):
        Client().post("/conflict-non-atomic/")
    assert stock(atomic) == [(5,)]


def test_a_small_body_is_kept_for_a_view_that_reads_it_as_a_stream(atomic: Shop) -> None:
    views.meanwhile.append(lambda request: change(atomic))
    response = Client().post("/conflict-stream/", "x", content_type="text/plain")
    assert response.json()["stock"] == 6
    assert stock(atomic) == [(6,)]


def test_a_consumed_stream_is_not_run_again(atomic: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galera_router.middleware.BODY_KEPT", 1)
    views.meanwhile.append(lambda request: change(atomic))
    with pytest.raises(ReplayMismatch):
        Client().post("/conflict-stream/", "xy", content_type="text/plain")
    assert stock(atomic) == [(5,)]


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1)
def test_a_body_that_django_finds_too_large_is_left_to_the_view(atomic: Shop) -> None:
    response = Client().post("/conflict-stream/", "xy", content_type="text/plain")
    assert response.json()["stock"] == 11


def test_the_runs_are_bounded(atomic: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galera_router.middleware.ATTEMPTS", 1)
    views.meanwhile.append(lambda request: change(atomic))
    with pytest.raises(ReplayMismatch):
        Client().post("/conflict/")


def test_without_the_middleware_the_error_goes_on(atomic: Shop) -> None:
    views.meanwhile.append(lambda request: change(atomic))
    with (
        override_settings(MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"]),
        pytest.raises(ReplayMismatch),
    ):
        Client().post("/conflict/")


def test_under_asgi_too(atomic: Shop) -> None:
    views.meanwhile.append(lambda request: change(atomic))

    async def post() -> Any:
        client = AsyncClient()
        return await client.post("/conflict/", {"word": "hello"})

    assert async_to_sync(post)().json() == {"stock": 6, "word": "hello", "file": "", "visits": 0}


def test_an_async_view_reads(shop: Shop) -> None:
    shop.stock()

    async def get() -> Any:
        return await AsyncClient().get("/async/")

    assert async_to_sync(get)().content == b"1"


def test_async_orm_methods(shop: Shop) -> None:
    async def work() -> int:
        await Author.objects.acreate(name="Ann")
        return await Author.objects.acount()

    assert async_to_sync(work)() == 1

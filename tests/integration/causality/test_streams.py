"""A block around several parts of a stream holds for each of them, and for nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from galera_router import after, reads
from galera_router.causality import scope
from tests.integration.causality.support import late
from tests.integration.causality.test_modes import where
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author

tokens: list[str] = []


def count() -> str:
    return str(Author.objects.count())


def parts_after() -> Iterator[str]:
    with after(tokens[0]):
        yield "authors "
        yield count()


def parts_primary() -> Iterator[str]:
    with reads("primary"):
        yield "authors "
        yield count()


@contextmanager
def on_the_primary() -> Iterator[None]:
    with reads("primary"):
        yield


async def aparts_after() -> AsyncIterator[str]:
    with after(tokens[0]):
        yield "authors "
        yield await sync_to_async(count)()


async def aparts_primary() -> AsyncIterator[str]:
    with on_the_primary():
        yield "authors "
        yield await sync_to_async(count)()


def stream(request: HttpRequest, parts: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(globals()[f"parts_{parts}"]())


def stream_file(request: HttpRequest, parts: str) -> FileResponse:
    return FileResponse(map(str.encode, globals()[f"parts_{parts}"]()))


async def astream(request: HttpRequest, parts: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(globals()[f"aparts_{parts}"]())


urlpatterns = [
    path("stream/<parts>/", stream),
    path("file/<parts>/", stream_file),
    path("decorated/<parts>/", reads("any")(stream)),
    path("astream/<parts>/", astream),
]
urls = override_settings(ROOT_URLCONF=__name__)


def get(path: str) -> str:
    return b"".join(Client().get(path)).decode()


def get_async(path: str) -> str:
    async def ask() -> bytes:
        response: Any = await AsyncClient().get(path)
        return b"".join([part async for part in response.streaming_content])

    return async_to_sync(ask)().decode()


streams = pytest.mark.parametrize(
    ("get", "kind"), [(get, "stream"), (get, "file"), (get_async, "astream")]
)


@pytest.fixture
def held(warm: Shop) -> Iterator[Shop]:
    """The secondaries do not have yet what the token names."""
    node = warm.galera["db2"]
    warm.configure(HOST=node.host, PORT=node.port)  # no ATOMIC_REQUESTS with asynchronous views
    warm.warm()
    with late(warm) as token:
        tokens[:] = [token]
        yield warm


@urls
@streams
def test_a_block_of_after(held: Shop, get: Callable[[str], str], kind: str) -> None:
    assert get(f"/{kind}/after/") == "authors 2"


@urls
@streams
def test_a_block_of_reads(warm: Shop, get: Callable[[str], str], kind: str) -> None:
    node = warm.galera["db2"]
    warm.configure(HOST=node.host, PORT=node.port)  # no ATOMIC_REQUESTS with asynchronous views
    assert where(warm, lambda: get(f"/{kind}/primary/")) == {"db1"}
    assert scope.mode("default") is None


@urls
def test_a_block_within_the_mode_of_the_view(warm: Shop) -> None:
    assert where(warm, lambda: get("/decorated/primary/")) == {"db1"}


@urls
def test_who_consumes_a_stream_does_not_read_by_its_blocks(held: Shop) -> None:
    response = Client().get("/stream/after/")
    parts = iter(response)
    assert next(parts) == b"authors "
    assert scope.needs("default") == ()
    assert next(parts) == b"2"


@pytest.mark.parametrize("mode", ["causal", "primary"])
def test_a_generator_goes_on_behind_a_block_of_its_consumer(held: Shop, mode: Any) -> None:
    def work() -> str:
        with reads(mode):
            parts = parts_after()
            first = next(parts)
        assert scope.mode("default") is None
        return first + next(parts)

    assert elsewhere(work) == "authors 2"

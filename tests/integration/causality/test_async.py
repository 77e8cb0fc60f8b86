"""Under ASGI: each request in a thread of its own, and what it asks for is its own too."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.db import connections

from galera_router import after, causal_token, reads
from galera_router.causality import scope
from tests.integration.causality.support import SYNC, write
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author

names = (f"a{number}" for number in itertools.count())


@pytest.fixture
def warm(warm: Shop) -> Shop:
    """Django refuses ATOMIC_REQUESTS with asynchronous views."""
    node = warm.galera["db2"]
    warm.configure(HOST=node.host, PORT=node.port)
    return warm


async def ask(path: str, *, data: dict[str, str] | None = None, token: str = "") -> Any:
    """The answer of the whole ASGI application: status, headers and body."""
    headers = [(b"cookie", f"galera={token}".encode())] if token else []
    body = urlencode(data or {}).encode()
    headers += [
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-length", str(len(body)).encode()),
    ]
    http = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST" if data is not None else "GET",
        "path": path,
        "query_string": b"",
        "headers": headers,
    }
    communicator: Any = ApplicationCommunicator
    application = communicator(ASGIHandler(), http)
    await application.send_input({"type": "http.request", "body": body})
    start = await application.receive_output(20)
    parts, more = [], True
    while more:
        part = await application.receive_output(20)
        parts.append(part.get("body", b""))
        more = part.get("more_body", False)
    await application.wait(20)
    answered = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return start["status"], answered, b"".join(parts).decode()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run(work)
    finally:
        connections.close_all()


async def add(path: str) -> tuple[str, str]:
    """A new author's name, and the token of it."""
    name = next(names)
    status, headers, _ = await ask(path, data={"name": name})
    assert status == 200
    return name, headers["x-galera-token"]


@pytest.mark.parametrize("writing", ["/add/", "/add-async/"])
@pytest.mark.parametrize("reading", ["/read/", "/stream-async/"])
def test_the_next_request_sees_the_write(warm: Shop, writing: str, reading: str) -> None:
    async def work() -> None:
        with warm.galera["db2"].hold_applier():
            name, token = await add(writing)
            threading.Timer(0.4, warm.galera["db2"].release_applier).start()
            began = time.monotonic()
            _, _, body = await ask(reading, token=token)
            assert name in body
            assert time.monotonic() - began > 0.2

    run(work())


@pytest.mark.alone
def test_requests_side_by_side_do_not_wait_for_each_other(warm: Shop) -> None:
    """Ten with a token, each for a write of its own, and ten without."""

    async def work() -> None:
        added = [await add("/add-async/") for _ in range(10)]
        with warm.galera["db2"].hold_applier():
            late = [await add("/add-async/") for _ in range(5)]
            threading.Timer(0.6, warm.galera["db2"].release_applier).start()
            began = time.monotonic()

            async def timed(token: str) -> tuple[float, str]:
                _, _, body = await ask("/read/", token=token)
                return time.monotonic() - began, body

            tokens = [token for _, token in added + late] + [""] * 5
            found = await asyncio.gather(*(timed(token) for token in tokens))
        for (name, _), (_, body) in zip(added + late, found, strict=False):
            assert name in body.split(",")
        assert min(seconds for seconds, _ in found[10:15]) > 0.3, "these had to wait"
        assert scope.needs("default") == ()

    run(work())


def test_modes_stay_with_their_requests(warm: Shop) -> None:
    async def work() -> None:
        await asyncio.gather(*(ask(f"/{mode}-async/") for mode in ("primary", "any") * 5))

    with warm.traffic() as sent:
        run(work())
    counted = {name: sum("`shop_author`" in s for s in log) for name, log in sent.items()}
    assert counted == {"db1": 5, "db2": 5, "db3": 0}


def test_blocks_hold_in_coroutines(warm: Shop) -> None:
    token = write()

    async def work() -> None:
        with after(token), reads("primary"):
            assert await sync_to_async(scope.mode)("default") == "primary"
            assert len(await sync_to_async(scope.needs)("default")) == 1
            assert await Author.objects.acount() == 2
        assert await sync_to_async(scope.needs)("default") == ()

    run(work())


def test_a_thread_beside_the_requests_own_waits_too(warm: Shop) -> None:
    """``thread_sensitive=False``: another connection, the same request."""

    async def work() -> int:
        with scope.needing({}, request=True):
            await Author.objects.acreate(name="Bea")
            found: int = await sync_to_async(elsewhere, thread_sensitive=False)(
                Author.objects.count
            )
            return found

    async def in_copied_thread() -> int:
        with scope.needing({}, request=True):
            await Author.objects.acreate(name="Cleo")
            count = sync_to_async(Author.objects.count, thread_sensitive=False)
            return await count()

    assert run(work()) >= 1
    with warm.traffic() as sent:
        assert run(in_copied_thread()) == 3
    assert any(s.startswith(SYNC) for s in sent["db2"])


def test_a_token_in_a_coroutine(warm: Shop) -> None:
    async def work() -> str:
        with scope.needing({}, request=True):
            await Author.objects.acreate(name="Bea")
            token: str = await sync_to_async(causal_token)()
            return token

    assert run(work())

"""The threads of one request, whoever has started them, are one: each sees what another wrote.

The secondaries have come to a halt in these tests and say that they are in step, so that a read
that does not wait for a write is old.
"""

from __future__ import annotations

import _thread
import asyncio
import io
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import DatabaseError, connections, transaction
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path

from galera_router import carry_scope, galera_atomic
from galera_router.causality import scope
from galera_router.exceptions import ReplayMismatch
from galera_router.middleware import GaleraMiddleware
from tests.faults.nodes import stalled
from tests.integration.causality.support import Browser
from tests.integration.support import Shop, wait_until
from tests.shop.models import Author, Book, Tag

Work = Callable[[], Any]


def closing(work: Work) -> Work:
    """``work``, and then the end of the connections that its thread has used."""

    def closed() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    return closed


def in_thread(work: Work) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(closing(work)()))
    thread.start()
    thread.join()
    return found[0]


def in_a_timer(work: Work) -> Any:
    found: list[Any] = []
    timer = threading.Timer(0, lambda: found.append(closing(work)()))
    timer.start()
    timer.join()
    return found[0]


def in_a_job(work: Work) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(closing(work)).result()


def by_map(work: Work) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return next(pool.map(lambda _: closing(work)(), [0]))


def by_asgiref(work: Work) -> Any:
    return async_to_sync(sync_to_async(closing(work), thread_sensitive=False))()


def by_asyncio(work: Work) -> Any:
    return asyncio.run(asyncio.to_thread(closing(work)))


class Threads:
    """Threads that were there before, and have read and written for others."""

    def __init__(self) -> None:
        self.executor, self.pool = ThreadPoolExecutor(1), ThreadPool(1)
        self._jobs: queue.SimpleQueue[tuple[Work, queue.SimpleQueue[Any]] | None]
        self._jobs = queue.SimpleQueue()
        _thread.start_new_thread(self._worker, ())
        for way in (self.in_executor, self.in_pool, self.in_queue):
            way(self._use)

    @staticmethod
    def _use() -> None:
        Tag.objects.create(name="before")
        Tag.objects.all().delete()
        list(Author.objects.all())

    def _worker(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, answer = job
            answer.put(work())
        connections.close_all()

    def in_executor(self, work: Work) -> Any:
        return self.executor.submit(work).result()

    def in_pool(self, work: Work) -> Any:
        return self.pool.apply(work)

    def in_queue(self, work: Work) -> Any:
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._jobs.put((work, answer))
        return answer.get(timeout=20)

    def end(self) -> None:
        for way in (self.in_executor, self.in_pool):
            way(connections.close_all)
        self._jobs.put(None)
        self.executor.shutdown()
        self.pool.terminate()


WAYS: dict[str, Callable[[Threads, Work], Any]] = {
    "thread": lambda threads, work: in_thread(work),
    "timer": lambda threads, work: in_a_timer(work),
    "job": lambda threads, work: in_a_job(work),
    "map": lambda threads, work: by_map(work),
    "asgiref": lambda threads, work: by_asgiref(work),
    "asyncio": lambda threads, work: by_asyncio(work),
    "thread of a job": lambda threads, work: in_a_job(lambda: in_thread(work)),
    "old executor": lambda threads, work: threads.in_executor(work),
    "carried into a pool": lambda threads, work: threads.in_pool(carry_scope(work)),
    "carried into a queue": lambda threads, work: threads.in_queue(carry_scope(work)),
    "carried into a thread": lambda threads, work: in_thread(carry_scope(work)),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@pytest.fixture
def threads(warm: Shop) -> Iterator[Threads]:
    """Reads wait for a secondary for half a second, and then go on to the primary."""
    node = warm.galera["db2"]
    warm.configure(HOST=node.host, PORT=node.port, OPTIONS={"wsrep_sync_timeout": 0.5})
    warm.warm()
    threads = Threads()
    warm.settle()
    with ExitStack() as stack:
        for name in ("db2", "db3"):
            stack.enter_context(stalled(warm.galera[name], "shop_tag"))
        yield threads
        threads.end()


def add() -> None:
    Tag.objects.create(name="new")


def count() -> int:
    return Tag.objects.count()


def count_in_block() -> int:
    with transaction.atomic():
        return Tag.objects.count()


# --- what one has written, another reads --------------------------------------------------


@ways
@pytest.mark.parametrize("read", [count, count_in_block])
def test_what_a_thread_has_written_the_request_reads(
    threads: Threads, way: Callable[[Threads, Work], Any], read: Callable[[], int]
) -> None:
    with scope.needing({}, request=True):
        assert read() == 0
        way(threads, add)
        assert read() == 1


@ways
@pytest.mark.parametrize("read", [count, count_in_block])
def test_what_the_request_has_written_a_thread_reads(
    threads: Threads, way: Callable[[Threads, Work], Any], read: Callable[[], int]
) -> None:
    with scope.needing({}, request=True):
        add()
        assert way(threads, read) == 1


@ways
def test_what_a_thread_has_written_another_reads(
    threads: Threads, way: Callable[[Threads, Work], Any]
) -> None:
    with scope.needing({}, request=True):
        way(threads, add)
        assert in_thread(count) == 1
        in_thread(add)
        assert way(threads, count) == 2


def test_a_thread_of_another_request_waits_for_nothing(threads: Threads) -> None:
    with scope.needing({}, request=True):
        add()
    with scope.needing({}, request=True):
        assert in_thread(count) == 0
        assert in_thread(carry_scope(count)) == 0


@ways
def test_a_block_that_has_read_does_not_go_on_with_what_it_has(
    threads: Threads, way: Callable[[Threads, Work], Any]
) -> None:
    """It moves to the primary, where its reads are checked."""
    with scope.needing({}, request=True), transaction.atomic():
        assert Author.objects.count() == 1
        way(threads, add)
        assert count() == 1


def test_a_block_whose_reads_a_thread_has_changed_says_so(threads: Threads) -> None:
    with scope.needing({}, request=True), pytest.raises(ReplayMismatch), transaction.atomic():
        assert count() == 0
        in_thread(add)
        count()


# --- not for longer than the request ----------------------------------------------------


@pytest.mark.parametrize("within", [True, False], ids=["a request", "none"])
def test_a_threads_write_does_not_keep_later_requests_on_the_primary(
    warm: Shop, within: bool
) -> None:
    """Nobody tells a pool's thread that a request begins."""

    def asked() -> list[str]:
        with warm.traffic() as sent, scope.needing({}, request=True):
            pool.submit(Author.objects.count).result()
        return [name for name in sent for text in sent[name] if "shop_author" in text]

    def write() -> None:
        Tag.objects.create(name="new")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(Author.objects.count).result()
        with scope.needing({}, request=True) if within else nullcontext():
            pool.submit(write).result()
            warm.settle()
            with warm.traffic() as sent:
                pool.submit(Author.objects.count).result()
            assert any("shop_author" in text for text in sent["db1"]) is within
        assert asked() == ["db2"]
        pool.submit(connections.close_all).result()


# --- also in what is streamed ------------------------------------------------------------


def parts(*, writes: bool) -> Iterator[str]:
    """Written by the thread that streams, if not by the view; asked by another."""
    if writes:
        add()
    yield str(in_thread(count))


async def aparts(*, writes: bool) -> AsyncIterator[str]:
    if writes:
        await sync_to_async(add)()
    yield str(await sync_to_async(closing(count), thread_sensitive=False)())


def streams(request: HttpRequest, writes: str) -> StreamingHttpResponse:
    if writes == "before":
        add()
    return StreamingHttpResponse(parts(writes=writes == "within"))


def streams_file(request: HttpRequest, writes: str) -> FileResponse:
    if writes == "before":
        add()
    return FileResponse(map(str.encode, parts(writes=writes == "within")))


async def astreams(request: HttpRequest, writes: str) -> StreamingHttpResponse:
    if writes == "before":
        await sync_to_async(add)()
    return StreamingHttpResponse(aparts(writes=writes == "within"))


@pytest.mark.parametrize("writes", ["before", "within"])
@pytest.mark.parametrize("path", ["/parts/", "/file/", "/aparts/"])
@override_settings(ROOT_URLCONF="tests.integration.causality.test_threads")
def test_a_thread_of_a_stream_reads_what_the_request_has_written(
    threads: Threads, path: str, writes: str
) -> None:
    async def ask() -> bytes:
        response: Any = await AsyncClient().get(f"/aparts/{writes}/")
        return b"".join([part async for part in response.streaming_content])

    response = Client().get(f"{path}{writes}/") if path != "/aparts/" else None
    content = b"".join(response) if response is not None else async_to_sync(ask)()
    assert content == b"1"


def test_an_open_file_is_left_to_the_server(threads: Threads) -> None:
    def respond(request: HttpRequest) -> FileResponse:
        add()
        return FileResponse(io.BytesIO(b"content"))

    response = GaleraMiddleware(respond)(RequestFactory().get("/"))
    assert response.file_to_stream is not None  # type: ignore[union-attr]


# --- the token ----------------------------------------------------------------------------

_way: list[Work] = []


def writes_elsewhere(request: HttpRequest) -> HttpResponse:
    _way[0]()
    return HttpResponse("written")


def reads(request: HttpRequest) -> HttpResponse:
    return HttpResponse(count())


urlpatterns = [
    path("write/", writes_elsewhere),
    path("read/", reads),
    path("parts/<writes>/", streams),
    path("file/<writes>/", streams_file),
    path("aparts/<writes>/", astreams),
]


@ways
@override_settings(ROOT_URLCONF="tests.integration.causality.test_threads")
def test_the_response_has_a_token_of_it(
    threads: Threads, way: Callable[[Threads, Work], Any]
) -> None:
    _way[:] = [lambda: way(threads, add)]
    browser = Browser()
    assert browser.get("/write/") == "written"
    assert len(browser.cookies) == 1
    assert browser.get("/read/") == "1"


# --- not again ----------------------------------------------------------------------------


@ways
def test_what_a_thread_has_written_is_not_written_again(
    threads: Threads, warm: Shop, way: Callable[[Threads, Work], Any]
) -> None:
    runs: list[int] = []

    @galera_atomic
    def work() -> None:
        book = Book.objects.get()
        runs.append(way(threads, add))
        warm.galera["db1"].query("UPDATE galera_router.shop_book SET stock = stock + 1")
        book.stock += 1
        book.save(update_fields=["stock"])

    with pytest.raises(DatabaseError):
        work()
    assert len(runs) == 1


def test_what_a_carried_function_may_yet_write_is_not_written_again() -> None:
    from galera_router.recovery.runs import Run

    told = "a function that carries its scope may yet be at work"
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        end.wait(10)

    with Run() as outer, Run() as run:
        carried = carry_scope(work)
        assert run.obstacle() == outer.obstacle() == told, "it may be called yet"
        _thread.start_new_thread(carried, ())
        assert begun.wait(10)
        assert run.obstacle() == outer.obstacle() == told
        end.set()
        wait_until(lambda: run.obstacle() is None)
        assert outer.obstacle() is None
        del carried


def test_one_that_nobody_can_call_any_more_is_no_obstacle() -> None:
    from galera_router.recovery.runs import Run

    with Run() as run:
        carry_scope(add)
        assert run.obstacle() is None


def test_it_is_called_as_it_is() -> None:
    def add_up(one: int, *, other: int) -> int:
        """The sum."""
        return one + other

    carried = carry_scope(add_up)
    assert carried(1, other=2) == 3
    assert (carried.__name__, carried.__doc__) == ("add_up", "The sum.")
    with pytest.raises(ZeroDivisionError):
        carry_scope(lambda: 1 // 0)()


async def coroutine() -> None: ...


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("function", [coroutine, generator])
def test_what_runs_later_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match=function.__name__):
        carry_scope(function)

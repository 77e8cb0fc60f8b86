"""A request that failed in its transaction is run again, from a clean state, unseen."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.signals import got_request_exception
from django.db import OperationalError, ProgrammingError, connections
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import override_settings
from django.urls import path
from django.utils.decorators import async_only_middleware

from galera_router.exceptions import NoNodeAvailable, ReplayMismatch
from galera_router.middleware import GaleraMiddleware
from galera_router.recovery import turns
from tests.integration.support import Shop
from tests.shop import views
from tests.shop.models import Author, Book, Tag


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


def test_what_a_run_has_taken_out_of_the_request_is_there_again(atomic: Shop) -> None:
    def take(request: Any) -> None:
        request.POST._mutable = True
        found = request.POST.pop("word"), request.FILES.pop("file"), request.COOKIES.pop("guest")
        assert all(found)
        change(atomic)
        views.meanwhile.append(lambda request: guests.append(request.COOKIES["guest"]))

    guests: list[str] = []
    views.meanwhile.append(take)
    client = Client()
    client.cookies["guest"] = "ann"
    client.cookies["galera.x"] = "x"  # so that the middleware reads them
    data = {"word": "hello", "file": SimpleUploadedFile("f.txt", b"content")}
    found = client.post("/conflict/", data).json()
    assert (found["word"], found["file"], guests) == ("hello", "content", ["ann"])


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


# --- only if nothing else was done --------------------------------------------------------

#: What the middleware of these tests does before and after the view, and the statuses it sees.
before: list[Callable[[], Any]] = []
after: list[Callable[[], Any]] = []
statuses: list[int] = []
pages: list[bytes] = []


class Inner:
    """A middleware of the project's, behind ours."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        for deed in before:
            deed()
        response = self.get_response(request)
        statuses.append(response.status_code)
        pages.append(response.content)
        for deed in after:
            deed()
        return response


@pytest.fixture
def inner(atomic: Shop) -> Iterator[Shop]:
    views.meanwhile.append(lambda request: change(atomic))
    ours = ["galera_router.middleware.GaleraMiddleware", f"{__name__}.Inner"]
    sessions = "django.contrib.sessions.middleware.SessionMiddleware"
    with override_settings(MIDDLEWARE=[*ours, sessions]):
        yield atomic
    for noted in (before, after, statuses, pages):
        noted.clear()


def log() -> None:
    Tag.objects.create(name="log")


def tags() -> int:
    return int(Tag.objects.using("default").count())


def test_a_middleware_that_only_reads_is_in_nobodys_way(inner: Shop) -> None:
    before.append(Tag.objects.count)
    after.append(Tag.objects.count)
    assert Client().post("/conflict/").status_code == 200
    assert statuses == [500, 200]


@pytest.mark.parametrize("deeds", [before, after], ids=["before", "after"])
def test_what_a_middleware_has_written_is_not_written_twice(
    inner: Shop, deeds: list[Callable[[], Any]]
) -> None:
    """The error of the view goes on, as an error that nobody has asked to run again."""
    deeds.append(log)
    response = Client(raise_request_exception=False).post("/conflict/")
    assert response.status_code == 500
    assert response.exc_info[0] is ReplayMismatch  # type: ignore[attr-defined]
    assert statuses == [500]
    assert (b"Server Error" in pages[0]) is (deeds is before), (
        "it is Django's own page if it can be"
    )
    assert tags() == 1
    assert stock(inner) == [(5,)]


def test_the_project_is_told_of_the_error_once(
    inner: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    after.append(log)
    caplog.set_level(logging.INFO)
    Client(raise_request_exception=False).post("/conflict/")
    told = [record for record in caplog.records if record.name == "django.request"]
    assert [type(record.exc_info[1]) for record in told if record.exc_info] == [ReplayMismatch]
    (reason,) = [m for m in caplog.messages if m.startswith("not running POST /conflict/ again")]
    assert "because something was committed on 'default'" in reason


async def _post_async(client: AsyncClient) -> Any:
    return await client.post("/conflict/")


@pytest.mark.parametrize("under", ["wsgi", "asgi"])
def test_an_error_carries_the_token_of_what_a_middleware_has_written(
    inner: Shop, caplog: pytest.LogCaptureFixture, under: str
) -> None:
    """Another run was asked for and is refused: the error goes on past all middleware."""
    after.append(log)
    told: list[Any] = []
    got_request_exception.connect(note := lambda **more: told.append(more), weak=False)
    try:
        response = ask_conflict(under, raise_request_exception=False)
    finally:
        got_request_exception.disconnect(note)
    assert (response.status_code, len(told)) == (500, 1)
    assert b"Server Error" in response.content
    (cookie,) = (name for name in response.cookies if name.startswith("galera."))
    assert response.headers["X-Galera-Token"] == response.cookies[cookie].value


def ask_conflict(under: str, **options: Any) -> Any:
    if under == "wsgi":
        return Client(**options).post("/conflict/")
    return async_to_sync(_post_async)(AsyncClient(**options))


@pytest.mark.parametrize("under", ["wsgi", "asgi"])
@pytest.mark.parametrize("propagate", [False, True])
def test_who_wants_the_error_itself_gets_it(inner: Shop, under: str, propagate: bool) -> None:
    after.append(log)
    with (
        override_settings(DEBUG_PROPAGATE_EXCEPTIONS=propagate),
        pytest.raises(ReplayMismatch) as caught,
    ):
        ask_conflict(under, raise_request_exception=not propagate)
    assert any(entry.name == "conflict" for entry in caught.traceback), "it says where it was"


def test_a_thread_that_still_runs_keeps_the_request_from_running_again(inner: Shop) -> None:
    end = threading.Event()
    threads: list[threading.Thread] = []

    def start() -> None:
        threads.append(threading.Thread(target=end.wait, args=(10,)))
        threads[-1].start()

    before.append(start)
    try:
        with pytest.raises(ReplayMismatch):
            Client().post("/conflict/")
    finally:
        end.set()
    assert len(threads) == 1


def test_a_job_that_has_written_keeps_the_request_from_running_again(inner: Shop) -> None:
    def logged() -> None:
        log()
        connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # its thread is older than the request
        before.append(lambda: pool.submit(logged).result())
        with pytest.raises(ReplayMismatch):
            Client().post("/conflict/")
    assert tags() == 1


def test_under_asgi_too_a_middleware_writes_once(inner: Shop) -> None:
    after.append(log)

    async def post() -> Any:
        return await AsyncClient(raise_request_exception=False).post("/conflict/")

    assert async_to_sync(post)().status_code == 500
    assert tags() == 1


@async_only_middleware
def audits(get_response: Callable[[HttpRequest], Awaitable[Any]]) -> Any:
    async def audit() -> None:
        await asyncio.sleep(0.2)
        await Tag.objects.acreate(name="log")

    async def middleware(request: HttpRequest) -> Any:
        audited.append(asyncio.create_task(audit()))
        return await get_response(request)

    return middleware


audited: list[asyncio.Task[None]] = []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a task does not tell its context")
def test_a_task_that_may_yet_write_keeps_the_request_from_running_again(inner: Shop) -> None:
    async def post() -> Any:
        response = await AsyncClient(raise_request_exception=False).post("/conflict/")
        await asyncio.gather(*audited)
        return response

    audited.clear()
    ours = ["galera_router.middleware.GaleraMiddleware", f"{__name__}.audits"]
    sessions = "django.contrib.sessions.middleware.SessionMiddleware"
    with override_settings(MIDDLEWARE=[*ours, sessions]):
        assert async_to_sync(post)().status_code == 500
    assert (len(audited), tags()) == (1, 1)


def test_a_thread_that_goes_on_does_not_keep_the_request_in_memory(shop: Shop) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(10,))

    def respond(request: HttpRequest) -> HttpResponse:
        thread.start()
        return HttpResponse("ok")

    request = RequestFactory().post("/", {"a": "1"})
    kept = weakref.ref(request)
    GaleraMiddleware(respond)(request)
    del request
    gc.collect()
    try:
        assert kept() is None
    finally:
        end.set()
        thread.join()


# --- why, and how often -------------------------------------------------------------------


def puts_an_author(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    """A middleware of the project's, ahead of ours."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.author = Author(name="Ann")  # type: ignore[attr-defined]
        request.cart = {"paid": 0}  # type: ignore[attr-defined]
        return get_response(request)

    return middleware


def test_what_an_outer_middleware_has_put_into_the_request_is_put_back(atomic: Shop) -> None:
    """It is a warning that there is one, and no reason to do something twice."""

    def pay(request: HttpRequest) -> None:
        request.cart["paid"] += 1  # type: ignore[attr-defined]
        request.author.name += "!" * request.cart["paid"]  # type: ignore[attr-defined]
        request.author.save()  # type: ignore[attr-defined]

    def pay_and_fail(request: HttpRequest) -> None:
        views.meanwhile.append(pay)
        change(atomic)
        pay(request)

    views.meanwhile.append(pay_and_fail)
    sessions = "django.contrib.sessions.middleware.SessionMiddleware"
    ours = "galera_router.middleware.GaleraMiddleware"
    with override_settings(MIDDLEWARE=[f"{__name__}.puts_an_author", sessions, ours]):
        client = Client()
        assert client.post("/conflict/").json() == {
            "stock": 6, "word": "", "file": "", "visits": 0
        }  # fmt: skip
    assert client.session["visits"] == 1
    paid = "SELECT name FROM galera_router.shop_author WHERE name LIKE '%!'"
    assert atomic.everywhere(paid) == [("Ann!",)]


def test_each_run_is_logged(atomic: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "galera_router")
    views.meanwhile.append(lambda request: change(atomic))
    Client().post("/conflict/")
    (told,) = [message for message in caplog.messages if "again" in message]
    assert told.startswith("running POST /conflict/ again (run 2 of at most 10): ReplayMismatch: ")


def test_what_a_secondary_does_not_know_is_asked_of_the_primary_once(atomic: Shop) -> None:
    places: list[bool] = []

    def unknown(request: HttpRequest) -> None:
        places.append(atomic.session.primary_only)
        if len(places) < 2:
            views.meanwhile.append(unknown)
            raise ProgrammingError(1054, "Unknown column 'new'")

    views.meanwhile.append(unknown)
    assert Client().post("/conflict/").json()["stock"] == 11
    assert places == [False, True]


def test_what_the_primary_does_not_know_is_an_error(atomic: Shop) -> None:
    runs: list[int] = []

    def unknown(request: HttpRequest) -> None:
        runs.append(1)
        views.meanwhile.append(unknown)
        raise ProgrammingError(1146, "Table 'x' doesn't exist")

    views.meanwhile.append(unknown)
    with pytest.raises(ProgrammingError):
        Client().post("/conflict/")
    assert len(runs) == 2


def test_from_the_third_run_on_a_request_queues(
    atomic: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_hot", {})
    free: list[bool] = []

    def fail(request: HttpRequest) -> None:
        question = "SELECT IS_FREE_LOCK('galera_router galera_router')"
        free.append(atomic.galera["db1"].query(question) == [(1,)])
        if len(free) < 4:
            views.meanwhile.append(fail)
            Tag.objects.create(name="x")
            raise ReplayMismatch("another one was faster")

    views.meanwhile.append(fail)
    assert Client().post("/conflict/").status_code == 200
    assert free == [True, True, False, False]
    fail(HttpRequest())
    assert free[-1], "the turn is left at the end"
    assert Book.objects.using("default").get().stock == 11


# --- no node is there ---------------------------------------------------------------------


def _how_long() -> float:
    began = time.monotonic()
    with pytest.raises(NoNodeAvailable):
        Author.objects.count()
    return time.monotonic() - began


def streams(request: HttpRequest) -> StreamingHttpResponse:
    """Ask before the response begins, and while it is sent."""
    first = _how_long()

    def parts() -> Iterator[str]:
        yield f"{first} "
        yield f"{_how_long()}"

    return StreamingHttpResponse(parts())


urlpatterns = [path("", streams)]


@override_settings(ROOT_URLCONF=__name__)
def test_what_is_streamed_after_an_outage_does_not_wait_either(shop: Shop) -> None:
    with shop.proxied(OPTIONS={"reconnect_wait_time": 0.6}) as proxies:
        shop.warm()
        for proxy in proxies.values():
            proxy.refuse()
            proxy.cut()
        response: Any = Client().get("/")
        first, streamed = map(float, response.getvalue().split())
    assert first > 0.3
    assert streamed < 0.3


# --- a form that a middleware ahead of ours has made


def json_form(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    """The fields of a JSON body are the request's form."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.content_type == "application/json":
            form = QueryDict(mutable=True)
            form.update(json.loads(request.body))
            request.POST = form  # type: ignore[assignment]
        return get_response(request)

    return middleware


def test_a_form_that_was_made_of_something_else_is_there_in_the_second_run(atomic: Shop) -> None:
    views.meanwhile.append(lambda request: change(atomic))
    sessions = "django.contrib.sessions.middleware.SessionMiddleware"
    ours = "galera_router.middleware.GaleraMiddleware"
    with override_settings(MIDDLEWARE=[f"{__name__}.json_form", ours, sessions]):
        response = Client().post(
            "/conflict/", json.dumps({"word": "hello"}), content_type="application/json"
        )
    assert response.json() == {**response.json(), "stock": 6, "word": "hello"}


def test_what_a_run_has_set_on_its_connection_goes_with_it(atomic: Shop) -> None:
    """A lock that each run takes is released once."""

    def lock(request: HttpRequest) -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT GET_LOCK('job', 0)")
            assert cursor.fetchone() == (1,)
        if views.meanwhile:
            raise OperationalError(1213, "Deadlock found")

    views.meanwhile[:] = [lock, lock]
    assert Client().post("/conflict/").json()["stock"] == 11
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT RELEASE_LOCK('job')")
    assert atomic.galera["db1"].query("SELECT IS_FREE_LOCK('job')") == [(1,)]

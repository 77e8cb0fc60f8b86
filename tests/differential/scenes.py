"""Where a programme runs: in a thread of its own, or in a view; the URLs of that view."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.util import setup_testing_defaults

from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import got_request_exception
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

Job = Callable[[], None]
_job = threading.local()
_handler: list[Any] = []


def _view(request: HttpRequest, fails: str = "") -> HttpResponse:
    _job.job()
    if fails:
        raise ValueError("the view's own")
    return HttpResponse("done")


@transaction.non_atomic_requests
def _plain_view(request: HttpRequest) -> HttpResponse:
    return _view(request)


urlpatterns = [
    path("request", _plain_view),
    path("atomic_request", _view),
    path("failing_request", _view, {"fails": "yes"}),
]


def play(scene: str, job: Job) -> int:
    """Do ``job`` in the scene; returns the status of the response, 0 without a request."""
    if scene == "thread":
        job()
        return 0
    if not _handler:
        _handler.append(WSGIHandler())
    _job.job = job
    environ: dict[str, Any] = {"PATH_INFO": f"/{scene}"}
    setup_testing_defaults(environ)
    response = _handler[0](environ, lambda *_: lambda _: None)
    response.close()
    return int(response.status_code)


@contextmanager
def raised_of_request() -> Iterator[list[str]]:
    """The names of the exceptions that requests end with, in the time of the block."""
    raised: list[str] = []

    def note(**_: Any) -> None:
        raised.append(type(sys.exc_info()[1]).__name__)

    got_request_exception.connect(note)
    try:
        yield raised
    finally:
        got_request_exception.disconnect(note)


def in_a_thread(job: Job) -> None:
    """Do ``job`` with connections of its own; raises what it raises."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            job()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]

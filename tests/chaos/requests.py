"""Transfers as requests to a site: through Django's handler and its middleware, no server."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import got_request_exception
from django.test import RequestFactory

from tests.chaos import views
from tests.chaos.bank import Move

_failed = threading.local()


class RequestFailed(Exception):
    """The site has answered with an error, and nobody has seen an exception."""


def transfer(move: Move) -> int:
    """Ask the site for a transfer; returns the key of its note, raises what the view has raised."""
    _failed.error = None
    views.runs.count = 0
    status, body = _send(RequestFactory().post("/transfer/", move.as_dict()).environ)
    if status != 200:
        raise _failed.error or RequestFailed(f"HTTP {status}")
    return int(body)


def run(body: Callable[[], None], token: str) -> str:
    """Have the site run ``body`` for a client that has ``token``; returns the token it is given."""
    _failed.error = None
    views.runs.count, views.runs.body = 0, body
    headers = {"X-Galera-Token": token} if token else {}
    response = _answer(RequestFactory().post("/body/", headers=headers).environ)
    if response.status_code != 200:
        raise _failed.error or RequestFailed(f"HTTP {response.status_code}")
    return str(response.headers.get("X-Galera-Token", ""))


def visit(body: Callable[[], None]) -> int:
    """Have the site run ``body`` where visits are noted; returns how many it has noted."""
    _failed.error = None
    views.runs.count, views.runs.visits, views.runs.body = 0, 0, body
    status, _ = _send(RequestFactory().post("/visit/").environ)
    if status != 200:
        raise _failed.error or RequestFailed(f"HTTP {status}")
    return int(views.runs.visits)


def _send(environ: dict[str, Any]) -> tuple[int, bytes]:
    response = _answer(environ)
    return response.status_code, response.content


def _answer(environ: dict[str, Any]) -> Any:
    """The response, at its end."""
    response: Any = _handler()(environ, lambda *_: bytes)
    try:
        b"".join(response)
        return response
    finally:
        response.close()


@functools.cache
def _handler() -> WSGIHandler:
    got_request_exception.connect(_note)
    return WSGIHandler()


def _note(**kwargs: object) -> None:
    _failed.error = sys.exc_info()[1]

"""What all processes of the site have answered so far, in a folder that they share.

Each request adds one byte to a file, and each that failed one to another: their lengths are the
numbers. That takes no lock. Long waits and failovers are lines of two more.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

#: Without it, each process counts for itself.
SHARED = os.environ.get("STRIP_FOLDER")
#: Seconds between two failovers from one node that belong to one loss of it.
ONE_LOSS = 10.0
#: Seconds after which a process that had nothing to do hears of a new primary.
LATE = 1.0
TAIL = 16 * 1024  # bytes
LONG = 0.1  # seconds; a shorter wait is not worth a line
#: Questions of the strip and of monitors, and what is no page.
NOT_COUNTED = ("/cluster/", "/health/", "/static/")

_own = None if SHARED else TemporaryDirectory(prefix="strip-")
FOLDER = Path(SHARED or (_own.name if _own else ""))


class Failover(NamedTuple):
    """What was to be done on ``lost`` was done by another node, after a pause; ``at`` its end."""

    lost: str
    by: str
    seconds: float
    at: float


class Wait(NamedTuple):
    """A request that took long; ``at`` its end."""

    seconds: float
    at: float

    def saw(self, failover: Failover) -> bool:
        """Whether the request was under way then; a process may hear of it a little later."""
        return self.at - self.seconds <= failover.at <= self.at + LATE


def add(name: str, data: bytes) -> None:
    """Append ``data`` in one write, beside whoever does the same."""
    file = os.open(FOLDER / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, data)
    finally:
        os.close(file)


def note_request(failed: bool, seconds: float) -> None:
    """A request was answered after so many seconds; ``failed`` if by an error of the server."""
    add("requests", b".")
    if failed:
        add("errors", b".")
    if seconds > LONG:
        add("waits", _line(Wait(seconds, time.time())))


def note_failover(lost: str, taken_over_by: str, seconds: float) -> None:
    """A statement or a transaction has gone on at another node after so many seconds."""
    add("failovers", _line(Failover(lost, taken_over_by, seconds, time.time())))


def counted() -> dict[str, Any]:
    """The figures: ``requests``, ``errors``, the ``longest`` wait in seconds, and the last
    ``failover``, None if there was none.
    """
    waits = [Wait(*line) for line in _last_lines("waits")]
    failover = last_loss((Failover(*line) for line in _last_lines("failovers")), waits)
    return {
        "requests": _length("requests"),
        "errors": _length("errors"),
        "longest": max((wait.seconds for wait in waits), default=0.0),
        "failover": failover._asdict() if failover else None,
    }


def last_loss(failovers: Iterable[Failover], waits: Iterable[Wait]) -> Failover | None:
    """The last loss of a node, with the longest pause that it has caused; all come in order."""
    group: list[Failover] = []
    for one in failovers:
        if group and (one.lost != group[-1].lost or one.at - group[-1].at > ONE_LOSS):
            group = []
        group.append(one)
    if not group:
        return None
    longest = max(group, key=lambda one: one.seconds)
    pauses = [wait.seconds for wait in waits if any(wait.saw(one) for one in group)]
    return longest._replace(seconds=max(longest.seconds, *pauses, 0.0))


def _length(name: str) -> int:
    path = FOLDER / name
    return path.stat().st_size if path.exists() else 0


def _line(values: tuple[Any, ...]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _last_lines(name: str) -> list[list[Any]]:
    path = FOLDER / name
    if not path.exists():
        return []
    with path.open("rb") as file:
        cut = path.stat().st_size - TAIL
        file.seek(max(0, cut))
        lines = file.read().splitlines()
    return [json.loads(line) for line in lines[1 if cut > 0 else 0 :]]


class Counting:
    """A WSGI application whose answers are counted, outside of all that may ask it again."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer the request."""
        if str(environ.get("PATH_INFO", "")).startswith(NOT_COUNTED):
            return self._application(environ, start)
        return self._application(environ, self._noting(start))

    @staticmethod
    def _noting(start: StartResponse) -> StartResponse:
        began = time.monotonic()

        def noted(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[..., object]:
            note_request(status.startswith("5"), time.monotonic() - began)
            return start(status, headers, *more)

        return noted

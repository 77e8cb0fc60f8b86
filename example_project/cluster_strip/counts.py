"""What all processes of the site have answered so far, in a folder that they share.

Each request adds one byte to a file, and each that failed one to another: their lengths are the
numbers. That takes no lock. Failovers are lines of a third file.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

#: Without it, each process counts for itself.
SHARED = os.environ.get("STRIP_FOLDER")
#: Seconds between two failovers from one node that belong to one loss of it.
ONE_LOSS = 10.0
TAIL = 16 * 1024  # bytes
#: Questions of the strip and of monitors, and what is no page.
NOT_COUNTED = ("/cluster/", "/health/", "/static/")

_own = None if SHARED else TemporaryDirectory(prefix="strip-")
FOLDER = Path(SHARED or (_own.name if _own else ""))


def add(name: str, data: bytes) -> None:
    """Append ``data`` in one write, beside whoever does the same."""
    file = os.open(FOLDER / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, data)
    finally:
        os.close(file)


def note_request(failed: bool) -> None:
    """A request was answered; ``failed`` if by an error of the server."""
    add("requests", b".")
    if failed:
        add("errors", b".")


def note_failover(lost: str, taken_over_by: str, seconds: float) -> None:
    """A statement or a transaction has gone on at another node after so many seconds."""
    told = {"lost": lost, "by": taken_over_by, "seconds": round(seconds, 3), "at": time.time()}
    add("failovers", json.dumps(told).encode() + b"\n")


def counted() -> dict[str, Any]:
    """The figures: ``requests``, ``errors``, and the last ``failover``, None if there was none."""
    return {
        "requests": _length("requests"),
        "errors": _length("errors"),
        "failover": last_loss(_failovers()),
    }


def last_loss(failovers: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The longest of the failovers that the last loss of a node has caused; they come in order."""
    found: dict[str, Any] | None = None
    end = float("-inf")
    for one in failovers:
        same = found and one["lost"] == found["lost"] and one["at"] - end < ONE_LOSS
        if found is None or not same or one["seconds"] > found["seconds"]:
            found = one
        end = one["at"]
    return found


def _length(name: str) -> int:
    path = FOLDER / name
    return path.stat().st_size if path.exists() else 0


def _failovers() -> list[dict[str, Any]]:
    path = FOLDER / "failovers"
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read().splitlines()
    return [json.loads(line) for line in lines if line.startswith(b"{")]


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
        def noted(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[..., object]:
            note_request(failed=status.startswith("5"))
            return start(status, headers, *more)

        return noted

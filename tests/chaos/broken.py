"""Routers with a fault of their own, to see that the checker finds it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from galera_router import atomic
from galera_router.exceptions import ReplayMismatch
from galera_router.recovery import compare, journal, replay
from galera_router.recovery import marker as markers
from tests.chaos.config import BREAKS


def no_marker() -> None:
    """A COMMIT whose answer was lost is taken for one that was never made, and made again.

    Nothing is said of the marker either: whoever reads would wait for it in vain.
    """
    _replace(markers.Marker, "look", lambda marker: f"SELECT {marker.seq}, 0, 0".encode())
    _replace(markers.Marker, "_move", _touch)
    _replace(markers, "Mark", lambda worker, seqno: None)


def _touch(
    marker: markers.Marker, steps: int, epoch: int | None, more: str = "", condition: str = ""
) -> bytes:
    """An advance that no other one can be in the way of."""
    return (
        f"UPDATE {markers.TABLE} SET touched = UTC_TIMESTAMP() WHERE worker = '{marker.worker}'"
    ).encode()


def no_compare() -> None:
    """A replay is believed, whatever it has answered."""
    _replace(replay, "compare", lambda entry, other, **options: None)


def blocks_differ() -> None:
    """Outside functions no replay is believed: each promotion in a block ends in a mismatch."""
    run = atomic.GaleraAtomic._run
    functions = threading.local()

    def noted(decorator: atomic.GaleraAtomic, call: Callable[[], Any], *more: Any) -> Any:
        functions.inside = True
        try:
            return run(decorator, call, *more)
        finally:
            functions.inside = False

    def believed(entry: journal.Entry, other: Any, **options: Any) -> Any:
        if getattr(functions, "inside", False):
            return compare.compare(entry, other, **options)
        return compare.difference(entry.statement, compare.Kind.CHANGED)

    _replace(atomic.GaleraAtomic, "_run", noted)
    _replace(replay, "compare", believed)


def runs_twice() -> None:
    """Every function is undone when it has run, and run again."""
    run = atomic.GaleraAtomic._run

    def twice(decorator: atomic.GaleraAtomic, call: Callable[[], Any], *more: Any) -> Any:
        runs = []

        def undone_at_first() -> Any:
            runs.append(call())
            if len(runs) == 1:
                raise ReplayMismatch("nothing has changed")
            return runs[-1]

        return run(decorator, undone_at_first, *more)

    _replace(atomic.GaleraAtomic, "_run", twice)


def _replace(owner: Any, name: str, function: Callable[..., Any]) -> None:
    if name not in vars(owner):
        raise LookupError(f"{owner.__name__} has no {name} any more: break the router elsewhere")
    setattr(owner, name, function)


def break_router(how: str) -> None:
    """Break the router of this process; KeyError if nobody knows how."""
    ways = (no_marker, no_compare, blocks_differ, runs_twice)
    dict(zip(BREAKS, ways, strict=True))[how]()

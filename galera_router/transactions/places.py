"""Where transactions are opened, and what became of those that were opened there before.

With ``optimistic_transactions="auto"`` a plain block begins on a secondary only if the blocks of
the same place in the code have only read so far. A block that turns out to write has to be moved
to the primary and its reads repeated; a place where that has happened begins on the primary.

A view or a function that is run again if need be begins on a secondary, unless it nearly always
writes: then it begins on the primary, and its reads are made only once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any
from weakref import WeakKeyDictionary

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from galera_router.cluster.nodes import Cluster

logger = logging.getLogger("galera_router")

#: A file and a line in it; the name of a class and 0 where an object has no code of its own.
Place = tuple[str, int]

#: Transactions of a place that must have only read before the next one begins on a secondary.
READS = 3

#: The points of :class:`Habits`: more than two runs of three have to write.
WROTE, READ, ENOUGH, MOST = 1, 2, 3, 6

#: The places that are remembered; more than any project has.
PLACES = 10_000

#: Where no code of an application is found, as in a transaction that an extension module opens.
NOWHERE: Place = ("", 0)

_CONTEXTLIB = contextlib.contextmanager.__code__.co_filename
_FILES = frozenset({_CONTEXTLIB, transaction.atomic.__code__.co_filename})
_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
_SET_AUTOCOMMIT = BaseDatabaseWrapper.set_autocommit.__code__
# Whose caller opens the transaction: ``__enter__`` of Django's block or of a helper around it.
_NAMES = frozenset({"__enter__", "set_autocommit"})
_WRAPPERS = 10  # around one function, at most


class Places:
    """What is known of the places of one cluster, for all threads.

    Operations on a dictionary are atomic: there is no lock that a fork could copy while it is
    held. Two threads at the same place may count one transaction less, never forget a write.

    Args:
        limit: the places that are remembered of each kind; the oldest are forgotten first, and
            a place that was forgotten begins on the primary again.
        reads: the transactions that must have only read.
    """

    def __init__(self, limit: int = PLACES, reads: int = READS) -> None:
        self._limit = limit
        self._enough = reads
        self._reads: dict[Place, int] = {}
        self._wrote: dict[Place, bool] = {}

    def begins_on_primary(self, place: Place) -> bool:
        """Returns True unless enough transactions of ``place`` have only read, and none wrote."""
        return place in self._wrote or self._reads.get(place, 0) < self._enough

    def note(self, place: Place, wrote: bool) -> None:
        """Remember how a transaction has ended.

        Args:
            place: where it was opened.
            wrote: it has come to a statement that may write, or that only the primary answers.
        """
        if place in self._wrote:
            return
        if wrote:
            self._wrote[place] = True
            self._reads.pop(place, None)
            self._bound(self._wrote)
            return
        count = self._reads.get(place, 0)
        if count < self._enough:
            self._reads[place] = count + 1
            self._bound(self._reads)

    def _bound(self, places: dict[Place, Any]) -> None:
        """Forget a tenth at once: to look for the oldest is not O(1), to do so rarely is."""
        if len(places) > self._limit:
            for place in list(places)[: self._limit // 10 + 1]:
                places.pop(place, None)


class Habits:
    """Which views and functions of one cluster nearly always write, for all threads.

    Attributes:
        points: of each that has any.

    Each has a number of points: a run that wrote gives :data:`WROTE`, one that only read takes
    :data:`READ` away. There is no lock: a point that two threads lose is earned in the next run.
    """

    def __init__(self, alias: str, limit: int = PLACES) -> None:
        self._alias = alias
        self._limit = limit
        self.points: dict[Place, int] = {}

    def begins_on_primary(self, place: Place) -> bool:
        """Returns True if what is at ``place`` has nearly always written of late."""
        return self.points.get(place, 0) >= ENOUGH

    def note(self, place: Place, wrote: bool) -> None:
        """Remember whether a run has come to a statement that only the primary takes."""
        before = self.points.get(place, 0)
        if not before and not wrote:
            return
        points = self.points[place] = min(before + WROTE, MOST) if wrote else max(before - READ, 0)
        if (before >= ENOUGH) != (points >= ENOUGH):
            where = "the primary" if points >= ENOUGH else "a secondary"
            logger.debug("%s: %s line %d begins on %s now", self._alias, *place, where)
        if len(self.points) > self._limit:
            for old in list(self.points)[: self._limit // 10 + 1]:
                self.points.pop(old, None)


def current_place() -> Place:
    """The place of the transaction that is being opened; to be called while it is.

    That is the line of the ``with`` statement, or the function that is decorated, be it with
    ``transaction.atomic`` or with a context manager of the application that is built on it.
    """
    frame = _opening(sys._getframe(1))
    while frame is not None:
        code = frame.f_code
        if code.co_name in _NAMES:
            pass
        elif code.co_filename in _FILES:
            if code.co_name == "inner":
                return function_place(frame.f_locals["func"])
        elif not code.co_filename.startswith(_OURS) and not _is_entered(frame):
            return code.co_filename, frame.f_lineno
        frame = frame.f_back
    return NOWHERE


def _opening(frame: FrameType) -> FrameType | None:
    """The frame in which Django turns autocommit off; ``frame`` itself if there is none.

    What lies below belongs to the backend, to us, or to a package that watches either.
    """
    found: FrameType | None = frame
    while found is not None and found.f_code is not _SET_AUTOCOMMIT:
        found = found.f_back
    return found or frame


def _is_entered(frame: FrameType) -> bool:
    """Returns True for the generator of a ``contextmanager`` that a ``with`` statement enters."""
    back = frame.f_back
    return (
        back is not None
        and back.f_code.co_name == "__enter__"
        and back.f_code.co_filename == _CONTEXTLIB
    )


def function_place(function: Callable[..., Any]) -> Place:
    """The place of a function that is run in a transaction as a whole.

    Decorators that say what they wrap, partial functions, methods and the views of classes are
    looked through: they share their code with others.
    """
    for _ in range(_WRAPPERS):
        if (view := _attribute(function, "view_class")) is not None:
            return _class_place(view)
        inner = _attribute(function, "__wrapped__") or _attribute(function, "func")
        if not callable(inner):
            break
        function = inner
    code = _attribute(function, "__code__") or _attribute(type(function).__call__, "__code__")
    if isinstance(code, CodeType):
        return code.co_filename, code.co_firstlineno
    return _class_place(type(function))


def _class_place(kind: type) -> Place:
    # Django REST framework names its classes for functions by ``__name__`` alone.
    return f"{kind.__module__}.{kind.__name__}", 0


def _attribute(value: object, name: str) -> Any:
    """What a proxy or an object of the application says to a name; None if it raises."""
    try:
        return getattr(value, name, None)
    except Exception:
        return None


def place_of(function: Any) -> Place:
    """:func:`function_place`, which is looked for once; ``function`` lives as long as the code."""
    try:
        return _known[function]
    except KeyError:
        found = _known[function] = function_place(function)
    except TypeError:  # it has no hash
        return function_place(function)
    if len(_known) > PLACES:
        _known.clear()
    return found


_known: dict[Any, Place] = {}
_places: WeakKeyDictionary[Cluster, Places] = WeakKeyDictionary()
_habits: WeakKeyDictionary[Cluster, Habits] = WeakKeyDictionary()


def habits_of(cluster: Cluster) -> Habits:
    """What this process knows of the views and functions on ``cluster``."""
    found = _habits.get(cluster)
    return found if found is not None else _habits.setdefault(cluster, Habits(cluster.alias))


def places_of(cluster: Cluster) -> Places:
    """What this process knows of the places of ``cluster``."""
    found = _places.get(cluster)
    return found if found is not None else _places.setdefault(cluster, Places())

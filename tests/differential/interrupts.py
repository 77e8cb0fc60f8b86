"""Raise an exception exactly where CPython could have run a signal handler.

CPython handles signals when a Python function is entered and when a C function has returned. A
profile function is called at the same points, so one that raises there is a signal handler that
raises, a soft time limit or Ctrl-C, at a point that can be counted and chosen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

POINTS = frozenset({"call", "c_return"})
#: An exception at the return of these leaves the lock held for ever, with stock Django too: the
#: block that gives it back has not begun. Python 3.14 calls a profile function there, 3.11 not.
LOCKING = frozenset({"__enter__", "acquire"})


class Interrupted(Exception):
    """What the signal handler raises."""


class Interrupts:
    """Counts the points of the block, in this thread, and raises at one of them.

    Use it as a context manager. The exception goes through the block as any other; what swallows
    exceptions (a destructor, a weak reference's callback) swallows this one as well.

    Args:
        at: the point, counted from 1, at which to raise; 0 never does, and only counts.
        kind: the exception, Interrupted or one that is not an Exception.
        but_in: True for a frame in which it is not raised, but at the next point outside.
    """

    def __init__(
        self,
        at: int = 0,
        kind: type[BaseException] = Interrupted,
        but_in: Callable[[FrameType], bool] = lambda frame: False,
    ) -> None:
        self.at = at
        self.kind = kind
        self.but_in = but_in
        self.count = 0
        self.raised = False

    def __enter__(self) -> Interrupts:
        sys.setprofile(self._profile)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event not in POINTS or frame.f_code is Interrupts.__exit__.__code__:
            return
        if event == "c_return" and argument.__name__ in LOCKING:
            return
        self.count += 1
        if self.count == self.at and self.but_in(frame):
            self.at += 1
        elif self.count == self.at:
            self.raised = True
            sys.setprofile(None)
            raise self.kind(f"interrupted at point {self.at}")

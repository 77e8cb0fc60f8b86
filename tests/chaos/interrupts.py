"""An exception in a thread at any point of its work, as a soft time limit raises it.

Only a main thread gets signals. The interpreter raises what is given to
``PyThreadState_SetAsyncExc`` where it would run a signal handler: between two of its
instructions, or when a call into C returns.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TimeLimit(Exception):
    """The time is over."""


class Interruptible:
    """A thread that can be interrupted, in some of its work only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let this thread be interrupted during the block, and not after it."""
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            # Who interrupts holds the lock: the exception comes at the latest in here.
            with self._lock:
                self._thread = None

    def interrupt(self) -> bool:
        """Raise TimeLimit in the thread, and return True if it is at work."""
        with self._lock:
            if self._thread is None:
                return False
            raised = ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread), ctypes.py_object(TimeLimit)
            )
            return bool(raised)


def came_of_one(error: BaseException | None) -> bool:
    """Return True if a TimeLimit is at the beginning of it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, TimeLimit):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False

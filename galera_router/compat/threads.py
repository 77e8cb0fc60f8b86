"""See which code starts a thread, or gives an executor a job.

Why private: neither ``threading`` nor ``concurrent.futures`` tells anybody, and a new thread
inherits no context variables. ``Thread.start`` and ``ThreadPoolExecutor.submit`` are public;
replacing them on their classes is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_MARK = "galera_router"
#: Executors of threads whose jobs run in other interpreters (Python 3.14): a closure does not get
#: there, and nor does anything that is known here.
_ELSEWHERE: tuple[type, ...] = tuple(
    found for name in ("InterpreterPoolExecutor",) if (found := getattr(futures, name, None))
)


def on_start(started: Callable[[threading.Thread], None]) -> None:
    """Have ``started`` called with each thread that is started, by the one who starts it, before
    it runs; harmless when repeated.
    """
    original = threading.Thread.start
    if hasattr(original, _MARK):
        return

    def start(self: threading.Thread) -> None:
        started(self)
        original(self)

    setattr(start, _MARK, True)
    threading.Thread.start = start  # type: ignore[method-assign]


def on_submit(submitted: Callable[..., Future[Any]]) -> None:
    """Have ``submitted(submit, function, *args, **kwargs)`` give executors of threads their jobs;
    harmless when repeated.

    The argument ``submit`` is the executor's own method.
    """
    original = ThreadPoolExecutor.submit
    if hasattr(original, _MARK):
        return

    def submit(
        self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        def own(*args: Any, **kwargs: Any) -> Future[Any]:
            return original(self, *args, **kwargs)

        if isinstance(self, _ELSEWHERE):
            return own(fn, *args, **kwargs)
        return submitted(own, fn, *args, **kwargs)

    setattr(submit, _MARK, True)
    ThreadPoolExecutor.submit = submit  # type: ignore[method-assign, assignment]

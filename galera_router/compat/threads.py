"""See which code starts a thread, or gives an executor a job; and which tasks are not done.

Why private: neither ``threading`` nor ``concurrent.futures`` tells anybody, and a new thread
inherits no context variables. ``Thread.start`` and ``ThreadPoolExecutor.submit`` are public;
replacing them on their classes is not. asgiref does not tell which loop waits for a thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from typing import Any

from asgiref.sync import SyncToAsync

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


def some_task(within: Callable[[Context], bool]) -> bool:
    """Returns True if a task is not done whose context is one of those ``within``.

    Looked at is the loop that runs this code, or that waits for this thread. Before Python 3.12
    tasks do not tell their context, and none is found.
    """
    loop = _loop()
    tasks = () if loop is None else asyncio.all_tasks(loop)
    contexts = [getattr(task, "get_context", Context) for task in tasks]
    return any(within(context()) for context in contexts)


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return getattr(SyncToAsync.threadlocal, "main_event_loop", None)

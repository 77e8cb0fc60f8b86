"""One run of a request or a function, and what it has done that another run would do twice.

A run lives in a context variable, so coroutines and the threads of asgiref belong to it. A plain
thread and the job of an executor belong to the run that has started them, and what is called
through :func:`carry_scope` to the run that has carried it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, ContextVar, Token
from functools import update_wrapper
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar
from weakref import WeakSet

from galera_router.causality import scope
from galera_router.causality.scope import Scope
from galera_router.compat import threads

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_current: ContextVar[Run | None] = ContextVar("galera_router_run", default=None)
_ATTRIBUTE = "galera_run"
#: Some thread belongs to the run of its starter: only then is that looked for.
_some_inherit = False
#: Begins the names of this package's own threads, which outlive any run and write nothing.
OWN_THREADS = "galera_router"
#: So many threads or jobs of a run are not looked through.
FEW = 16


def _nothing() -> None: ...


class Run:
    """A context manager: what is done in the block, and in threads that it starts, is noted.

    A run inside another one is a part of it: what it has done, the outer one has done too.

    Args:
        at_hooks: called when a transaction of the run was committed, ahead of its hooks.

    Attributes:
        effect: what has been done that cannot be undone, in words; None if nothing.
    """

    def __init__(self, at_hooks: Callable[[], None] = _nothing) -> None:
        self.effect: str | None = None
        self.at_hooks = at_hooks
        self._outer: Run | None = None
        self._token: Token[Run | None] | None = None
        self._threads: _Unfinished[threading.Thread] | None = None
        self._jobs: _Unfinished[Future[Any]] | None = None
        self._carried: WeakSet[Carried[Any, Any]] | None = None

    def __enter__(self) -> Run:
        self._outer = current() if _some_inherit else _current.get()
        self._token = _current.set(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._token is not None, "a run is entered once"
        _current.reset(self._token)
        self._token, self.at_hooks = None, _nothing  # a thread keeps the run, but no request

    def note_effect(self, effect: str) -> None:
        """Something that cannot be undone is done, or may be."""
        self.effect = self.effect or effect
        if self._outer is not None:
            self._outer.note_effect(effect)

    def note_thread(self, thread: threading.Thread) -> None:
        """The run has started ``thread``."""
        if self._threads is None:
            self._threads = _Unfinished(threading.Thread.is_alive)
        self._threads.add(thread)
        if self._outer is not None:
            self._outer.note_thread(thread)

    def note_job(self, job: Future[Any]) -> None:
        """The run has given ``job`` to an executor."""
        if self._jobs is None:
            self._jobs = _Unfinished(lambda job: not job.done())
        self._jobs.add(job)
        if self._outer is not None:
            self._outer.note_job(job)

    def note_carried(self, function: Carried[Any, Any]) -> None:
        """The run has handed ``function`` to somebody who may call it at any time."""
        if self._carried is None:
            self._carried = WeakSet()
        self._carried.add(function)
        if self._outer is not None:
            self._outer.note_carried(function)

    def obstacle(self) -> str | None:
        """Returns why the code must not be run again, in words; None if it may.

        What is still at work may yet commit what another run would commit once more.
        """
        return self.effect or self._unfinished()

    def _unfinished(self) -> str | None:
        if self._threads is not None and self._threads.some():
            return "a thread that it started is still running"
        if self._jobs is not None and self._jobs.some():
            return "a job that it gave to an executor is not done"
        if not all(function.done for function in list(self._carried or ())):
            return "a function that carries its scope may yet be at work"
        if threads.some_task(self._began):
            return "an asyncio task that it started is not done"
        return None

    def _began(self, context: Context) -> bool:
        """Returns True if what runs in ``context`` belongs to this run, or to one within it."""
        run = context.get(_current)
        while run is not None and run is not self:
            run = run._outer
        return run is not None


class _Unfinished(Generic[T]):
    """The threads or jobs that a run has begun.

    Those that are done are removed each time their number has doubled: there may be many.

    Args:
        goes_on: returns True as long as one of them is not done.
    """

    def __init__(self, goes_on: Callable[[T], bool]) -> None:
        self._goes_on = goes_on
        self._known: dict[int, T] = {}  # other threads may add to it at any time
        self._limit = FEW

    def add(self, one: T) -> None:
        """One more was begun, or is about to be."""
        if len(self._known) >= self._limit:
            for key, known in list(self._known.items()):
                if not self._goes_on(known):
                    self._known.pop(key, None)
            self._limit = FEW + 2 * len(self._known)
        self._known[id(one)] = one

    def some(self) -> bool:
        """Returns True if one is not done."""
        return any(map(self._goes_on, list(self._known.values())))


def current() -> Run | None:
    """Returns the run that the calling code belongs to; None outside of requests and functions."""
    run = _current.get()
    if run is None and _some_inherit:
        run = getattr(threading.current_thread(), _ATTRIBUTE, None)
    return run


def note_commit(alias: str) -> None:
    """Something was committed on the database ``alias``, or may have been."""
    run = current()
    if run is not None:
        run.note_effect(f"something was committed on {alias!r}")


def note_effect(effect: str) -> None:
    """Something was done that no database undoes: ``effect``, in words."""
    run = current()
    if run is not None:
        run.note_effect(effect)


def note_hook(alias: str) -> None:
    """A hook of ``on_commit`` runs at once: no transaction is open on ``alias``."""
    note_effect(f"an on_commit hook of {alias!r} was run")


def note_hooks(alias: str) -> None:
    """A transaction on ``alias`` was committed, and its ``on_commit`` hooks run now."""
    run = current()
    if run is not None:
        run.note_effect(f"on_commit hooks of {alias!r} were run")
        run.at_hooks()


def install() -> None:
    """Have plain threads and the jobs of executors belong to the run that starts them."""
    threads.on_start(_started)
    threads.on_submit(_submitted)


def _started(thread: threading.Thread) -> None:
    global _some_inherit
    if thread.name.startswith(OWN_THREADS):
        return
    run = current()
    if _current.get() is not _NOBODY:
        scope.inherit(thread)
    if run is not None:
        _some_inherit = True
        setattr(thread, _ATTRIBUTE, run)
        run.note_thread(thread)


def _submitted(
    submit: Callable[..., Future[Any]], job: Callable[..., Any], *args: Any, **kwargs: Any
) -> Future[Any]:
    run, held = current(), scope.lasting()
    token = _current.set(_NOBODY)  # the executor's own threads outlive the run
    try:
        future = submit(_within, run, held, job, *args, **kwargs)
    finally:
        _current.reset(token)
    if run is not None:
        run.note_job(future)
    return future


def _within(
    run: Run | None, held: Scope, job: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    token = _current.set(run)
    try:
        with scope.within(held):
            return job(*args, **kwargs)
    finally:
        _current.reset(token)


class Carried(Generic[P, R]):
    """What :func:`carry_scope` returns.

    Attributes:
        done: it was called, and is not at work.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        update_wrapper(self, function)
        self._function = function
        self._run, self._scope = current(), scope.lasting()
        self._at_work: list[None] = []  # appending and popping is safe in threads
        self._called = False
        if self._run is not None:
            self._run.note_carried(self)

    @property
    def done(self) -> bool:
        return self._called and not self._at_work

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        self._at_work.append(None)
        self._called = True
        try:
            result: R = _within(self._run, self._scope, self._function, *args, **kwargs)
            return result
        finally:
            self._at_work.pop()


def carry_scope(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` so that it belongs to the request or task at hand, in whatever thread it runs.

    Reads in it include what the request has written, and what its tokens name. What it writes is
    included by later reads of the request, and by its token; and the request, or the function of
    :func:`galera_atomic`, is not run again once it has written, or while it may yet do so.

    It is needed for threads that were there before: a queue's workers, the pools of
    ``multiprocessing.pool.ThreadPool`` and of other libraries. What is started or submitted within
    the request (``threading.Thread``, ``ThreadPoolExecutor``, ``asyncio``, asgiref) belongs to it
    anyway.

    Args:
        function: to be called any number of times, from any thread of this process.

    Raises:
        TypeError: for a coroutine or a generator, whose body runs after the call.
    """
    for is_later in (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction):
        if is_later(function):
            name = getattr(function, "__qualname__", repr(function))
            raise TypeError(
                f"carry_scope cannot carry {name!r}: the body of a coroutine or a generator runs"
                " after the call. Carry the function that runs it."
            )
    return Carried(function)


class _Nobody(Run):
    """In the place of a run, for what belongs to none."""

    def note_effect(self, effect: str) -> None: ...
    def note_thread(self, thread: threading.Thread) -> None: ...
    def note_job(self, job: Future[Any]) -> None: ...
    def note_carried(self, function: Carried[Any, Any]) -> None: ...


_NOBODY = _Nobody()

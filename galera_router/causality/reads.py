"""``reads``: where the reads of a block, a function or a view come from."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, TypeVar

from django.http.response import HttpResponseBase

from galera_router.causality.responses import keep_scope
from galera_router.causality.scope import Mode, enter, leave
from galera_router.compat.frames import is_of_contextmanager
from galera_router.conf import MODES

F = TypeVar("F", bound=Callable[..., Any])

_GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_ASYNC = (
    "reads cannot hold in the asynchronous generator {!r}, because it would hold for its consumer"
    " as well. Use it on a coroutine that reads, and await that in the generator."
)


class reads:
    """Where reads come from in a block, a function or a view; nestable, the innermost holds.

    ``"primary"``: from the primary. ``"causal"``: from a secondary that includes what this
    thread, and the client by its token, has written. ``"any"``: from a secondary, without
    waiting for anything. A transaction that has come to the primary reads there, whatever the
    mode, and an open snapshot stays where it is, unless the mode becomes ``"primary"``.

    Args:
        mode: one of the three.
        using: the alias of one cluster; without, it holds for all.

    Raises:
        ValueError: for another mode.
        TypeError: where it decorates a class or a generator, or is entered in an asynchronous
            generator. A class-based view is decorated with
            ``method_decorator(reads(...), name="dispatch")``.
    """

    def __init__(self, mode: Mode, using: str | None = None) -> None:
        if mode not in MODES:
            raise ValueError(f"reads: the mode is one of {', '.join(MODES)}, not {mode!r}")
        self._mode: Mode = mode
        self._using = using

    def __enter__(self) -> None:
        frame = sys._getframe(1)
        generator = _generator(frame) if frame.f_code.co_flags & _GENERATORS else None
        enter(self._mode, self._using, self, generator)

    def __exit__(self, *error: object) -> None:
        leave(self)

    def __call__(self, function: F) -> F:
        if inspect.isclass(function):
            raise TypeError(
                f"reads cannot decorate the class {function.__qualname__!r}; write"
                " @method_decorator(reads(...), name='dispatch')."
            )
        if inspect.isgeneratorfunction(function):
            raise TypeError(
                f"reads cannot decorate the generator {function.__qualname__!r}: its body runs"
                " after the call. Use `with reads(...):` in it."
            )
        if inspect.isasyncgenfunction(function):
            raise TypeError(_ASYNC.format(function.__qualname__))
        wrap = self._coroutine if inspect.iscoroutinefunction(function) else self._function
        return wrap(function)  # type: ignore[no-any-return]

    def _function(self, function: Any) -> Any:
        @functools.wraps(function)
        def reading(*args: Any, **kwargs: Any) -> Any:
            with self:
                result = function(*args, **kwargs)
                # The dispatch() of a class-based view may hand on a coroutine.
                if inspect.iscoroutine(result):
                    return self._later(result)
                return _kept(result)

        return reading

    def _coroutine(self, function: Any) -> Any:
        @functools.wraps(function)
        async def reading(*args: Any, **kwargs: Any) -> Any:
            return await self._later(function(*args, **kwargs))

        return reading

    async def _later(self, result: Awaitable[Any]) -> Any:
        with self:
            return _kept(await result)


def _generator(frame: FrameType) -> FrameType | None:
    """Returns the generator that the mode is to hold in; None: it is to hold for its consumer."""
    if is_of_contextmanager(frame):
        return None
    if frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR:  # nothing tells when it is suspended
        raise TypeError(_ASYNC.format(frame.f_code.co_name))
    return frame


def _kept(result: Any) -> Any:
    return keep_scope(result) if isinstance(result, HttpResponseBase) else result

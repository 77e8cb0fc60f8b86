"""What sits in ``DatabaseWrapper.connection`` in place of the driver's connection.

Django's ``Atomic``, ``ATOMIC_REQUESTS`` and ``on_commit`` keep their state on the wrapper and
reach the server only through that attribute. With a stand-in there, Django's own state
machine runs unmodified and becomes lazy: no server hears of a transaction before its first
statement, and the primary not before the first write.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from django.db.utils import ProgrammingError


class Delegate(Protocol):
    """What a stand-in asks; the answers are the session's."""

    def cursor(self) -> Any: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def set_autocommit(self, flag: bool) -> None: ...
    def ping(self) -> None: ...
    def close(self) -> None: ...
    def driver(self) -> Any: ...


class StandIn:
    """The DB-API connection that a wrapper sees; anything unusual is asked of the driver's."""

    def __init__(self, delegate: Delegate) -> None:
        self._delegate = delegate

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:  # an explicit cursor class
            return self._delegate.driver().cursor(*args, **kwargs)
        return self._delegate.cursor()

    def commit(self) -> None:
        self._delegate.commit()

    def rollback(self) -> None:
        self._delegate.rollback()

    def autocommit(self, flag: bool) -> None:
        self._delegate.set_autocommit(bool(flag))

    def ping(self, *args: Any) -> None:
        self._delegate.ping()

    def close(self) -> None:
        self._delegate.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._delegate.driver(), name)


@functools.cache
def noting(cursorclass: type) -> type:
    """A driver's cursor class whose ``callproc`` is noted: it passes no execute wrapper.

    A subclass, not an attribute that holds the method: a cursor in a reference cycle would be
    freed late, and by a thread that may not use its connection.
    """

    def callproc(self: Any, *args: Any) -> Any:
        self.note_call()
        return cursorclass.callproc(self, *args)  # type: ignore[attr-defined]

    return type(f"Noting{cursorclass.__name__}", (cursorclass,), {"callproc": callproc})


#: The ``connection`` of a cursor that has none yet; None is that of a closed one.
UNBOUND = object()


class UnboundCursor:
    """A cursor that no server knows of until its first statement says which one it needs.

    The recorder puts a real cursor in its place then. ``callproc`` passes no execute
    wrapper, so it asks ``bind`` for the real cursor itself.
    """

    def __init__(self, bind: Callable[[], Any]) -> None:
        self._bind = bind
        self._cursor: Any = None
        self.connection: object = UNBOUND
        self.arraysize = 1

    def _real(self) -> Any:
        if self.connection is None:
            raise ProgrammingError("cursor closed")
        if self._cursor is None:
            self._cursor = self._bind()
            self._cursor.arraysize = self.arraysize
        return self._cursor

    def callproc(self, *args: Any) -> Any:
        return self._real().callproc(*args)

    def execute(self, *args: Any) -> Any:
        return self._real().execute(*args)

    def executemany(self, *args: Any) -> Any:
        return self._real().executemany(*args)

    def close(self) -> None:
        self.connection = None
        if self._cursor is not None:
            self._cursor.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._executed())

    def _executed(self) -> Any:
        if self._cursor is None:
            raise ProgrammingError("execute() first")
        return self._cursor

    _BEFORE_EXECUTE = {  # noqa: RUF012
        "description": None,
        "rowcount": -1,
        "lastrowid": None,
        "rownumber": None,
        "_executed": None,
    }

    def __getattr__(self, name: str) -> Any:
        if self._cursor is None and name in UnboundCursor._BEFORE_EXECUTE:
            return UnboundCursor._BEFORE_EXECUTE[name]
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._executed(), name)

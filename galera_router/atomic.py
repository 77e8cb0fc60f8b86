"""``galera_atomic``: ``transaction.atomic`` that runs the function again where it must."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction

from galera_router.cluster.registry import cluster_of
from galera_router.connections.errors import is_unknown_name
from galera_router.exceptions import ConfigurationError
from galera_router.recovery.arguments import Given
from galera_router.recovery.retry import ATTEMPTS, Attempts, pause, tell_not
from galera_router.recovery.runs import Run
from galera_router.recovery.turns import Turn
from galera_router.transactions.around import Around
from galera_router.transactions.places import Place, function_place
from galera_router.transactions.session import Session
from galera_router.transactions.sessions import session_of

P = ParamSpec("P")
R = TypeVar("R")


class GaleraAtomic:
    """What :func:`galera_atomic` returns: a decorator and a context manager."""

    def __init__(self, using: str | None, savepoint: bool, durable: bool, attempts: int) -> None:
        if attempts < 1:
            raise ValueError(f"galera_atomic: attempts must be at least 1, not {attempts!r}.")
        self._using = using or DEFAULT_DB_ALIAS
        self._attempts = attempts
        self._atomic = transaction.atomic(using=using, savepoint=savepoint, durable=durable)

    def __enter__(self) -> None:
        self._check_alias()
        self._atomic.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._atomic.__exit__(exc_type, exc_value, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"galera_atomic cannot decorate the coroutine {function.__qualname__!r},"
                " because transactions are synchronous. Decorate a function, and call it with"
                " sync_to_async."
            )
        if inspect.isgeneratorfunction(function):
            raise TypeError(
                f"galera_atomic cannot decorate the generator {function.__qualname__!r},"
                " because its body would run after the transaction. Decorate the function that"
                " consumes it."
            )
        name = f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}"

        place = function_place(function)

        @functools.wraps(function)
        def atomically(*args: P.args, **kwargs: P.kwargs) -> R:
            given = partial(Given, function, args, kwargs)
            return self._run(lambda: function(*args, **kwargs), name, place, given)

        return atomically

    def _run(self, call: Callable[[], R], name: str, place: Place, given: Callable[[], Given]) -> R:
        self._check_alias()
        session = session_of(self._using)
        if session is None or not connections[self._using].get_autocommit():
            with self._atomic:  # another database, or nested: the outermost runs again
                return call()
        with Turn(name) as turn:
            return self._repeatedly(call, name, place, given(), session, turn)

    def _repeatedly(
        self,
        call: Callable[[], R],
        name: str,
        place: Place,
        given: Given,
        session: Session,
        turn: Turn,
    ) -> R:
        attempts, around = Attempts(self._attempts), Around(session.cluster.alias)
        on_primary = session.primary_only
        while True:
            if attempts.run == 1 or on_primary:  # what only reads is in nobody's way
                turn.take(attempts.run, session)
                on_primary = on_primary or turn.held
            if session.busy is not None:
                session.forget_interrupted()
            if attempts.run == 1:
                session.state_before = session.primary.state if session.primary else None
            run = Run(turn.leave)
            session.can_run_again, session.place = True, place
            try:
                with run, session.on_primary(on_primary), self._atomic:
                    return call()
            except DatabaseError as error:
                on_secondary = not on_primary and not session.promoted
                if not attempts.may_repeat(error, on_secondary=on_secondary):
                    raise
                obstacle = run.obstacle() or around.obstacle() or given.put_back()
                if obstacle is not None:
                    tell_not(self._using, name, error, obstacle)
                    raise
                # One that only read is as well off on a secondary, in one snapshot.
                on_primary = on_primary or session.promoted or is_unknown_name(error)
                attempts.tell(self._using, name, error)
                if session.has_new_state:
                    turn.leave()  # its lock is held there, too
                    session.undo_state()
            if not turn.held:
                time.sleep(pause(attempts.run - 1))

    def _check_alias(self) -> None:
        cluster = cluster_of(self._using)
        if cluster is not None and cluster.alias != self._using:
            raise ConfigurationError(
                f"galera_atomic(using={self._using!r}): this alias is one node, and read-only."
                f" Use the cluster's alias {cluster.alias!r}."
            )


@overload
def galera_atomic(using: Callable[P, R]) -> Callable[P, R]: ...
@overload
def galera_atomic(
    using: str | None = None,
    savepoint: bool = True,
    durable: bool = False,
    *,
    attempts: int = ATTEMPTS,
) -> GaleraAtomic: ...
def galera_atomic(
    using: Any = None,
    savepoint: bool = True,
    durable: bool = False,
    *,
    attempts: int = ATTEMPTS,
) -> Any:
    """``transaction.atomic`` for a cluster: as a decorator it runs the function again.

    The function is run again, on the primary from the start if it had come there, after

    - a conflict that a replay could not mend: a deadlock, a lock that was waited for in vain, a row
      that somebody has changed;
    - a replay that did not match, and a change of its tables;
    - a ``FailoverImpossible`` that has left nothing from before missing;
    - once, a server that takes no writes.

    It is not run again if anything was committed since it began, on any database, in any thread
    that it has started, if hooks of ``on_commit`` were run, or if Celery has sent a task: then the
    error goes on. It must therefore not have other effects before its end; put those into
    ``on_commit``. The model instances, containers and files that it was given are put back before
    another run; one that was given an iterator is not run again. From its third run on it queues
    with others that fail as often, so that each gets its turn.

    As a context manager (``with galera_atomic():``) there is nothing to run again, and the error
    goes on. A decorated function inside another transaction leaves the repetition to the outermost
    one.

    Args:
        using: the alias of the cluster (or of any database, where it is plain ``atomic``); None is
            ``default``. Or the function itself, where it stands as a decorator without arguments.
        savepoint: as in ``transaction.atomic``.
        durable: as in ``transaction.atomic``.
        attempts: runs in all, the first included.

    Returns:
        A decorator that is a context manager as well; for a function, the decorated one.

    Raises:
        ConfigurationError: when it is called or entered: ``using`` is the alias of one node.
        TypeError: for a coroutine or a generator, neither of which can be run in one piece.
        ValueError: for fewer than one attempt.
    """
    if callable(using):
        return GaleraAtomic(None, savepoint, durable, attempts)(using)
    return GaleraAtomic(using, savepoint, durable, attempts)

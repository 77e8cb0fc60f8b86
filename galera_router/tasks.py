"""Django's own tasks: a task sees what whoever queued it had written.

Put :class:`CarryToken` before the class of the backend::

    class Backend(CarryToken, DatabaseBackend): ...

Each task is then queued with the tokens of what its sender had committed, in a keyword argument of
ours that is taken away before the task runs. A task is treated like a request: what an earlier one
of the worker has read does not bind it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

from galera_router.causality import after as causality
from galera_router.causality import scope
from galera_router.cluster.registry import clusters
from galera_router.transactions import last_write
from galera_router.transactions.sessions import session_of, sessions

#: The name of the keyword argument: a list of tokens, one for each cluster.
KEYWORD = "galera_router_tokens"
_UID = "galera_router.tasks"
#: Django's own since 6.0, and the package that has them for older releases.
_FRAMEWORKS = ("django.tasks.signals", "django_tasks.signals")

_queueing: ContextVar[bool] = ContextVar("galera_router.queueing", default=False)
_running: dict[str, AbstractContextManager[None]] = {}


class CarryToken:
    """Goes before the class of a backend; sender and worker need the same one."""

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)  # type: ignore[call-arg]
        install()

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Queue a task, with the tokens of what this thread has committed."""
        tokens = _own()
        carried = {**kwargs, KEYWORD: tokens} if tokens else kwargs
        before = _queueing.set(True)
        try:
            return super().enqueue(task, args, carried)  # type: ignore[misc]
        finally:
            _queueing.reset(before)


def install() -> None:
    """Have tasks apply the tokens that they carry; harmless when repeated."""
    for name in _FRAMEWORKS:
        try:
            signals = importlib.import_module(name)
        except ImportError:
            continue
        signals.task_started.connect(_begin, dispatch_uid=_UID, weak=False)
        signals.task_finished.connect(_end, dispatch_uid=_UID, weak=False)


def _own() -> list[str]:
    found = [session_of(cluster.alias) for cluster in clusters()]
    return [token for s in found if s is not None and (token := last_write.token_of(s))]


def _begin(task_result: Any, **kwargs: Any) -> None:
    tokens = task_result.kwargs.pop(KEYWORD, ())
    if _queueing.get():  # it runs within its sender, whose reads it shares
        return
    # A worker that takes its tasks from the database has written behind who has put them there.
    needs = causality.accepted([*map(str, tokens), *_own()])
    for session in sessions():
        session.new_request()
    block = scope.needing(needs, request=True)
    block.__enter__()
    _running[task_result.id] = block


def _end(task_result: Any, **kwargs: Any) -> None:
    block = _running.pop(task_result.id, None)
    if block is None:
        return
    block.__exit__(None, None, None)
    for session in sessions():
        session.new_request()

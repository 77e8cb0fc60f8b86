"""Celery: a task sees what whoever queued it had written.

Call :func:`install` where the Celery application is made. Each message then carries, in a
header, the tokens of what its sender had committed, and the task reads no older than that. A
task is treated like a request: what an earlier one of the worker has read or written does not
bind it, and what it queues itself carries its own writes.
"""

from __future__ import annotations

from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun

from galera_router.causality import after as causality
from galera_router.causality import scope
from galera_router.cluster.registry import clusters
from galera_router.recovery import runs
from galera_router.transactions import last_write
from galera_router.transactions.sessions import session_of, sessions

#: The name of the message's header: a list of tokens, one for each cluster.
HEADER = "galera_router"
_UID = "galera_router.celery"
_ATTRIBUTE = "galera_scope"


def install() -> None:
    """Have tasks carry and apply tokens, in senders and in workers; harmless when repeated."""
    before_task_publish.connect(_publish, dispatch_uid=_UID, weak=False)
    task_prerun.connect(_begin, dispatch_uid=_UID, weak=False)
    task_postrun.connect(_end, dispatch_uid=_UID, weak=False)


def _publish(headers: dict[str, Any], **kwargs: Any) -> None:
    runs.note_effect("a task was sent")  # another run would send another one
    senders = [session_of(cluster.alias) for cluster in clusters()]
    tokens = [token for c in senders if c is not None and (token := last_write.token_of(c))]
    if tokens:
        headers.setdefault(HEADER, tokens)


def _begin(task: Any, **kwargs: Any) -> None:
    request = task.request
    if request.is_eager:  # it runs within its sender, whose reads it shares
        return
    for session in sessions():
        session.new_request()
    tokens = request.get(HEADER) or (request.headers or {}).get(HEADER) or ()
    if tokens:
        _take_away(request)
    block = scope.needing(causality.accepted(map(str, tokens)), request=True)
    block.__enter__()
    setattr(request, _ATTRIBUTE, block)


def _take_away(request: Any) -> None:
    """Celery sends the headers of a message again with a retry, which is to carry newer tokens."""
    headers = request.headers or {}
    request.headers = {name: headers[name] for name in headers if name != HEADER}


def _end(task: Any, **kwargs: Any) -> None:
    block = vars(task.request).pop(_ATTRIBUTE, None)
    if block is None:
        return
    block.__exit__(None, None, None)
    for session in sessions():
        session.new_request()

"""``GaleraMiddleware``: a request that failed in its transaction is run once more, unseen;
and what a client has written, it sees in its next request, whoever answers that.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import RequestDataTooBig
from django.db import connections
from django.http import HttpRequest, HttpResponse, RawPostDataException
from django.http.response import HttpResponseBase

from galera_router.causality import scope
from galera_router.causality.carriers import carrier
from galera_router.causality.responses import keep_scope
from galera_router.cluster.nodes import clusters
from galera_router.compat import internals
from galera_router.recovery.retry import ATTEMPTS, Attempts, pause
from galera_router.transactions import last_write
from galera_router.transactions.session import Session, session_of, sessions

_ATTRIBUTE = "galera_runs"
#: Bytes of a body that is read ahead of the view, so that a second run can read it too. Uploaded
#: files are not a part of it: those that have been parsed can be read again, however large.
BODY_KEPT = 2_621_440


class Runs:
    """The runs of one request, noted on the request itself."""

    def __init__(self, request: HttpRequest) -> None:
        self._before = internals.RequestState(request)
        self.run = 1
        self.again = False  # the run that has just ended asks for another one
        self.attempts: Attempts | None = None  # None: the view is not atomic on a cluster
        self.promoted: set[str] = set()  # clusters on whose primary an earlier run has been
        setattr(request, _ATTRIBUTE, self)

    def next(self, request: HttpRequest) -> float:
        """Put ``request`` back as it came; returns the seconds to wait before the next run."""
        self.run += 1
        self.again = False
        self._before.restore(request)
        setattr(request, _ATTRIBUTE, self)
        return pause(self.run - 1)


class GaleraMiddleware:
    """First in MIDDLEWARE. Under ATOMIC_REQUESTS it runs a request again after a deadlock or
    a replay that did not match.

    A view outside a transaction is never run again, nor is a request that has committed
    something (its middleware included) or whose body cannot be read a second time.

    A response to a request that has written carries a token of that write; a request that
    brings one reads no older than that. See :mod:`galera_router.causality.carriers`.

    Raises:
        ConfigurationError: one of the settings ``GALERA_…`` is wrong.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._carrier = carrier()
        self._aliases = tuple(cluster.alias for cluster in clusters())
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        return self._call_async(request) if self._async else self._call(request)

    def _call(self, request: HttpRequest) -> HttpResponseBase:
        asked = self._carrier.read(request, self._aliases)
        with scope.needing(asked, request=True):
            response = self._run(request)
            if scope.written():
                self._carrier.write(response, last_write.written())
            return keep_scope(response) if asked else response

    def _run(self, request: HttpRequest) -> HttpResponseBase:
        runs = Runs(request)
        while True:
            response: HttpResponseBase = self.get_response(request)
            if not runs.again:
                return response
            time.sleep(runs.next(request))

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        asked = self._carrier.read(request, self._aliases)
        with scope.needing(asked, request=True):
            response = await self._run_async(request)
            if scope.written():
                self._carrier.write(response, await sync_to_async(last_write.written)())
            return keep_scope(response) if asked else response

    async def _run_async(self, request: HttpRequest) -> HttpResponseBase:
        runs = Runs(request)
        while True:
            response: HttpResponseBase = await self.get_response(request)
            if not runs.again:
                return response
            await asyncio.sleep(runs.next(request))

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Note, in the view's own thread, which clusters its transaction is on."""
        runs: Runs | None = getattr(request, _ATTRIBUTE, None)
        atomic = _atomic_sessions(view)
        if runs is None or not atomic:
            return
        _keep_body(request)
        for session in atomic:
            session.primary_only = session.cluster.alias in runs.promoted
        if runs.attempts is None:
            before = {session.following: session.following.commits_before for session in atomic}
            runs.attempts = Attempts(before, ATTEMPTS)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Ask for another run where one can succeed; else let the error go on."""
        runs: Runs | None = getattr(request, _ATTRIBUTE, None)
        if runs is None or runs.attempts is None:
            return None
        if not internals.RequestState.can_be_read_again(request):
            return None
        if not runs.attempts.may_repeat(exception):
            return None
        runs.again = True
        runs.promoted |= {c.cluster.alias for c in sessions() if c.promoted}
        # A 5xx keeps the inner middleware from saving what the failed run left, the session
        # above all. Nobody gets to see it.
        return HttpResponse(status=503)


def _keep_body(request: HttpRequest) -> None:
    """Read a small body ahead of the view: what that reads as a stream would be gone.

    Parsers do so, such as those of older releases of Django REST framework.
    """
    length = request.META.get("CONTENT_LENGTH") or ""
    if request.content_type == "multipart/form-data" or not length.isdecimal():
        return
    if 0 < int(length) <= BODY_KEPT:
        with contextlib.suppress(RawPostDataException, RequestDataTooBig):
            request.body  # noqa: B018


def _atomic_sessions(view: Any) -> list[Session]:
    exempt = internals.non_atomic_aliases(view)
    settings = connections.settings
    found = [
        session_of(cluster.alias)
        for cluster in clusters()
        if settings[cluster.alias]["ATOMIC_REQUESTS"] and cluster.alias not in exempt
    ]
    return [session for session in found if session is not None]

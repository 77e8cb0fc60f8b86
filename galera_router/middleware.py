"""``GaleraMiddleware``: a request that failed in its transaction is run once more, unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from . import internals
from .attempts import ATTEMPTS, Attempts
from .cluster import clusters
from .context import context_of

_ATTRIBUTE = "galera_runs"


class RunAgain(HttpResponse):
    """Travels up through the inner middleware in place of the failed response.

    A 5xx status keeps them from saving what the failed run left, the session above all.
    """

    status_code = 503


class Runs:
    """The runs of one request, noted on the request itself."""

    def __init__(self) -> None:
        self.run = 1
        self.attempts: Attempts | None = None  # None: the view is not atomic on a cluster


class GaleraMiddleware:
    """First in MIDDLEWARE. Under ATOMIC_REQUESTS it runs a request again after a deadlock or
    a replay that did not match; a view outside a transaction is never run again.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        return self._call_async(request) if self._async else self._call(request)

    def _call(self, request: HttpRequest) -> HttpResponseBase:
        before = internals.RequestState(request)
        runs = Runs()
        while True:
            setattr(request, _ATTRIBUTE, runs)
            response: HttpResponseBase = self.get_response(request)
            if not isinstance(response, RunAgain):
                return response
            runs.run += 1
            before.restore(request)
            Attempts.wait(runs.run)

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        before = internals.RequestState(request)
        runs = Runs()
        while True:
            setattr(request, _ATTRIBUTE, runs)
            response: HttpResponseBase = await self.get_response(request)
            if not isinstance(response, RunAgain):
                return response
            runs.run += 1
            before.restore(request)
            await asyncio.sleep(Attempts.pause(runs.run))

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Note, in the view's own thread, what has been committed before it runs."""
        runs: Runs | None = getattr(request, _ATTRIBUTE, None)
        exempt = internals.non_atomic_aliases(view)
        found = [
            context_of(cluster.alias)
            for cluster in clusters()
            if connections.settings[cluster.alias]["ATOMIC_REQUESTS"]
            and cluster.alias not in exempt
        ]
        contexts = [context for context in found if context is not None]
        if runs is None or not contexts:
            return
        for context in contexts:
            context.primary_only = runs.run > 1
        if runs.attempts is None:
            runs.attempts = Attempts(contexts, ATTEMPTS)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Ask for another run where one can succeed; else let the error go on."""
        runs: Runs | None = getattr(request, _ATTRIBUTE, None)
        if runs is None or runs.attempts is None:
            return None
        if not internals.RequestState.can_be_read_again(request):
            return None
        return RunAgain() if runs.attempts.may_repeat(exception) else None

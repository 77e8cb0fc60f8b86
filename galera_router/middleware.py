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
from galera_router.causality.carriers import Brought, carrier
from galera_router.causality.responses import keep_scope
from galera_router.cluster.nodes import clusters
from galera_router.compat import internals
from galera_router.compat.requests import RequestState
from galera_router.connections.errors import is_unknown_name
from galera_router.recovery.retry import ATTEMPTS, Attempts, pause, tell_not
from galera_router.recovery.runs import Run
from galera_router.recovery.turns import Turn
from galera_router.transactions import last_write
from galera_router.transactions.session import Session, session_of, sessions

_ATTRIBUTE = "galera_runs"
#: Bytes of a body that is read ahead of the view, so that a second run can read it too. Uploaded
#: files are not a part of it: those that have been parsed can be read again, however large.
BODY_KEPT = 2_621_440


class Runs:
    """The runs of one request, noted on the request itself.

    Attributes:
        sessions: of the clusters that the view's transaction is on; none if it is not atomic.
        attempts: how many runs there were, and may be.
        turn: the place in the queue of those who have failed often.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._before = RequestState(request)
        self._name = f"{request.method} {request.path}"
        self._run = Run()
        self._failure: Exception | None = None  # for which the run asks for another one
        self._on_primary: set[str] = set()  # clusters that the next run uses the primary of
        self.sessions: list[Session] = []
        self.attempts = Attempts(ATTEMPTS)
        self.turn = Turn(self._name)
        setattr(request, _ATTRIBUTE, self)

    def begin(self) -> Run:
        """Returns the block in which the next run is to be."""
        self._run, self._failure = Run(self.turn.leave), None
        return self._run

    def view_begins(self, view: Any, sessions: list[Session]) -> None:
        """Note the clusters that the view is atomic on; called in the view's own thread."""
        self.sessions = sessions
        self.turn.name = f"{view.__module__}.{getattr(view, '__qualname__', repr(view))}"
        first, primary = self.attempts.run == 1, self._on_primary
        self.turn.take(
            self.attempts.run, *(c for c in sessions if first or c.cluster.alias in primary)
        )
        for session in sessions:
            session.can_run_again = True
            session.primary_only = self.turn.held or session.cluster.alias in primary

    def ask_for_another(self, request: HttpRequest, error: Exception) -> bool:
        """Returns True if another run may succeed; whether there is one is decided later."""
        if not self.sessions or not RequestState.can_be_read_again(request):
            return False
        on_secondary = any(not c.promoted and not c.primary_only for c in self.sessions)
        if not self.attempts.may_repeat(error, on_secondary=on_secondary):
            return False
        if self._run.effect is not None:
            tell_not(self._name, error, self._run.effect)
            return False
        self._failure = error
        moved = self.sessions if is_unknown_name(error) else [c for c in sessions() if c.promoted]
        self._on_primary |= {session.cluster.alias for session in moved}
        return True

    def next(self, request: HttpRequest) -> float | None:
        """Put ``request`` back as it came if it is to be run again.

        To be called when the response has come through all inner middleware: what that has
        committed would be committed once more.

        Returns:
            The seconds to wait before the next run; None if the response stands.

        Raises:
            Exception: that of the view, if there can be no other run.
        """
        error = self._failure
        if error is None:
            return None
        obstacle = self._run.obstacle() or self._restore(request)
        if obstacle is not None:
            tell_not(self._name, error, obstacle)
            raise error
        setattr(request, _ATTRIBUTE, self)
        self.attempts.tell(self._name, error)
        return 0.0 if self.turn.held else pause(self.attempts.run - 1)

    def _restore(self, request: HttpRequest) -> str | None:
        if not RequestState.can_be_read_again(request):
            return "its body or files cannot be read again"
        try:
            self._before.restore(request)
        except OSError as error:
            return f"an uploaded file cannot be restored ({error})"
        return None


class GaleraMiddleware:
    """First in MIDDLEWARE. Under ATOMIC_REQUESTS it runs a request again after a deadlock, a
    replay that did not match or a change of its tables.

    A view outside a transaction is never run again. Nor is a request whose body cannot be read a
    second time, or that has committed something: on any database, by a middleware behind this
    one (before or after the view), in a thread that it has started, or if hooks of ``on_commit``
    were run. Then the view's error goes on.

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
        brought = self._carrier.read(request, self._aliases)
        with scope.needing(brought.needs, request=True):
            response = self._run(request)
            if aliases := _to_be_told(brought):
                self._carrier.write(response, last_write.tokens_of(aliases), brought)
            return keep_scope(response) if brought.needs or scope.in_outage() else response

    def _run(self, request: HttpRequest) -> HttpResponseBase:
        runs = Runs(request)
        try:
            while True:
                with runs.begin():
                    response: HttpResponseBase = self.get_response(request)
                wait = runs.next(request)
                if wait is None:
                    return response
                time.sleep(wait)
        finally:
            runs.turn.leave()

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        brought = self._carrier.read(request, self._aliases)
        with scope.needing(brought.needs, request=True):
            response = await self._run_async(request)
            if aliases := _to_be_told(brought):
                tokens = await sync_to_async(last_write.tokens_of)(aliases)
                self._carrier.write(response, tokens, brought)
            return keep_scope(response) if brought.needs or scope.in_outage() else response

    async def _run_async(self, request: HttpRequest) -> HttpResponseBase:
        runs = Runs(request)
        try:
            while True:
                with runs.begin():
                    response: HttpResponseBase = await self.get_response(request)
                wait = runs.next(request)
                if wait is None:
                    return response
                await asyncio.sleep(wait)
        finally:
            if runs.turn.held:
                await sync_to_async(runs.turn.leave)()

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Note, in the view's own thread, which clusters its transaction is on."""
        runs: Runs | None = getattr(request, _ATTRIBUTE, None)
        sessions = _atomic_sessions(view)
        if runs is None or not sessions:
            return
        _keep_body(request)
        runs.view_begins(view, sessions)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Ask for another run where one can succeed; else let the error go on."""
        runs: Runs | None = getattr(request, _ATTRIBUTE, None)
        if runs is None or not runs.ask_for_another(request, exception):
            return None
        # The status of an error keeps the inner middleware from saving what the failed run left,
        # the session above all. Nobody gets to see it.
        return HttpResponse(status=500)


def _to_be_told(brought: Brought) -> list[str]:
    """The clusters of which the client is to be given a token.

    The request has written there; or what it has brought is void, or too much.
    """
    return list(dict.fromkeys([*scope.written(), *scope.void(), *brought.crowded]))


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

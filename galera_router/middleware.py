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
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import connections
from django.http import HttpRequest, HttpResponse, RawPostDataException
from django.http.response import HttpResponseBase

from galera_router.causality import scope
from galera_router.causality.carriers import NOTHING, Brought, carrier
from galera_router.causality.responses import keep_scope
from galera_router.cluster.registry import roles
from galera_router.compat import internals
from galera_router.compat.errors import aerror_response, error_response
from galera_router.compat.requests import RequestState, keep_forms
from galera_router.connections.errors import is_unknown_name
from galera_router.recovery import turns
from galera_router.recovery.arguments import Given
from galera_router.recovery.retry import ATTEMPTS, Attempts, pause, tell_not
from galera_router.recovery.runs import Run
from galera_router.recovery.turns import Turn
from galera_router.transactions import last_write
from galera_router.transactions.places import place_of
from galera_router.transactions.session import Session
from galera_router.transactions.sessions import session_of, sessions

_ATTRIBUTE = "galera_runs"
_NAME = "galera_router.middleware.GaleraMiddleware"  # in MIDDLEWARE
#: Bytes of a body that is read ahead of the view, so that a second run can read it too. Uploaded
#: files are not a part of it: those that have been parsed can be read again, however large.
BODY_KEPT = 2_621_440


class Runs:
    """The runs of one request, noted on the request itself.

    Args:
        request: as it came in.
        is_fresh: no other middleware has put anything into it.

    Attributes:
        sessions: of the clusters that the view's transaction is on; none if it is not atomic.
        attempts: how many runs there were, and may be; None in the first one.
        turn: the place in the queue of those who have failed often; None as long as there is none.
        failure: the error for which another run is asked; None if none is.
    """

    def __init__(self, request: HttpRequest, *, is_fresh: bool) -> None:
        self._before = RequestState(request)
        self._given = None if is_fresh else Given(_no_function, (request,), {})
        self._request = request
        self._view: Any = None
        self._run: Run | None = None
        self.failure: Exception | None = None
        self._on_primary: set[str] = set()  # clusters that the next run uses the primary of
        self.sessions: list[Session] = []
        self.attempts: Attempts | None = None
        self.turn: Turn | None = None
        request.galera_runs = self  # type: ignore[attr-defined]

    @property
    def _name(self) -> str:
        return f"{self._request.method} {self._request.path}"

    def begin(self) -> Run:
        """Returns the block in which the next run is to be."""
        self.failure = None
        self._run = run = Run(self.leave)
        return run

    def leave(self) -> None:
        """Leave the queue."""
        if self.turn is not None:
            self.turn.leave()

    def view_begins(self, view: Any, sessions: list[Session]) -> None:
        """Note the clusters that the view is atomic on; called in the view's own thread."""
        self.sessions, self._view = sessions, view
        if self.attempts is not None:
            self._undo_state()
        if self.attempts is not None or turns.some_are_hot():
            self._queue()
        held = self.turn is not None and self.turn.held
        place = place_of(view)
        for session in sessions:
            if self.attempts is None:
                session.state_before = session.primary.state if session.primary else None
            session.can_run_again, session.place = True, place
            session.primary_only = held or session.cluster.alias in self._on_primary

    def _undo_state(self) -> None:
        """Undo what the last run has set on its connections."""
        for session in self.sessions:
            if session.has_new_state:
                self.leave()
                session.undo_state()

    def _queue(self) -> None:
        view, run = self._view, 1 if self.attempts is None else self.attempts.run
        name = f"{view.__module__}.{getattr(view, '__qualname__', repr(view))}"
        self.turn = turn = self.turn or Turn(name)
        turn.name = name
        primary = self._on_primary
        turn.take(run, *(c for c in self.sessions if run == 1 or c.cluster.alias in primary))

    def ask_for_another(self, request: HttpRequest, error: Exception) -> bool:
        """Returns True if another run may succeed; whether there is one is decided later."""
        if not self.sessions or not self._before.can_be_read_again(request):
            return False
        on_secondary = any(not c.promoted and not c.primary_only for c in self.sessions)
        self.attempts = self.attempts or Attempts(ATTEMPTS)
        if not self.attempts.may_repeat(error, on_secondary=on_secondary):
            return False
        assert self._run is not None, "a view runs within a run"
        if self._run.effect is not None:
            tell_not(self._aliases, self._name, error, self._run.effect)
            return False
        self.failure = error
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
        error = self.failure
        if error is None:
            return None
        assert self._run is not None
        assert self.attempts is not None
        obstacle = self._run.obstacle() or self._restore(request)
        if obstacle is not None:
            tell_not(self._aliases, self._name, error, obstacle)
            raise error
        request.galera_runs = self  # type: ignore[attr-defined]
        self.attempts.tell(self._aliases, self._name, error)
        held = self.turn is not None and self.turn.held
        return 0.0 if held else pause(self.attempts.run - 1)

    @property
    def _aliases(self) -> str:
        return ",".join(session.cluster.alias for session in self.sessions)

    def _restore(self, request: HttpRequest) -> str | None:
        if not self._before.can_be_read_again(request):
            return "its body or files cannot be read again"
        try:
            self._before.restore(request)
        except OSError as error:
            return f"an uploaded file cannot be restored ({error})"
        return None if self._given is None else self._given.put_back()


def _no_function() -> None:
    """Has nothing around it that would have to be put back."""


class GaleraMiddleware:
    """First in MIDDLEWARE. Under ATOMIC_REQUESTS it runs a request again, up to ten times in all,
    for the same reasons as :func:`~galera_router.galera_atomic` a function.

    A view outside a transaction is never run again. Nor is a request whose body cannot be read a
    second time, or that has committed something: on any database, by a middleware behind this
    one (before or after the view), in a thread that it has started. The same holds if hooks of
    ``on_commit`` were run, or if Celery has sent a task. Then the view's error goes on.

    A response to a request that has written carries a token of that write; a request that
    brings one reads no older than that. See :mod:`galera_router.causality.carriers`.

    Raises:
        ConfigurationError: when it is loaded: one of the settings ``GALERA_…`` is wrong.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_first = [*settings.MIDDLEWARE][:1] == [_NAME]
        self._carrier = carrier()
        self._aliases = roles()
        self._carriers = self._carrier.names_in_meta(self._aliases)
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)
        keep_forms()

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._async:
            return self._call_async(request)
        brought = self._brought(request)
        rules = scope.begin(brought.needs, request=True)
        try:
            try:
                response = self._run(request)
            except Exception as error:
                if not rules.writes:
                    raise
                response = error_response(request, error)  # its token must get there
            if rules.writes or brought is not NOTHING:
                aliases = _to_be_told(rules, brought)
                self._carrier.write(response, last_write.tokens_of(aliases), brought)
            if brought.needs or rules.writes or rules.outages or response.streaming:
                return keep_scope(response)
            return response
        finally:
            scope.end(rules)

    def _run(self, request: HttpRequest) -> HttpResponseBase:
        runs = Runs(request, is_fresh=self._is_first)
        try:
            while True:
                with runs.begin():
                    response: HttpResponseBase = self.get_response(request)
                wait = runs.next(request) if runs.failure is not None else None
                if wait is None:
                    return response
                time.sleep(wait)
        finally:
            if runs.turn is not None:
                runs.leave()

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        brought = self._brought(request)
        rules = scope.begin(brought.needs, request=True)
        try:
            try:
                response = await self._run_async(request)
            except Exception as error:
                if not rules.writes:
                    raise
                response = await aerror_response(request, error)
            if rules.writes or brought is not NOTHING:
                aliases = _to_be_told(rules, brought)
                tokens = await sync_to_async(last_write.tokens_of)(aliases)
                self._carrier.write(response, tokens, brought)
            if brought.needs or rules.writes or rules.outages or response.streaming:
                return keep_scope(response)
            return response
        finally:
            scope.end(rules)

    async def _run_async(self, request: HttpRequest) -> HttpResponseBase:
        runs = Runs(request, is_fresh=self._is_first)
        try:
            while True:
                with runs.begin():
                    response: HttpResponseBase = await self.get_response(request)
                wait = runs.next(request)
                if wait is None:
                    return response
                await asyncio.sleep(wait)
        finally:
            if runs.turn is not None and runs.turn.held:
                await sync_to_async(runs.leave)()

    def _brought(self, request: HttpRequest) -> Brought:
        """The tokens of ``request``; most bring none, and that is seen at one glance."""
        meta = request.META
        for name, part in self._carriers:
            if name in meta and part in meta[name]:
                break
        else:
            if "COOKIES" not in request.__dict__:
                return NOTHING
        return self._carrier.read(request, self._aliases)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Note, in the view's own thread, which clusters its transaction is on."""
        runs: Runs | None = getattr(request, _ATTRIBUTE, None)
        if runs is None or not (sessions := _atomic_sessions(view)):
            return
        if "CONTENT_LENGTH" in request.META:
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


def _to_be_told(rules: scope.Scope, brought: Brought) -> list[str]:
    """The clusters of which the client is to be given a token.

    The request has written there; or what it has brought is void, or too much.
    """
    if brought is NOTHING and not rules.needs:
        return list(rules.writes or ())
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
    databases, found = connections.settings, []
    for alias in roles():
        if databases[alias]["ATOMIC_REQUESTS"] and alias not in exempt:
            session = session_of(alias)
            if session is not None:
                found.append(session)
    return found

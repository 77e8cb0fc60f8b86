"""The site of the clients; its views run under ATOMIC_REQUESTS."""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.chaos.bank import Move
from tests.chaos.models import Visit

runs = threading.local()


def visits(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """A middleware that notes each visit of a page where visits are noted."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/visit/"):
            Visit.objects.create()
            runs.visits += 1
        return get_response(request)

    return middleware


def transfer(request: HttpRequest) -> HttpResponse:
    """Make the transfer of the form; the answer is the key of its note."""
    runs.count += 1
    form = request.POST
    move = Move(
        source=int(form["source"]),
        target=int(form["target"]),
        amount=int(form["amount"]),
        how=form["how"],  # type: ignore[arg-type]
        token=form["token"],
    )
    return HttpResponse(str(move.make()))


def body(request: HttpRequest) -> HttpResponse:
    """Run what the client's thread has left in ``runs.body``."""
    runs.count += 1
    runs.body()
    return HttpResponse()


urlpatterns = [path("transfer/", transfer), path("body/", body), path("visit/", body)]

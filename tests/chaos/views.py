"""The site of the clients; its views run under ATOMIC_REQUESTS."""

from __future__ import annotations

import threading

from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.chaos.bank import Move

runs = threading.local()


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


urlpatterns = [path("transfer/", transfer), path("body/", body)]

"""The shop with its metrics: a ROOT_URLCONF."""

from __future__ import annotations

import os

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from galera_router.instrumentation.prometheus import metrics


def process(request: HttpRequest) -> HttpResponse:
    """Which process answers."""
    return HttpResponse(str(os.getpid()))


urlpatterns = [
    path("", include("tests.shop.urls")),
    path("metrics/", metrics),
    path("process/", process),
]

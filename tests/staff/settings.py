"""The test project with the page for the staff, under a strict policy for content."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, MIDDLEWARE

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def policy(get_response: Callable[[HttpRequest], HttpResponse]) -> object:
    """No inline script, no inline style, nothing from elsewhere."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware


INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.staticfiles", "galera_router.staff"]
MIDDLEWARE = [
    "tests.staff.settings.policy",
    "django.middleware.csrf.CsrfViewMiddleware",
    *MIDDLEWARE,
]

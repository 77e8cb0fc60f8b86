"""What the customer is told when a commit's outcome is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render

from galera_router.exceptions import CommitOutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

RETRY_AFTER = 1  # seconds


class AskAgainMiddleware:
    """Turns a commit whose answer was lost into a page that lets the customer ask again.

    A transfer carries a reference, and a reference is booked once: asking again makes the
    transfer if it was not made, and shows the receipt if it was. Under ``ATOMIC_REQUESTS`` the
    commit comes after the view, so this cannot be done in the view.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 503 with the same form to send again, if nobody knows what became of it."""
        if not isinstance(error, CommitOutcomeUnknown):
            return None
        fields = [item for item in request.POST.items() if item[0] != "csrfmiddlewaretoken"]
        context = {"fields": fields, "action": request.get_full_path()}
        response = render(request, "bank/ask_again.html", context, status=503)
        response["Retry-After"] = str(RETRY_AFTER)
        return response

"""The response to an error that no view and no middleware has answered.

Why private: Django makes it of what a middleware raises, behind that one's back. So a middleware
that has something to add to the response, such as a token, must have it made itself.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest
from django.http.response import HttpResponseBase


def error_response(request: HttpRequest, error: Exception) -> HttpResponseBase:
    """Returns what Django answers to ``error``, and has it logged and told; while it is handled."""
    response: HttpResponseBase = response_for_exception(request, error)
    return response


async def aerror_response(request: HttpRequest, error: Exception) -> HttpResponseBase:
    """Returns the same, made in a thread, as Django does."""
    return await sync_to_async(error_response, thread_sensitive=False)(request, error)

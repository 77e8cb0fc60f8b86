"""Templates and streams that run after their view has returned still run in its scope."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, TypeVar, cast

from django.http import FileResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse

from galera_router.causality.scope import Scope, lasting, raw, within

R = TypeVar("R", bound=HttpResponseBase)


def keep_scope(response: R) -> R:
    """Have ``response`` be rendered and streamed in the scope that holds now."""
    if isinstance(response, SimpleTemplateResponse) and not response.is_rendered:
        _render_in(lasting(), response)
    elif isinstance(response, StreamingHttpResponse) and not _is_file(response):
        scope, content = lasting(), cast(Any, response.streaming_content)
        stream = _astream(scope, content) if response.is_async else _stream(scope, content)
        response.streaming_content = stream
    return response


def _is_file(response: StreamingHttpResponse) -> bool:
    """Returns True if the server may send an open file itself, without asking for its parts."""
    return isinstance(response, FileResponse) and response.file_to_stream is not None


def _render_in(scope: Scope, response: SimpleTemplateResponse) -> None:
    """Lazy querysets of a template are evaluated when it is rendered, after the view."""
    before = vars(response).get("render")

    def render() -> SimpleTemplateResponse:
        del response.render  # a response may be pickled once it is rendered
        if before is not None:
            vars(response)["render"] = before
        with within(scope):
            return response.render()

    vars(response)["render"] = render


def _stream(scope: Scope, content: Iterable[bytes]) -> Iterator[bytes]:
    parts = iter(content)
    while True:
        with within(scope):
            try:
                part = next(parts)
            except StopIteration:
                return
            scope = raw()  # the blocks that it is in go on with the next part
        yield part


async def _astream(scope: Scope, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    parts = aiter(content)
    while True:
        with within(scope):
            try:
                part = await anext(parts)
            except StopAsyncIteration:
                return
            scope = raw()
        yield part

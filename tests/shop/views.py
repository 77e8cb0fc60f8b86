"""Views that the middleware tests call; each does one thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.contrib.auth import authenticate, login
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.generic import ListView

from galera_router import reads

from .models import Author, Book

#: Called between the read and the write of the conflict views: what another client does.
meanwhile: list[Callable[[HttpRequest], Any]] = []
hooks: list[str] = []


def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse("nothing")


def ten_reads(request: HttpRequest) -> HttpResponse:
    return HttpResponse(sum(Book.objects.filter(stock__gt=n).count() for n in range(10)))


def five_reads_and_a_save(request: HttpRequest) -> HttpResponse:
    for _ in range(4):
        Author.objects.count()
    book = Book.objects.get()
    book.stock += 1
    book.save()
    return HttpResponse(book.stock)


def read(request: HttpRequest) -> HttpResponse:
    return HttpResponse(",".join(Author.objects.order_by("pk").values_list("name", flat=True)))


def _conflict(request: HttpRequest) -> HttpResponse:
    body = request.POST.get("word", "")
    uploads = request.FILES.getlist("file")
    upload = uploads[0].read().decode() if uploads else ""
    visits = request.session.get("visits", 0)
    request.session["visits"] = visits + 1
    transaction.on_commit(lambda: hooks.append("committed"))
    book = Book.objects.get()
    if meanwhile:
        meanwhile.pop()(request)
    book.stock += 1
    book.save(update_fields=["stock"])
    return JsonResponse({"stock": book.stock, "word": body, "file": upload, "visits": visits})


def conflict(request: HttpRequest) -> HttpResponse:
    return _conflict(request)


@transaction.non_atomic_requests
def conflict_non_atomic(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        return _conflict(request)


def conflict_consumed(request: HttpRequest) -> HttpResponse:
    request.read()
    return _conflict(request)


async def read_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await sync_to_async(Author.objects.count)()))


def add(request: HttpRequest) -> HttpResponse:
    Author.objects.create(name=request.POST["name"])
    return HttpResponse("added")


async def add_async(request: HttpRequest) -> HttpResponse:
    await Author.objects.acreate(name=request.POST["name"])
    return HttpResponse("added")


if TYPE_CHECKING:
    AuthorList = ListView[Author]
else:
    AuthorList = ListView


class Authors(AuthorList):
    """Its queryset is evaluated when the template is rendered, after the view."""

    queryset = Author.objects.order_by("pk")
    template_name = "authors.txt"


def _names() -> Iterator[str]:
    yield from Author.objects.order_by("pk").values_list("name", flat=True)


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(_names())


async def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    async def names() -> AsyncIterator[str]:
        async for name in Author.objects.order_by("pk").values_list("name", flat=True):
            yield name

    return StreamingHttpResponse(names())


def sign_in(request: HttpRequest) -> HttpResponse:
    user = authenticate(request, username=request.POST["name"], password="secret")
    login(request, user)
    return HttpResponse("welcome")


def who(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username())


@reads("primary")
async def primary_async(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0.05)
    return HttpResponse(str(await Author.objects.acount()))


@reads("any")
async def any_async(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0.05)
    return HttpResponse(str(await Author.objects.acount()))

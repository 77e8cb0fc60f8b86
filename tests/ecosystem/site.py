"""Views with packages around them, and their URLs: a ROOT_URLCONF."""

from __future__ import annotations

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from rest_framework import serializers, viewsets
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from tests.shop.models import Author, Book, Shelf
from tests.shop.views import meanwhile


def shown(request: HttpRequest) -> bool:
    """Have the toolbar on every page (SHOW_TOOLBAR_CALLBACK)."""
    return True


def page(request: HttpRequest) -> HttpResponse:
    """Three reads, the last of them raw, and with ``?write`` a write between them."""
    names = list(Author.objects.values_list("name", flat=True))
    names += [str(Book.objects.count())]
    if "write" in request.GET:
        Author.objects.create(name=f"n{len(names)}")
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM shop_tag")
        names += [str(cursor.fetchone()[0])]
    return HttpResponse(f"<html><body>{','.join(names)}</body></html>")


class AuthorSerializer(serializers.ModelSerializer):  # type: ignore[misc]
    class Meta:
        model = Author
        fields = ("id", "name")


class Authors(viewsets.ModelViewSet):  # type: ignore[misc]
    queryset = Author.objects.order_by("pk")
    serializer_class = AuthorSerializer


class Refusal(APIView):  # type: ignore[misc]
    """Reads, writes if it is a POST, and raises what the framework answers itself."""

    def get(self, request: Request) -> Response:
        raise APIException(f"{Author.objects.count()} authors")

    def post(self, request: Request) -> Response:
        Author.objects.create(name=f"of {Author.objects.count()}")
        return self.get(request)


class Sale(APIView):  # type: ignore[misc]
    """Reads, and writes what follows from that; somebody else comes in between."""

    def post(self, request: Request) -> Response:
        book = Book.objects.get()
        if meanwhile:
            meanwhile.pop()(request)
        book.stock -= int(request.data["count"])
        book.save()
        return Response({"stock": book.stock})


def visit(request: HttpRequest) -> HttpResponse:
    """Count the visits of one session."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


async def names(request: HttpRequest) -> HttpResponse:
    return HttpResponse(",".join([author.name async for author in Author.objects.all()]))


async def own(request: HttpRequest) -> HttpResponse:
    """What a request does in coroutines and in threads is its own: its number in a row."""
    number = int(request.GET["number"])
    shelf, _ = await Shelf.objects.aget_or_create(code=f"s{number}", defaults={"room": number})
    seen = [shelf.room]

    def raise_and_lower() -> int:
        with transaction.atomic():
            room: int = Shelf.objects.get(code=shelf.code).room
            Shelf.objects.filter(code=shelf.code).update(room=room + 1000)
            seen.append(Shelf.objects.get(code=shelf.code).room - 1000)
            Shelf.objects.filter(code=shelf.code).update(room=room)
        return room

    if "write" in request.GET:
        seen.append(await sync_to_async(raise_and_lower)())
    await asyncio.sleep(0.001)
    seen.append((await Shelf.objects.aget(code=shelf.code)).room)
    seen += [other.room async for other in Shelf.objects.filter(code=shelf.code)]
    return JsonResponse(dict(enumerate(seen)))


router = SimpleRouter()
router.register("authors", Authors)
urlpatterns: list[Any] = [
    path("", include("tests.shop.urls")),
    path("page/", page),
    path("visit/", visit),
    path("own/", own),
    path("read-async/", names),
    path("api/", include(router.urls)),
    path("api/refusal/", Refusal.as_view()),
    path("api/sale/", Sale.as_view()),
]

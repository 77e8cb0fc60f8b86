"""A file that the first run of a request has moved away is missing in the second.

A storage moves an upload that is in a file already, rather than copy it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Book

CONTENT = b"more than ten bytes"
_meanwhile: list[Callable[[], object]] = []
_places: list[Path] = []


def view(request: HttpRequest) -> HttpResponse:
    """Store what is uploaded; somebody else changes the row that is read and then saved."""
    storage = FileSystemStorage(_places[0])
    names = [storage.save("upload", file) for file in request.FILES.getlist("file")]
    book = Book.objects.get()
    while _meanwhile:
        _meanwhile.pop()()
    book.blurb = " ".join(names)
    book.save(update_fields=["blurb"])
    return HttpResponse(book.blurb)


urlpatterns = [path("", view)]


@pytest.fixture
def place(shop: EitherShop, tmp_path: Path) -> Iterator[Path]:
    """Where uploads are stored; another client is about to change the book."""
    shop.stock()
    shop.configure(ATOMIC_REQUESTS=True, OPTIONS={"optimistic_transactions": True})
    change = "UPDATE galera_router.shop_book SET stock = 5"
    _meanwhile.append(lambda: shop.galera["db1"].query(change))
    _places.append(tmp_path)
    with override_settings(ROOT_URLCONF=__name__, FILE_UPLOAD_MAX_MEMORY_SIZE=10):
        yield tmp_path
    _meanwhile.clear()
    _places.clear()


def _post(count: int) -> list[str]:
    files = [SimpleUploadedFile(f"f{n}", CONTENT) for n in range(count)]
    return Client().post("/", {"file": files}).content.decode().split()


@both()
@pytest.mark.parametrize("count", [1, 3])
def test_a_run_that_has_stored_it_is_repeated(place: Path, shop: EitherShop, count: int) -> None:
    names = _post(count)
    assert [(place / name).read_bytes() for name in names] == [CONTENT] * count
    assert shop.everywhere("SELECT stock, blurb FROM galera_router.shop_book") == [
        (5, " ".join(names))
    ]

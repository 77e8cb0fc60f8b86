"""What a function was given is, in the run that counts, as it was in the first one."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db import models
from django.forms import modelformset_factory
from django.test import RequestFactory
from django.test.utils import isolate_apps
from django.utils.datastructures import MultiValueDict
from django.utils.functional import SimpleLazyObject

from galera_router import galera_atomic
from galera_router.exceptions import ReplayMismatch
from tests.integration.support import Shop
from tests.shop.models import Author, Book, Tag


def changes_once(shop: Shop) -> Callable[[], None]:
    """Returns a read on a secondary, which at its first call is no longer true behind it."""
    runs: list[int] = []

    def look() -> None:
        Author.objects.get()
        runs.append(1)
        if len(runs) == 1:
            name = "UPDATE galera_router.shop_author SET name = CONCAT(name, '+')"
            shop.galera["db1"].query(name)
            shop.settle()

    return look


def stocks(shop: Shop) -> list[tuple[int]]:
    return shop.everywhere("SELECT stock FROM galera_router.shop_book ORDER BY id")


def tags(shop: Shop) -> list[str]:
    found = shop.everywhere("SELECT name FROM galera_router.shop_tag ORDER BY name")
    return [name for (name,) in found]


def test_an_instance_that_was_given_is_changed_once(shop: Shop) -> None:
    """By the run that counts, however often the sum was added up before."""
    book, look = shop.stock(), changes_once(shop)

    @galera_atomic
    def sell(book: Book, number: int) -> None:
        look()
        book.stock -= number
        book.save()

    sell(book, 3)
    assert book.stock == 7
    assert stocks(shop) == [(7,)]


def test_so_is_one_that_the_function_has_around_it(shop: Shop) -> None:
    book, look = shop.stock(), changes_once(shop)

    @galera_atomic
    def sell() -> None:
        look()
        book.stock -= 3
        book.save()

    sell()
    assert stocks(shop) == [(7,)]


def test_so_is_one_that_it_saves_for_the_first_time(shop: Shop) -> None:
    """What is drawn for it by the run that is undone is no key of its own."""
    shop.stock()
    look, known = changes_once(shop), Book.objects.get()
    shop.forget()
    calls: list[int | None] = []

    @galera_atomic
    def add(book: Book) -> None:
        calls.append(book.pk)
        look()
        book.stock += 1
        book.save()

    add(Book(author=known.author, title="new"))
    assert calls == [None, None]
    assert stocks(shop) == [(10,), (1,)]


def test_so_is_the_user_of_a_request_that_was_given(shop: Shop) -> None:
    """Though it is looked for, and kept, in the run that is undone."""
    shop.stock()
    look = changes_once(shop)
    request: Any = RequestFactory().post("/")

    def user() -> Any:
        if not hasattr(request, "_cached_user"):
            request._cached_user = Book.objects.get()
        return request._cached_user

    request.user = SimpleLazyObject(user)

    @galera_atomic
    def view(request: Any) -> None:
        look()
        request.user.stock -= 3
        request.user.save()

    view(request)
    assert stocks(shop) == [(7,)]


def test_a_list_that_was_given_has_everything_once(shop: Shop) -> None:
    shop.stock()
    look, found = changes_once(shop), list[str]()

    @galera_atomic
    def collect(found: list[str]) -> None:
        look()
        found.append("x")
        Tag.objects.create(name="x")

    collect(found)
    assert found == ["x"]


# --- in objects, and in what they contain


@dataclass(slots=True)
class Sale:
    book: Book
    number: int


@dataclass
class Order:
    sales: list[Sale]


@galera_atomic
def _sell(look: Callable[[], None], sales: Any) -> None:
    look()
    for sale in sales:
        sale.number += 1
        sale.book.stock -= sale.number
        sale.book.save()


def test_a_dataclass_and_its_instance_are_changed_once(shop: Shop) -> None:
    book, look = shop.stock(), changes_once(shop)
    _sell(look, [Sale(book, 2)])
    assert stocks(shop) == [(7,)]


def test_so_is_one_in_another(shop: Shop) -> None:
    book, look = shop.stock(), changes_once(shop)

    @galera_atomic
    def sell(order: Order) -> None:
        _sell(look, order.sales)

    sell(Order([Sale(book, 2)]))
    assert stocks(shop) == [(7,)]


@pytest.mark.parametrize("view", ["values", "items", "keys"])
def test_so_is_an_instance_in_a_dictionary(shop: Shop, view: str) -> None:
    """Given as a whole, or what is in it."""
    book, look = shop.stock(), changes_once(shop)
    found = Book.objects.in_bulk([book.pk])
    given: Any = {"values": found.values(), "items": found.items(), "keys": {found[book.pk]: 3}}

    @galera_atomic
    def sell(books: Any) -> None:
        look()
        for one in books:
            book = one[1] if view == "items" else one
            book.stock -= 3
            book.save()

    sell(given[view])
    assert stocks(shop) == [(7,)]


class Basket:
    def __init__(self) -> None:
        self.lines: dict[str, list[Book]] = defaultdict(list)

    def sell(self, look: Callable[[], None]) -> None:
        look()
        for book in self.lines["a"]:
            book.stock -= 3
            book.save()


def test_so_is_one_in_a_list_in_a_dictionary_of_self(shop: Shop) -> None:
    book, look = shop.stock(), changes_once(shop)
    basket = Basket()
    basket.lines["a"].append(book)
    galera_atomic(basket.sell)(look)
    assert stocks(shop) == [(7,)]


def test_a_formset_deletes_what_it_is_to_delete(shop: Shop) -> None:
    """Though it is validated in the run that is undone, and its instance has no key after that."""
    spare = Author.objects.create(name="Spare")
    shop.settle()
    shop.forget()
    kind = modelformset_factory(Author, fields=("name",), can_delete=True, extra=0)
    data = {
        "form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1",
        "form-0-id": str(spare.pk), "form-0-name": "Spare", "form-0-DELETE": "on",
    }  # fmt: skip
    runs: list[int] = []

    @galera_atomic
    def save(formset: Any) -> None:
        runs.append(1)
        assert formset.is_valid()
        formset.save()
        if len(runs) == 1:  # another client changes the row that is being deleted
            shop.galera["db2"].query("UPDATE galera_router.shop_author SET name = 'other'")
            shop.settle()
        Tag.objects.create(name="deleted")

    save(kind(data, queryset=Author.objects.filter(pk=spare.pk)))
    assert (len(runs), tags(shop)) == (2, ["deleted"])
    assert shop.everywhere("SELECT name FROM galera_router.shop_author") == []


# --- requests


def test_a_dictionary_in_a_request_is_changed_once(shop: Shop) -> None:
    shop.stock()
    look = changes_once(shop)
    request: Any = RequestFactory().post("/")
    request.cart = {"number": 3}

    @galera_atomic
    def order(request: Any) -> None:
        look()
        request.cart["number"] += 1
        Book.objects.update(stock=request.cart["number"])

    order(request)
    assert stocks(shop) == [(4,)]


def test_the_form_of_a_request_is_as_the_view_has_left_it(shop: Shop) -> None:
    shop.stock()
    look = changes_once(shop)
    kind = "application/x-www-form-urlencoded"
    request: Any = RequestFactory().post("/", "number=1", content_type=kind)
    request.POST = request.POST.copy()
    request.POST["number"] = "5"

    @galera_atomic
    def order(request: Any) -> None:
        look()
        Book.objects.update(stock=int(request.POST["number"]))

    order(request)
    assert stocks(shop) == [(5,)]


# --- files


@dataclass
class Import:
    rows: Any
    names: list[str] = field(default_factory=list)


class Upload(forms.Form):
    rows = forms.FileField()


def _in_a_form(rows: Any) -> Any:
    form = Upload({}, MultiValueDict({"rows": [rows]}))
    assert form.is_valid()
    return form, lambda: form.cleaned_data["rows"]


def _in_a_dataclass(rows: Any) -> Any:
    given = Import(rows)
    return given, lambda: given.rows


@pytest.mark.parametrize("place", [_in_a_form, _in_a_dataclass], ids=["form", "dataclass"])
def test_a_file_is_read_in_each_run(shop: Shop, place: Callable[[Any], Any]) -> None:
    shop.stock()
    look = changes_once(shop)
    given, file = place(SimpleUploadedFile("rows.csv", b"a b"))

    @galera_atomic
    def load(given: Any) -> None:
        look()
        for name in file().read().decode().split():
            Tag.objects.create(name=name)

    load(given)
    assert tags(shop) == ["a", "b"]


class Documents:
    """A table of files."""

    def __init__(self, folder: Path) -> None:
        storage = FileSystemStorage(location=folder)
        with isolate_apps("tests.shop"):

            class Document(models.Model):
                file = models.FileField(storage=storage)
                state = models.CharField(max_length=20, default="new")

                class Meta:
                    app_label = "shop"
                    db_table = "shop_document"

        self.model: Any = Document


@pytest.fixture
def documents(shop: Shop, tmp_path: Path) -> Iterator[Any]:
    node = shop.galera["db1"]
    node.query(
        "CREATE TABLE galera_router.shop_document (id BIGINT AUTO_INCREMENT PRIMARY KEY,"
        " file VARCHAR(100) NOT NULL, state VARCHAR(20) NOT NULL)"
    )
    shop.stock()
    yield Documents(tmp_path).model
    node.query("DROP TABLE galera_router.shop_document")


def _stored(shop: Shop, model: Any) -> Any:
    model(file=ContentFile(b"a b", "rows.csv")).save()
    shop.settle()
    shop.forget()
    document = model.objects.get()
    assert document.file  # as ordinary code asks
    return document


def test_the_file_of_an_instance_is_read_in_each_run(shop: Shop, documents: Any) -> None:
    look, document = changes_once(shop), _stored(shop, documents)

    @galera_atomic
    def load(document: Any) -> None:
        look()
        for name in document.file.read().decode().split():
            Tag.objects.create(name=name)

    load(document)
    assert tags(shop) == ["a", "b"]


def test_the_name_of_its_file_is_changed_once(shop: Shop, documents: Any) -> None:
    look, document = changes_once(shop), _stored(shop, documents)

    @galera_atomic
    def archive(document: Any) -> None:
        look()
        document.file.name = f"archive/{document.file.name}"
        document.save()

    archive(document)
    found = shop.everywhere("SELECT file FROM galera_router.shop_document")
    assert found == [("archive/rows.csv",)]


@pytest.mark.parametrize("asked", [False, True])
def test_an_upload_that_the_undone_run_has_stored_is_stored_again(
    shop: Shop, documents: Any, asked: bool
) -> None:
    """It is large: its storage has moved it away, where the undone run wanted it."""
    look = changes_once(shop)
    upload = TemporaryUploadedFile("rows.csv", "text/csv", 3, None)
    upload.write(b"a b")
    upload.flush()
    document = documents(file=upload)
    assert not asked or document.file

    @galera_atomic
    def save(document: Any) -> None:
        look()
        document.save()
        Author.objects.update(name="loaded")

    save(document)
    upload.close()
    shop.settle()
    shop.forget()
    with documents.objects.get().file as file:
        assert file.read() == b"a b"


# --- what can be read once


@pytest.mark.parametrize("held", [False, True], ids=["given", "in a dataclass"])
@pytest.mark.parametrize("made", [iter, list], ids=["iterator", "list"])
def test_no_row_of_an_iterator_is_left_out(
    shop: Shop, caplog: pytest.LogCaptureFixture, made: Callable[[list[str]], Any], held: bool
) -> None:
    """What the run that is undone has read of it, another one would not see."""
    shop.stock()
    look = changes_once(shop)
    caplog.set_level(logging.INFO, "galera_router")

    @galera_atomic
    def load(names: Any) -> None:
        for name in names.rows if held else names:
            look()
            Tag.objects.create(name=name)

    names = made(["a", "b"])
    if isinstance(names, list):
        load(Import(names) if held else names)
    else:
        with pytest.raises(ReplayMismatch):
            load(Import(names) if held else names)
    loaded = [("a",), ("b",)] if isinstance(names, list) else []
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag ORDER BY name") == loaded
    told = "because what it has taken from an iterator that it was given is gone"
    assert (told in caplog.text) is not bool(loaded)

"""What a function was given is the same at each of its runs."""

from __future__ import annotations

import csv
import io
import os
import sys
import tempfile
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import messages
from django.contrib.messages import get_messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.sessions.backends.cache import SessionStore
from django.core.files.base import File
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.forms import CharField, Form, ModelForm, formset_factory
from django.http import QueryDict
from django.test import RequestFactory
from django.utils.datastructures import MultiValueDict
from django.utils.functional import SimpleLazyObject, empty
from rest_framework import serializers
from rest_framework.request import Request

from galera_router.compat.requests import keep_forms
from galera_router.recovery import arguments
from galera_router.recovery.arguments import FEW, Given
from tests.shop.models import Author, Book

GONE = "what it has taken from an iterator that it was given is gone"


def nothing(*args: Any, **kwargs: Any) -> None: ...


def a_book() -> Book:
    return Book(title="Emma", stock=3, author=Author(name="Ann"))


# --- instances


def sell(book: Book) -> None:
    """What a run that is undone leaves on an instance."""
    book.stock -= 1
    book.pk = 7
    book._state.adding, book._state.db = False, "other"
    book.author.name = "Bea"
    book.extra = "x"  # type: ignore[attr-defined]
    book.author = Author(name="Cleo")


def is_as_it_was(book: Book) -> bool:
    seen: Any = book.pk, book.stock, book._state.adding, book._state.db, book.author.name
    same: bool = seen == (None, 3, True, "default", "Ann")
    return same and "extra" not in vars(book)


def around(book: Book) -> Callable[[], None]:
    return lambda: sell(book)


class Till:
    """What has a method that is decorated."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.sold: list[Book] = []

    def sell(self) -> None:
        sell(self.book)


class Slotted:
    """What keeps its attributes in no dictionary."""

    __slots__ = ("__book", "empty")

    def __init__(self, book: Book) -> None:
        self.__book = book


def held(value: Any) -> Any:
    return SimpleNamespace(value=value)


@dataclass
class Sale:
    book: Book
    number: int = 0
    rest: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class Row:
    book: Book
    number: int = 0
    rest: list[Any] = field(default_factory=list)


WAYS: dict[str, Callable[[Book], Given]] = {
    "argument": lambda book: Given(nothing, [book], {}),
    "by name": lambda book: Given(nothing, [], {"book": book}),
    "in a list": lambda book: Given(nothing, [[book]], {}),
    "in a tuple in a dictionary": lambda book: Given(nothing, [{"books": (1, book)}], {}),
    "in a set": lambda book: Given(nothing, [{id(book): frozenset({1})}, deque([book])], {}),
    "variable": lambda book: Given(around(book), [], {}),
    "of a function around": lambda book: Given(lambda: around(book)(), [], {}),
    "attribute": lambda book: Given(nothing, [Till(book)], {}),
    "self": lambda book: Given(Till(book).sell, [], {}),
    "in a list of an attribute": lambda book: Given(nothing, [SimpleNamespace(all=[book])], {}),
    "in a list in a dictionary of one": lambda book: Given(nothing, [held({"a": [book]})], {}),
    "in a slot of an attribute": lambda book: Given(nothing, [Slotted(book)], {}),
    "values": lambda book: Given(nothing, [{1: book}.values()], {}),
    "items": lambda book: Given(nothing, [OrderedDict({1: book}).items()], {}),
    "in a dataclass with slots": lambda book: Given(nothing, [Row(book)], {}),
    "in dataclasses": lambda book: Given(nothing, [Sale(a_book(), 1, [Sale(book)])], {}),
    "of a partial function": lambda book: Given(partial(nothing, book), [], {}),
    "lazy": lambda book: Given(nothing, [evaluated(book)], {}),
    "prefetched": lambda book: Given(nothing, [with_books(book)], {}),
    "in a queryset": lambda book: Given(nothing, [results(book)], {}),
}


def evaluated(book: Book) -> Any:
    lazy: Any = SimpleLazyObject(lambda: book)
    assert lazy.title == "Emma"
    return lazy


def with_books(book: Book) -> Author:
    author = Author(name="Dora")
    vars(author)["_prefetched_objects_cache"] = {"books": results(book)}
    return author


def results(book: Book) -> Any:
    books = Book.objects.all()
    books._result_cache = [book]
    return books


@pytest.mark.parametrize("given", WAYS.values(), ids=WAYS)
def test_an_instance_is_put_back(given: Callable[[Book], Given]) -> None:
    book = a_book()
    kept = given(book)
    for _ in range(2):
        sell(book)
        assert kept.put_back() is None
        assert is_as_it_was(book)


@pytest.mark.parametrize("given", [dict, dict.keys], ids=["key", "keys"])
def test_so_is_one_that_is_a_key(given: Callable[[Any], Any]) -> None:
    book = Book(pk=7, stock=3)
    kept = Given(nothing, [given({book: 1})], {})
    book.stock -= 1
    assert kept.put_back() is None
    assert book.stock == 3


def test_so_is_what_it_holds() -> None:
    book: Any = a_book()
    book.blurb = {"words": [1, 2]}
    given = Given(nothing, [Till(book)], {})
    book.blurb["words"].append(3)
    book.blurb["new"] = 1
    given.put_back()
    assert book.blurb == {"words": [1, 2]}


def test_what_was_fetched_since_is_forgotten() -> None:
    books: Any = Book.objects.all()
    lazy: Any = SimpleLazyObject(a_book)
    given = Given(nothing, [books, lazy], {})
    books._result_cache = [a_book()]
    assert lazy.title == "Emma"
    given.put_back()
    assert books._result_cache is None
    assert lazy._wrapped is empty


def test_a_lazy_object_is_not_asked() -> None:
    asked: list[int] = []
    Given(nothing, [SimpleLazyObject(lambda: asked.append(1))], {})
    assert not asked


def test_instances_in_a_circle_and_in_a_long_row() -> None:
    books = [a_book() for _ in range(5000)]
    for one, other in zip(books, [*books[1:], books[0]], strict=True):
        vars(one)["next"] = other
    given = Given(nothing, [books[0]], {})
    for book in books:
        sell(book)
    given.put_back()
    assert all(map(is_as_it_was, books))


# --- what belongs to one request


def test_what_a_middleware_has_put_into_a_request_is_put_back() -> None:
    request = a_request()
    request.cart, request.rows = {"lines": [1]}, io.StringIO("ab")
    given = Given(nothing, [request], {})
    for _ in range(2):
        request.cart["lines"].append(2)
        request.cart["seen"] = True
        assert request.rows.read() == "ab"
        assert given.put_back() is None
        assert request.cart == {"lines": [1]}


def test_what_the_server_has_put_there_is_in_nobodys_way() -> None:
    """Its streams cannot be sought; that of the body is asked for otherwise."""
    read, write = os.pipe()
    with open(read, "rb") as source, open(write, "wb") as target:
        streams: Any = {"wsgi.input": source, "wsgi.errors": target}
        request: Any = RequestFactory(**streams).get("/")
        request.scope = {"extensions": {"pipe": source}}
        assert request.META["wsgi.errors"] is target
        given = Given(nothing, [request], {})
        assert given.put_back() is None


def a_request() -> Any:
    keep_forms()  # as the middleware does
    request: Any = RequestFactory().post("/", {"a": "1"})
    assert request.POST["a"] == "1"
    request.session = SessionStore("x" * 32)
    request.session._session_cache = {"cart": [1]}
    request._messages = CookieStorage(request)
    request.user = evaluated(a_book())
    return request


def use(request: Any) -> None:
    request.session["cart"].append(2)
    request.session["seen"] = True
    messages.info(request, "sold")
    request.user.stock -= 1
    request._cached_user = request.user
    request.POST = request.POST.copy()
    request.POST["a"] = "2"


@pytest.mark.parametrize("there", ["argument", "attribute"])
def test_a_request_is_put_back(there: str) -> None:
    request = a_request()
    given = Given(nothing, [request if there == "argument" else SimpleNamespace(r=request)], {})
    for _ in range(2):
        use(request)
        assert given.put_back() is None
        assert dict(request.session.items()) == {"cart": [1]}
        assert not request.session.modified
        assert not [*get_messages(request)]
        assert request.user.stock == 3
        assert not hasattr(request, "_cached_user")
        assert request.POST["a"] == "1"
        request._messages.used = False


def test_a_request_whose_body_is_gone_is_an_obstacle() -> None:
    request = RequestFactory().post("/", b"abc", "text/plain")
    given = Given(nothing, [request], {})
    request.read()
    assert given.put_back() == "the body or the files of the request cannot be read again"


class Named(Form):
    name = CharField()


class AuthorForm(ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Author
        fields = ("name",)


class AuthorSerializer(serializers.ModelSerializer):  # type: ignore[misc]
    class Meta:
        model = Author
        fields = ("name",)


def test_a_form_is_put_back() -> None:
    form = AuthorForm({"name": "Ann"}, instance=Author(name=""))
    form.cleaned_data = {"name": "Ann", "books": [1]}
    given = Given(nothing, [form], {})
    form.instance.pk = 7
    form.cleaned_data.pop("books")
    form.instance = Author(name="Bea")
    assert given.put_back() is None
    assert form.instance.pk is None
    assert form.cleaned_data == {"name": "Ann", "books": [1]}


def test_a_serializer_makes_once_more_what_it_has_made() -> None:
    serializer: Any = AuthorSerializer(data={"name": "Ann"})
    serializer._validated_data, serializer._errors = {"name": "Ann"}, {}
    given = Given(nothing, [serializer], {})
    serializer.instance = Author(pk=7)
    serializer.validated_data.pop("name")
    assert serializer.data
    assert given.put_back() is None
    assert serializer.instance is None
    assert serializer.validated_data == {"name": "Ann"}
    assert not hasattr(serializer, "_data")


def test_a_form_of_several_is_asked_anew() -> None:
    """What it has made of its data in the undone run, it would not make once more."""
    data = {"form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "0", "form-0-name": "Ann"}
    formset = formset_factory(Named)(data)
    given = Given(nothing, [formset], {})
    assert formset.is_valid()
    form = formset.forms[0]
    assert given.put_back() is None
    assert formset.forms[0] is not form


def test_so_is_a_request_of_rest_framework() -> None:
    request = Request(RequestFactory().post("/"))
    request._full_data = {"lines": [1]}
    given = Given(nothing, [request], {})
    request.data.pop("lines")
    request.user = "Ann"
    assert given.put_back() is None
    assert request.data == {"lines": [1]}
    assert not hasattr(request, "_user")


@pytest.mark.parametrize("kind", [Sale, Row])
def test_a_dataclass_is_put_back(kind: Any) -> None:
    sale = kind(a_book())
    given = Given(nothing, [held(None), {"sales": [sale]}], {})
    sell(sale.book)
    sale.book, sale.number = a_book(), 3
    sale.rest.append(1)
    assert given.put_back() is None
    assert is_as_it_was(sale.book)
    assert (sale.number, sale.rest) == (0, [])


def test_a_slot_that_was_empty_is_so_again() -> None:
    row: Any = Row(a_book())
    del row.rest, row.number
    given = Given(nothing, [row], {})
    row.rest = []
    del row.book
    assert given.put_back() is None
    assert row.book.title == "Emma"
    assert not hasattr(row, "rest")


@pytest.mark.parametrize("first", [True, False])
def test_what_is_found_twice_is_put_back_where_it_is_one_of_ours(first: bool) -> None:
    lines: list[int] = []
    deep = held([held([lines])] if first else [[lines]])
    given = Given(nothing, [deep, [[[[lines]]]]], {})
    lines.append(1)
    assert given.put_back() is None
    assert lines == []


# --- containers


def clear(value: Any) -> None:
    value.clear()


def _values() -> dict[str, tuple[Any, Callable[[Any], Any]]]:
    return {
        "list": ([1, 2], lambda v: v.append(3)),
        "list, sorted": ([object(), object()], lambda v: v.reverse()),
        "deque": (deque([1, 2], 2), lambda v: v.append(3)),
        "bytearray": (bytearray(b"ab"), lambda v: v.extend(b"c")),
        "dictionary": ({"tags": [1]}, lambda v: v.pop("tags")),
        "dictionary, a value": ({"a": 1}, lambda v: v.update(a=2)),
        "dictionary in it": ({"a": {"b": 1}}, lambda v: v["a"].clear()),
        "ordered": (OrderedDict(a=1, b=2), lambda v: v.move_to_end("a")),
        "default": (defaultdict(list, a=[1]), lambda v: v["b"].append(1)),
        "set": ({1, 2}, lambda v: v.add(3)),
        "form": (MultiValueDict({"a": ["1", "2"]}), lambda v: v.appendlist("a", "3")),
        "query": (QueryDict("a=1&a=2&b=", mutable=True), lambda v: v.setlist("a", [])),
    }


@pytest.mark.parametrize("name", _values())
@pytest.mark.parametrize("change", ["its own", "cleared"])
def test_a_container_that_is_an_argument_is_put_back(name: str, change: str) -> None:
    value, own = _values()[name]
    before = [*value.lists()] if hasattr(value, "lists") else [*map(repr, value)], repr(value)
    given = Given(nothing, [value], {})
    for _ in range(2):
        (own if change == "its own" else clear)(value)
        assert repr(value) != before[1]
        assert given.put_back() is None
        now = [*value.lists()] if hasattr(value, "lists") else [*map(repr, value)], repr(value)
        assert now == before


def test_one_that_may_be_anybodys_is_left_alone() -> None:
    runs: list[int] = []
    till = Till(a_book())

    def work() -> None:
        runs.append(1)
        till.sold.append(till.book)

    given = Given(work, [till], {})
    work()
    given.put_back()
    assert (len(runs), len(till.sold)) == (1, 1)


def test_neither_is_a_large_one_looked_through() -> None:
    """It may be a cache of the whole process."""
    few, many, deep, deeper = (a_book() for _ in range(4))
    till = SimpleNamespace(
        few=[few] * FEW,
        many=dict.fromkeys(range(FEW + 1), many),
        deep=[*range(FEW // 2 - 2), {"all": [deep] * (FEW // 2)}],
        deeper=[*range(FEW // 2 - 1), {"all": [deeper] * (FEW // 2)}],
    )
    given = Given(nothing, [till], {})
    for book in (few, many, deep, deeper):
        book.stock = 0
    assert given.put_back() is None
    assert [book.stock for book in (few, many, deep, deeper)] == [3, 0, 3, 0]


def test_a_container_in_itself_is_looked_through() -> None:
    book, circle = a_book(), list[Any]()
    circle += [circle, circle, book]
    given = Given(nothing, [held(circle)], {})
    sell(book)
    assert given.put_back() is None
    assert is_as_it_was(book)


def test_too_much_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "MOST", 10)
    rows = [[number] for number in range(10)]
    told = "it was given more than 10 things"
    assert [Given(nothing, [rows[:n]], {}).put_back() for n in (8, 10)] == [None, told]


def test_what_cannot_be_told_apart_is_left_alone() -> None:
    """Classes, modules and objects without attributes."""
    assert Given(nothing, [Book, csv, object(), Ellipsis, print, Path()], {}).put_back() is None


# --- what can be read once


def numbers() -> Iterator[int]:
    yield from range(3)


def opened() -> Any:
    found = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115
    found.write("ab\ncd\n")
    found.seek(3)
    return found


ITERATORS: dict[str, Callable[[], Iterator[Any]]] = {
    "generator": numbers,
    "of a list": lambda: iter([1, 2]),
    "map": lambda: map(str, [1, 2]),
    "csv": lambda: csv.reader(["a,b"]),
}


@pytest.mark.parametrize("made", ITERATORS.values(), ids=ITERATORS)
@pytest.mark.parametrize("held", [False, True], ids=["in a list", "in a dataclass"])
def test_an_iterator_that_was_given_is_used_up(
    made: Callable[[], Iterator[Any]], held: bool
) -> None:
    rows, book = made(), a_book()
    given = Given(nothing, [book, Sale(book, rest=[rows]) if held else [rows]], {})
    next(rows)
    book.stock = 0
    assert given.put_back() == GONE
    assert book.stock == 0  # as the failed run has left it


def test_a_generator_that_nobody_has_asked_is_as_good_as_new() -> None:
    rows = numbers()
    given = Given(nothing, [rows], {})
    assert given.put_back() is None
    assert [*rows] == [0, 1, 2]
    assert Given(nothing, [rows], {}).put_back() == GONE


def test_an_iterator_around_the_function_is_its_own_business() -> None:
    rows = iter([1, 2])
    assert Given(lambda: next(rows), [], {}).put_back() is None


FILES: dict[str, Callable[[], Any]] = {
    "text": lambda: io.StringIO("ab\ncd\n"),
    "bytes": lambda: io.BytesIO(b"ab\ncd\n"),
    "upload": lambda: SimpleUploadedFile("rows.csv", b"ab\ncd\n"),
    "temporary": opened,
}


@pytest.mark.parametrize("made", FILES.values(), ids=FILES)
def test_a_file_is_sought_back(made: Callable[[], Any]) -> None:
    file = made()
    file.seek(3)
    given = Given(nothing, [file], {})
    for _ in range(2):
        assert file.read() in ("cd\n", b"cd\n")
        assert given.put_back() is None


@pytest.mark.parametrize("made", FILES.values(), ids=FILES)
def test_what_was_written_behind_a_file_is_cut_off(made: Callable[[], Any]) -> None:
    file = made()
    whole = file.read() and (file.seek(0), file.read())[1]
    given = Given(nothing, [file], {})
    file.write(whole)
    assert given.put_back() is None
    file.seek(0)
    assert file.read() == whole


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "dataclass": Sale,
    "slots": lambda file: Row(a_book(), 0, file),
    "instance": lambda file: held(with_file(file)),
    "form": lambda file: with_file(file, Named()),
    "file": lambda file: File(file),
    "nameless file": lambda file: [File(file, "")],
}


def with_file(file: Any, holder: Any = None) -> Any:
    holder = holder or a_book()
    holder.extra = {"files": [file]}
    return holder


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
@pytest.mark.parametrize("made", FILES.values(), ids=FILES)
def test_so_is_one_that_is_held(made: Callable[[], Any], holder: Callable[[Any], Any]) -> None:
    file = made()
    file.seek(3)
    given = Given(nothing, [holder(file)], {})
    for _ in range(2):
        assert file.read() in ("cd\n", b"cd\n")
        assert given.put_back() is None


def test_a_file_has_its_name_again_and_is_not_opened() -> None:
    class Stored(File):  # type: ignore[type-arg]
        """As those of a storage elsewhere: fetched when it is read."""

        fetched = 0

        @property
        def file(self) -> Any:
            self.fetched += 1
            vars(self).setdefault("_file", io.BytesIO(b"ab"))
            return vars(self)["_file"]

        @file.setter
        def file(self, value: Any) -> None: ...

    file = Stored(None, "a")
    given = Given(nothing, [[file]], {})
    assert file.fetched == 0
    file.name = f"archive/{file.name}"
    for _ in range(2):
        assert file.read() == b"ab"
        assert given.put_back() is None
    assert file.name == "a"
    assert "_file" not in vars(file)


def test_an_upload_that_was_moved_away_is_there_again(tmp_path: Path) -> None:
    upload: Any = TemporaryUploadedFile("rows.csv", "text/csv", 2, None)
    upload.write(b"ab")
    upload.seek(0)
    given, path = Given(nothing, [Sale(a_book(), rest=[upload])], {}), Path(upload.file.name)
    for _ in range(2):
        path.rename(tmp_path / "stored")
        assert given.put_back() is None
        assert path.read_bytes() == upload.read() == b"ab"
    path.rename(tmp_path / "stored").write_bytes(b"other")
    assert given.put_back() == "what it was given cannot be put back (OSError)"
    upload.close()


def test_a_pipe_can_be_read_once_and_a_closed_file_not_at_all() -> None:
    class Pipe(io.StringIO):
        def tell(self) -> int:
            raise OSError("telling position disabled by next() call")

    assert Given(nothing, [Pipe("a")], {}).put_back() == GONE
    file = io.StringIO("a")
    given = Given(nothing, [file], {})
    file.close()
    assert given.put_back() == "what it was given cannot be put back (ValueError)"
    assert Given(nothing, [file], {}).put_back() is None


def test_what_other_threads_change_meanwhile_is_no_error() -> None:
    shared, done = SimpleNamespace(cache={}), threading.Event()

    def work() -> None:
        number = 0
        while not done.is_set():
            number += 1
            setattr(shared, f"a{number % 50}", number)
            shared.cache[number % 50] = number
            if number % 50 == 0:
                vars(shared).clear()
                shared.cache = {}

    thread, interval = threading.Thread(target=work), sys.getswitchinterval()
    thread.start()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(6000):
            assert Given(nothing, [shared], {}).put_back() is None
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()

"""The views that are measured: what a request does, and nothing around it."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.shop.models import Author, Book, Tag


def no_query(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def ten_reads(request: HttpRequest) -> HttpResponse:
    for _ in range(10):
        Book.objects.get()
    return HttpResponse()


def one_read(request: HttpRequest) -> HttpResponse:
    Book.objects.get()
    return HttpResponse()


def thousand_objects(request: HttpRequest) -> HttpResponse:
    list(Author.objects.all())
    return HttpResponse()


def thousand_values(request: HttpRequest) -> HttpResponse:
    list(Author.objects.values_list())
    return HttpResponse()


def five_reads_and_a_save(request: HttpRequest) -> HttpResponse:
    for _ in range(4):
        Book.objects.get()
    book = Book.objects.get()
    book.stock += 1
    book.save()
    return HttpResponse()


def save_one_row(request: HttpRequest) -> HttpResponse:
    raise_stock()
    return HttpResponse()


def one_write(request: HttpRequest) -> HttpResponse:
    write()
    return HttpResponse()


@transaction.non_atomic_requests
def one_write_in_a_block(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        write()
    return HttpResponse()


@transaction.non_atomic_requests
def one_write_outside(request: HttpRequest) -> HttpResponse:
    write()
    return HttpResponse()


@transaction.non_atomic_requests
def one_read_outside(request: HttpRequest) -> HttpResponse:
    Book.objects.get()
    return HttpResponse()


def many_objects(request: HttpRequest) -> HttpResponse:
    list(Tag.objects.all())
    return HttpResponse()


def many_values(request: HttpRequest) -> HttpResponse:
    list(Tag.objects.values_list())
    return HttpResponse()


def many_iterated(request: HttpRequest) -> HttpResponse:
    for _ in Tag.objects.iterator():
        pass
    return HttpResponse()


_written = 0


def write() -> None:
    """Another value each time: a row that stays as it is costs the servers nothing."""
    global _written
    _written = (_written + 1) % 1_000_000
    Book.objects.update(stock=_written)


def raise_stock() -> None:
    """Read, change and save the one row."""
    book = Book.objects.get()
    book.stock += 1
    book.save(update_fields=["stock"])


VIEWS = (
    no_query, ten_reads, one_read, thousand_objects, thousand_values, five_reads_and_a_save,
    save_one_row, one_write, one_write_in_a_block, one_write_outside, one_read_outside,
    many_objects, many_values, many_iterated,
)  # fmt: skip
urlpatterns = [path(f"{view.__name__}/", view) for view in VIEWS]

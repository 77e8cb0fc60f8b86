"""Rows that are equal under ORDER BY come in another order on each node.

If nothing else tells, the server sorts what it joins by where it lies in its memory or in a file.
With LIMIT not even the set of the rows is the same. Neither is a change of what was read.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Length

from galera_router import galera_atomic
from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book

COUNT = 600
limits = pytest.mark.parametrize("limit", [5, COUNT])


@pytest.fixture
def filled(shop: EitherShop) -> Iterator[EitherShop]:
    """Each author's name has one of three lengths; reads are on the second node.

    That one sorts in its memory, the others in a file: so it is certain that the orders differ.
    """
    by_file = [shop.galera["db1"], shop.galera["db3"]]
    ((before,),) = by_file[0].query("SELECT @@GLOBAL.tmp_memory_table_size")
    for node in by_file:
        node.query("SET GLOBAL tmp_memory_table_size = 0")
    try:
        second = shop.galera["db2"]
        options = {"optimistic_transactions": True}
        shop.configure(HOST=second.host, PORT=second.port, OPTIONS=options)
        _fill(shop)
        yield shop
    finally:
        for node in by_file:
            node.query(f"SET GLOBAL tmp_memory_table_size = {before}")


def _fill(shop: EitherShop) -> None:
    Author.objects.bulk_create(Author(name=f"{n:09}" + "x" * (n % 3)) for n in range(COUNT))
    authors = list(Author.objects.order_by("pk"))
    Book.objects.bulk_create(Book(author=author, title=author.name) for author in authors)
    shop.settle()
    shop.forget()


def _by_length() -> QuerySet[Book]:
    return Book.objects.select_related("author").defer("blurb").order_by(Length("author__name"))


def _read(limit: int) -> None:
    first = [len(book.author.name) for book in _by_length()[:limit]]
    last = [len(book.author.name) for book in _by_length().reverse()[:limit]]
    assert sorted(first) == first
    assert sorted(last, reverse=True) == last


@both()
@limits
def test_a_block_that_reads_and_then_writes(filled: EitherShop, limit: int) -> None:
    with transaction.atomic():
        _read(limit)
        Book.objects.update(stock=F("stock") + 1)
    assert filled.everywhere("SELECT DISTINCT stock FROM galera_router.shop_book") == [(1,)]


@both()
@limits
def test_a_function_is_run_once(filled: EitherShop, limit: int) -> None:
    runs = []

    @galera_atomic
    def work() -> None:
        runs.append(limit)
        _read(limit)
        Book.objects.update(stock=F("stock") + 1)

    work()
    assert len(runs) == 1
    assert filled.everywhere("SELECT DISTINCT stock FROM galera_router.shop_book") == [(1,)]


@both()
@limits
def test_the_secondary_is_lost_between_two_reads(filled: EitherShop, limit: int) -> None:
    with transaction.atomic():
        _read(limit)
        if not filled.is_stock:
            filled.reading.reject_queries("ALL_KILL")
        assert Book.objects.count() == COUNT

"""Packages that put an execute wrapper into each connection by ``connection_created``.

``tests/transactions/test_connection_created.py`` has the signal itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction

from tests.faults.children import Child, ChildError
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author


def child(shop: Shop, package: str, **more: object) -> Child:
    """A process with ``package`` whose threads read on db2."""
    second = shop.galera["db2"]
    databases = shop.galera.databases(HOST=second.host, PORT=second.port)
    return Child(databases, INSTALLED_APPS=[*settings.INSTALLED_APPS, package], **more)


# --- django-read-only: nothing may be written


@pytest.fixture
def read_only(shop: Shop) -> Iterator[Child]:
    with child(shop, "django_read_only", DJANGO_READ_ONLY=True) as found:
        yield found


def write() -> None:
    Author.objects.create(name="Ann")


def write_behind_a_read() -> None:
    with transaction.atomic():
        Author.objects.count()
        write()


def write_by_hand() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_author (name) VALUES ('Ann')")


def lost() -> None:
    """The connection to the primary is made anew in the middle."""
    from galera_router.transactions.sessions import session_of

    with connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('any', 0), RELEASE_LOCK('any')")
    session = session_of("default")
    assert session is not None
    session.lose_primary(told=True)
    write()


def in_a_thread(name: str) -> None:
    elsewhere(globals()[name])


@pytest.mark.parametrize("work", [write, write_behind_a_read, write_by_hand, lost])
def test_django_read_only(shop: Shop, read_only: Child, work: Callable[[], None]) -> None:
    for _ in range(2):
        with pytest.raises(ChildError, match="DjangoReadOnlyError"):
            read_only.call(in_a_thread, work.__name__)
    with pytest.raises(ChildError, match="DjangoReadOnlyError"):
        read_only.call(work)
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(0,)]


# --- django-mysql: statements are rewritten


def found_rows() -> list[int]:
    from django_mysql.models import add_QuerySetMixin

    every: Any = add_QuerySetMixin(Author.objects.order_by("name"))
    authors = every.sql_calc_found_rows()[:2]
    return [len(authors), authors.found_rows]


def found_rows_in_a_thread() -> list[int]:
    found: list[int] = elsewhere(found_rows)
    return found


def found_rows_in_a_block() -> list[int]:
    with transaction.atomic():
        return found_rows()


def in_a_block_of_a_thread() -> list[int]:
    found: list[int] = elsewhere(found_rows_in_a_block)
    return found


@pytest.mark.parametrize(
    "work", [found_rows, found_rows_in_a_thread, found_rows_in_a_block, in_a_block_of_a_thread]
)
def test_django_mysql(shop: Shop, work: Callable[[], list[int]]) -> None:
    Author.objects.bulk_create([Author(name=f"{number}") for number in range(5)])
    shop.settle()
    with child(shop, "django_mysql", DJANGO_MYSQL_REWRITE_QUERIES=True) as process:
        assert process.call(work) == [2, 5]

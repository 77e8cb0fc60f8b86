"""django-cachalot, which keeps the answers of reads by the alias they were asked on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection, transaction

from tests.faults.children import Child
from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.integration.support import elsewhere
from tests.shop.models import Author

pytest.importorskip("cachalot", reason="django-cachalot 2.9 is not for Django 6.1")


def name() -> str:
    return Author.objects.get().name


def read_update_read() -> list[str]:
    Author.objects.create(name="Ann")
    before = name()
    Author.objects.update(name="Bob")
    return [before, name()]


def read_update_read_in_blocks() -> list[str]:
    Author.objects.create(name="Ann")
    with transaction.atomic():
        before = name()
    with transaction.atomic():
        Author.objects.update(name="Bob")
    with transaction.atomic():
        return [before, name()]


def read_raw_update_read() -> list[str]:
    Author.objects.create(name="Ann")
    before = name()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_author SET name = 'Bob'")
    return [before, name()]


def read_update_in_another_thread_read() -> list[str]:
    Author.objects.create(name="Ann")
    before = elsewhere(name)
    Author.objects.update(name="Bob")
    return [before, elsewhere(name)]


@pytest.fixture
def cached(shop: EitherShop) -> Iterator[Child]:
    """A process with the package: it puts itself into Django's own classes."""
    second = shop.galera["db2"]
    with Child(
        shop.databases(HOST=second.host, PORT=second.port),  # all threads read there
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "cachalot"],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    ) as child:
        yield child


@pytest.mark.parametrize(
    "work",
    [
        read_update_read,
        read_update_read_in_blocks,
        read_raw_update_read,
        read_update_in_another_thread_read,
    ],
)
@both()
def test_the_new_value_is_read(cached: Child, work: object) -> None:
    assert callable(work)
    assert cached.call(work) == ["Ann", "Bob"]

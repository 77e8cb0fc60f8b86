"""An ENGINE built on Django's: django-prometheus counts what the application sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, transaction
from prometheus_client import REGISTRY

from tests.integration.support import Shop
from tests.shop.models import Author

NAMES = ("default", "default_db1", "default_db2", "default_db3")


@pytest.fixture
def measured(shop: Shop) -> Shop:
    node = shop.galera["db2"]
    shop.configure(ENGINE="django_prometheus.db.backends.mysql", HOST=node.host, PORT=node.port)
    Author.objects.create(name="Ann")
    shop.settle()
    shop.warm()
    return shop


def value(metric: str, alias: str) -> float:
    labels = {"alias": alias, "vendor": "mysql"}
    return REGISTRY.get_sample_value(f"django_db_{metric}", labels) or 0.0


@contextmanager
def counted(metric: str) -> Iterator[dict[str, float]]:
    """What is added to ``metric`` in the block, by alias, where that is anything."""
    before = {alias: value(metric, alias) for alias in NAMES}
    found: dict[str, float] = {}
    yield found
    after = {alias: value(metric, alias) - before[alias] for alias in NAMES}
    found.update({alias: count for alias, count in after.items() if count})


def test_reads_are_counted_on_the_clusters_alias(measured: Shop) -> None:
    with counted("execute_total") as executed, counted("query_duration_seconds_count") as timed:
        assert Author.objects.count() == 1
        with transaction.atomic():
            assert Author.objects.get().name == "Ann"
            with connection.cursor() as cursor:
                cursor.execute("SELECT name FROM shop_author")
                assert cursor.fetchall() == (("Ann",),)
    assert executed == timed == {"default": 3}


def test_writes_are_counted_once(measured: Shop) -> None:
    with counted("execute_total") as executed, transaction.atomic():
        author = Author.objects.get()
        author.name = "Bea"
        author.save()
        Author.objects.bulk_create([Author(name="Cleo"), Author(name="Dora")])
        assert Author.objects.count() == 3
    assert executed == {"default": 4}


def test_a_failover(measured: Shop) -> None:
    with counted("execute_total") as executed, counted("new_connections_total") as opened:
        with transaction.atomic():
            assert Author.objects.count() == 1
            measured.galera["db2"].kill_connections()
            assert Author.objects.count() == 1
            author = Author.objects.create(name="Bea")
            measured.galera["db1"].kill()
            author.name = "Cleo"
            author.save()
        assert Author.objects.count() == 2
    assert opened["default"] >= 1
    assert executed["default"] in (6, 7), "as sent, and the set-up of one connection or two"
    assert opened["default_db2"] >= 1, "the watchdog's questions are counted as well"
    measured.galera["db2"].wait_applied()  # db3 may be the primary
    rows = measured.galera["db2"].query("SELECT name FROM galera_router.shop_author ORDER BY name")
    assert rows == [("Ann",), ("Cleo",)]

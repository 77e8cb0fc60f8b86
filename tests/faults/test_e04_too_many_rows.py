"""A transaction with more rows than ``wsrep_max_ws_rows`` allows is refused: that is certain.

The server says so with error 1180, whose number also stands for "the outcome is unknown".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F

from galera_router.exceptions import ClusterError
from tests.faults.known import both
from tests.faults.limits import within
from tests.faults.support import EitherShop
from tests.shop.models import Author

LIMIT, COUNT = 50, 100
REFUSED = 1180


@pytest.fixture
def limited(shop: EitherShop) -> Iterator[EitherShop]:
    shop.configure(OPTIONS={"reconnect_wait_time": 2.0})
    Author.objects.bulk_create(Author(name=f"a{n}") for n in range(COUNT))
    shop.settle()
    shop.warm()
    for node in shop.galera.nodes:
        node.query(f"SET GLOBAL wsrep_max_ws_rows = {LIMIT}")
    yield shop
    for node in shop.galera.nodes:
        if node.running:
            node.query("SET GLOBAL wsrep_max_ws_rows = 0")


def delete() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM shop_author")


def update() -> None:
    Author.objects.update(name=F("name"))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_author SET name = CONCAT(name, 'x')")


def insert() -> None:
    Author.objects.bulk_create(Author(name=f"b{n}") for n in range(COUNT))


def one_by_one() -> None:
    for author in Author.objects.order_by("pk"):
        author.name += "x"
        author.save()


changes = pytest.mark.parametrize("change", [delete, update, insert])


def _refused(shop: EitherShop, caplog: pytest.LogCaptureFixture, work: Callable[[], None]) -> None:
    with within(1.5), pytest.raises(OperationalError) as caught:
        work()
    assert not isinstance(caught.value, ClusterError), caught.value
    assert caught.value.args[0] == REFUSED
    assert "is down" not in caplog.text
    count = "SELECT COUNT(*) FROM galera_router.shop_author WHERE name REGEXP '^a[0-9]+$'"
    assert shop.everywhere(count) == [(COUNT,)]
    assert Author.objects.count() == COUNT


@both()
@changes
def test_outside_a_transaction(
    limited: EitherShop, caplog: pytest.LogCaptureFixture, change: Callable[[], None]
) -> None:
    _refused(limited, caplog, change)


@both()
@pytest.mark.parametrize("change", [delete, update, insert, one_by_one])
def test_in_a_block(
    limited: EitherShop, caplog: pytest.LogCaptureFixture, change: Callable[[], None]
) -> None:
    _refused(limited, caplog, transaction.atomic(change))


@both()
def test_hooks_do_not_run(limited: EitherShop, caplog: pytest.LogCaptureFixture) -> None:
    hooks = []

    @transaction.atomic
    def work() -> None:
        transaction.on_commit(lambda: hooks.append(1))
        delete()

    _refused(limited, caplog, work)
    assert hooks == []

"""A statement larger than ``max_allowed_packet`` ends the connection, and always will.

It is the statement that is at fault, no node: to send it again, or elsewhere, does not help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import OperationalError, close_old_connections, connection, transaction

from tests.faults.known import both
from tests.faults.limits import within
from tests.faults.support import EitherShop
from tests.shop.models import Author, Book

LIMIT = 1024 * 1024
LARGE = "x" * (20 * LIMIT)
#: The server may still say why (1153), or the client only meets the end of the connection.
REASONS = frozenset({1153, 2006, 2013, 2055})


@pytest.fixture
def limited(shop: EitherShop) -> Iterator[EitherShop]:
    """All nodes have a small limit."""
    shop.stock()
    shop.configure(OPTIONS={"reconnect_wait_time": 2.0})
    nodes = shop.galera.nodes
    ((before,),) = nodes[0].query("SELECT @@GLOBAL.max_allowed_packet")
    for node in nodes:
        node.query(f"SET GLOBAL max_allowed_packet = {LIMIT}")
    try:
        shop.warm()
        yield shop
    finally:
        for node in nodes:
            node.query(f"SET GLOBAL max_allowed_packet = {before}")


def create() -> None:
    Author.objects.create(name=LARGE)


def update() -> None:
    Book.objects.update(blurb=LARGE)


def raw() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_tag (name) SELECT LEFT(%s, 1)", [LARGE])


def several() -> None:
    author = Author.objects.get()
    Book.objects.bulk_create(
        Book(author=author, title="t", blurb=LARGE[: 8 * LIMIT]) for _ in range(3)
    )


def read() -> None:
    Book.objects.filter(blurb=LARGE).count()


def _connections(shop: EitherShop) -> int:
    """How many the nodes have had, all in all."""
    status = "SHOW GLOBAL STATUS LIKE 'Connections'"
    return sum(int(node.query(status)[0][1]) for node in shop.galera.nodes)


def _refused(shop: EitherShop, caplog: pytest.LogCaptureFixture, work: Callable[[], None]) -> None:
    before = _connections(shop)
    with within(1.5), pytest.raises(OperationalError) as caught:
        work()
    assert caught.value.args[0] in REASONS, caught.value
    assert "is down" not in caplog.text
    assert _connections(shop) - before <= 2
    close_old_connections()  # as at the end of a request
    assert Book.objects.get().blurb == ""
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag") == [(0,)]


large = pytest.mark.parametrize("work", [create, update, raw, several, read])


@both()
@large
def test_outside_a_transaction(
    limited: EitherShop, caplog: pytest.LogCaptureFixture, work: Callable[[], None]
) -> None:
    _refused(limited, caplog, work)


@both()
@large
def test_in_a_block(
    limited: EitherShop, caplog: pytest.LogCaptureFixture, work: Callable[[], None]
) -> None:
    _refused(limited, caplog, transaction.atomic(work))

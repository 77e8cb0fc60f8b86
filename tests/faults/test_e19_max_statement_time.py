"""A limit for statements that ends one of our own waits, and is told to the application (1969).

The limit is for the application's statements; none of them has taken that long. MariaDB 10.11 looks
at it in BEGIN NOT ATOMIC only until the first statement in it has ended: on a busy machine that is
long enough, so these tests run alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.db import transaction

from galera_router import after, causal_token
from tests.faults.known import both
from tests.faults.limits import spared
from tests.faults.support import EitherShop
from tests.shop.models import Author

INTERRUPTED, LAG = 1969, 1.0

pytestmark = pytest.mark.alone


@pytest.fixture
def hurried(shop: EitherShop) -> Iterator[EitherShop]:
    """Statements may take 0.3 s, and the secondaries lag by a second."""
    shop.stock()
    shop.configure(OPTIONS={"init_command": "SET SESSION max_statement_time = 0.3"})
    shop.warm()
    behind = [shop.galera["db2"], shop.galera["db3"]]
    for node in behind:
        node.hold_applier()
    timers = [threading.Timer(LAG, node.release_applier) for node in behind]
    for timer in timers:
        timer.start()
    yield shop
    for timer in timers:
        timer.join()


def _token(shop: EitherShop) -> str:
    Author.objects.create(name="Bea")
    token = "" if shop.is_stock else causal_token()
    shop.forget()
    return token


@both()
def test_a_wait_for_a_token(hurried: EitherShop) -> None:
    with after(_token(hurried)), spared(INTERRUPTED):
        assert Author.objects.count() == 2


@both()
def test_a_wait_for_a_token_in_a_block(hurried: EitherShop) -> None:
    with after(_token(hurried)), spared(INTERRUPTED), transaction.atomic():
        assert Author.objects.count() == 2


@both()
def test_a_wait_for_a_write_of_ones_own(hurried: EitherShop) -> None:
    Author.objects.create(name="Bea")
    with spared(INTERRUPTED), transaction.atomic():
        assert Author.objects.count() == 2

"""The states of a transaction and the moves between them."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, transaction

from galera_router.transactions.transaction import (
    MOVES,
    Ended,
    OnPrimary,
    OnSecondary,
    Pending,
    State,
    Transaction,
)
from tests.integration.support import Shop
from tests.shop.models import Author, Book

LINK: Any = SimpleNamespace()
STATES: dict[type[State], State] = {
    Pending: Pending(),
    OnSecondary: OnSecondary(LINK),
    OnPrimary: OnPrimary(LINK),
    Ended: Ended(),
}


def test_the_table_names_every_state() -> None:
    assert set(MOVES) == set(STATES)
    assert set().union(*MOVES.values()) <= set(STATES)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATES, STATES)))
def test_only_the_moves_of_the_table_are_made(
    shop: Shop, before: type[State], after: type[State]
) -> None:
    moving = Transaction(shop.session)
    moving.state = STATES[before]
    if after in MOVES[before]:
        moving.move(STATES[after])
        assert moving.state is STATES[after]
    else:
        with pytest.raises(AssertionError, match=f"{before.__name__} to {after.__name__}"):
            moving.move(STATES[after])
        assert moving.state is STATES[before]


def _state(shop: Shop) -> type[State]:
    found = shop.session.transaction
    assert found is not None
    return type(found.state)


def test_a_transaction_goes_its_way(shop: Shop) -> None:
    shop.stock()
    with transaction.atomic():
        states = [_state(shop)]
        Book.objects.count()
        states.append(_state(shop))
        Author.objects.create(name="Bea")
        states.append(_state(shop))
        last = shop.session.transaction
    assert states == [Pending, OnSecondary, OnPrimary]
    assert last is not None
    assert type(last.state) is Ended
    assert shop.session.transaction is None


def test_each_transaction_is_a_new_one(shop: Shop) -> None:
    seen = []
    for _ in range(2):
        with transaction.atomic():
            seen.append(shop.session.transaction)
    assert seen[0] is not seen[1]


def test_a_lost_snapshot_is_pending_again(shop: Shop) -> None:
    shop.stock()
    with transaction.atomic():
        Book.objects.count()
        assert shop.session.snapshot is not None
        shop.session.reader.drop(shop.session.snapshot)
        assert Book.objects.count() == 1
        assert _state(shop) is OnSecondary


def test_what_the_server_has_undone_is_pending_again(shop: Shop) -> None:
    """As on stock Django, the next statement begins another transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_tag (name) VALUES ('x')")
        cursor.execute("CREATE TABLE IF NOT EXISTS shop_scratch (id INT)")
        cursor.execute("INSERT INTO shop_tag (name) VALUES ('y')")
        assert _state(shop) is OnPrimary
        transaction.set_rollback(True)
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == [("x",)]
    shop.galera["db1"].query("DROP TABLE galera_router.shop_scratch")

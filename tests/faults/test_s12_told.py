"""What is said of a lost transaction is true: a TRUNCATE or a CALL has committed its first part."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import DatabaseError, connection, transaction

from tests.faults.known import both
from tests.faults.server import cut_primary, tags
from tests.faults.support import EitherShop
from tests.shop.models import Tag

pytestmark = pytest.mark.usefixtures("routines")


def truncate() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE shop_ticket")


def call() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CALL shop_restart('one', 'two')")


def callproc() -> None:
    with connection.cursor() as cursor:
        cursor.callproc("shop_restart", ["one", "two"])


@both(stock=False)
@pytest.mark.parametrize("commit", [truncate, call, callproc])
def test_nobody_says_that_nothing_was_committed(
    shop: EitherShop, commit: Callable[[], None]
) -> None:
    """The connection is lost before the COMMIT of the rest."""
    shop.warm()
    with pytest.raises(DatabaseError) as told, transaction.atomic():
        Tag.objects.create(name="first")
        commit()
        cut_primary(shop)
    assert "first" in tags(shop)
    assert "Nothing of it was committed" not in str(told.value)

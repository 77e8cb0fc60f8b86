"""A marker's row that has gone makes nothing be done again that cannot be.

Somebody deletes the row while the transaction is open. Begun again with what was recorded of it,
the transaction would lack what was not, and success would be told.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from django.db import DatabaseError, connection, transaction
from MySQLdb import OperationalError

from tests.faults.known import both
from tests.faults.server import tags
from tests.faults.support import EitherShop
from tests.shop.models import Tag

pytestmark = pytest.mark.usefixtures("routines")


def callproc() -> None:
    """On a cursor of the primary's: a clock is asked for there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT NOW()")
        cursor.callproc("shop_add", ["first"])


def beyond_the_limit() -> None:
    """More statements than are kept; they look like reads."""
    with connection.cursor() as cursor:
        for _ in range(5):
            cursor.execute("SELECT NOW()")
        cursor.execute("SELECT shop_tagged('first'), NOW()")


DELETE = (
    "SET STATEMENT innodb_lock_wait_timeout = 0 FOR DELETE FROM galera_router.galera_router_marker"
)


@both()
@pytest.mark.parametrize("first", [callproc, beyond_the_limit])
def test_all_is_there_or_nothing(shop: EitherShop, first: Callable[[], None]) -> None:
    """Success is told only if all of it is there."""
    shop.configure(OPTIONS={"failover_history_limit": 3})
    shop.warm()
    Tag.objects.create(name="earlier")  # a marker is there
    told = True
    try:
        with transaction.atomic():
            first()
            with suppress(OperationalError):  # a row that is in use is locked
                shop.galera["db1"].query(DELETE)
            Tag.objects.create(name="second")
    except DatabaseError:
        told = False
    assert tags(shop) == (["earlier", "first", "second"] if told else ["earlier"])

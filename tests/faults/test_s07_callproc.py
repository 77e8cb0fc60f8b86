"""``callproc`` runs on the primary, in the transaction, on whatever cursor it is called.

Not where the cursor's last statement ran, which is a secondary if that was a read. And what it may
leave on its connection is minded.
"""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from galera_router.exceptions import FailoverImpossible
from tests.faults.known import both
from tests.faults.server import cut_primary, tags
from tests.faults.support import EitherShop
from tests.shop.models import Author, Tag

pytestmark = pytest.mark.usefixtures("routines")

READS = ["SELECT 1", "SELECT COUNT(*) FROM shop_author"]
reads = pytest.mark.parametrize("read", READS)


@both()
@reads
def test_a_procedure_that_writes(shop: EitherShop, read: str) -> None:
    """It is refused where a read has been (1792)."""
    shop.warm()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(read)
        cursor.callproc("shop_add", ["called"])
    assert tags(shop) == ["called"]


@both()
@reads
def test_a_procedure_that_writes_outside_a_block(shop: EitherShop, read: str) -> None:
    """So it is already: a raw read outside a block has been made on the primary."""
    shop.warm()
    with connection.cursor() as cursor:
        cursor.execute(read)
        cursor.callproc("shop_add", ["called"])
    assert tags(shop) == ["called"]


@both()
def test_a_procedure_sees_what_is_committed(shop: EitherShop) -> None:
    """Its count is the primary's, not that of the old snapshot that was read from."""
    shop.warm()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM shop_author")
        shop.galera["db1"].query("INSERT INTO galera_router.shop_tag (name) VALUES ('new')")
        cursor.callproc("shop_tags", [])
        assert cursor.fetchall() == ((1,),)


@both()
@reads
def test_a_parameter_that_comes_back(shop: EitherShop, read: str) -> None:
    """It is asked for on the connection that the procedure has run on."""
    shop.warm()
    Tag.objects.create(name="one")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(read)
        cursor.callproc("shop_count", [0])
        cursor.execute("SELECT @_shop_count_0")
        assert cursor.fetchone() == (1,)


@both(stock=False)
@pytest.mark.parametrize("first", [None, *READS])
def test_what_a_procedure_has_set_is_missed_when_it_is_lost(
    shop: EitherShop, first: str | None
) -> None:
    """As what any other statement has set on the connection: the next statement is told."""
    shop.warm()
    with connection.cursor() as cursor:
        if first is not None:
            cursor.execute(first)
        cursor.callproc("shop_remember", [])
    cut_primary(shop)
    with pytest.raises(FailoverImpossible):
        Author.objects.create(name="Ann")

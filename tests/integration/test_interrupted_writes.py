"""A block that has caught what interrupted its write does not go on as if there had been none."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.db import connection, transaction

from galera_router.exceptions import FailoverImpossible
from tests.differential.interrupts import Interrupted
from tests.faults.server import AfterAnswer
from tests.integration.support import Shop
from tests.shop.models import Tag


def tags(shop: Shop) -> list[str]:
    return [n for (n,) in shop.everywhere("SELECT name FROM galera_router.shop_tag ORDER BY name")]


def write() -> None:
    """By a cursor: where the ORM is interrupted, Django itself lets the block go no further."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_tag (name) VALUES ('interrupted')")


def test_it_is_there_or_the_block_fails(shop: Shop) -> None:
    """The exception comes when the server has answered, and nothing has been noted of it."""
    with pytest.raises(FailoverImpossible), transaction.atomic():
        Tag.objects.create(name="first")
        with suppress(Interrupted), AfterAnswer(1):
            write()
        Tag.objects.create(name="last")
    assert tags(shop) == []


def test_a_savepoint_undoes_it(shop: Shop) -> None:
    """What the block goes on without is then known not to be there."""
    with transaction.atomic():
        Tag.objects.create(name="first")
        with suppress(Interrupted), transaction.atomic(), AfterAnswer(1):
            write()
        Tag.objects.create(name="last")
    assert tags(shop) == ["first", "last"]

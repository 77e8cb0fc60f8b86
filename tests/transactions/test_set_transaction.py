"""SET TRANSACTION is for the next transaction: for one that has done nothing, too."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.db import OperationalError, connection, transaction

from tests.integration.support import Shop
from tests.shop.models import Author, Tag

SERIALIZABLE = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
SEEN = "SELECT name FROM galera_router.shop_tag"


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_it_is_sent_again_where_its_answer_was_lost(shop: Shop) -> None:
    """It has changed nothing that could be done twice."""
    with shop.proxied() as proxies, transaction.atomic():
        rule = proxies["db1"].swallow("SET TRANSACTION", cut=True)
        execute(SERIALIZABLE)
        Tag.objects.create(name="one")
    assert rule.fired
    assert shop.everywhere(SEEN) == [("one",)]


@pytest.mark.parametrize("optimistic", [True, False])
def test_behind_savepoints(shop: Shop, optimistic: bool) -> None:
    """Savepoints alone begin no transaction, wherever they have been sent."""
    shop.configure(OPTIONS={"optimistic_transactions": optimistic})
    with transaction.atomic():
        with transaction.atomic():
            execute(SERIALIZABLE)
            Tag.objects.create(name="one")
        with suppress(ValueError), transaction.atomic():
            Tag.objects.create(name="two")
            raise ValueError
    assert shop.everywhere(SEEN) == [("one",)]


@pytest.mark.parametrize("optimistic", [True, False])
def test_behind_a_savepoint_that_is_rolled_back(shop: Shop, optimistic: bool) -> None:
    """The savepoint is there, with what came behind it undone."""
    shop.configure(OPTIONS={"optimistic_transactions": optimistic})
    with transaction.atomic():
        with suppress(ValueError), transaction.atomic():
            execute(SERIALIZABLE)
            Tag.objects.create(name="one")
            raise ValueError
        Tag.objects.create(name="two")
    assert shop.everywhere(SEEN) == [("two",)]


@pytest.mark.parametrize("options", [{}, {"failover_enable": False}])
def test_behind_a_statement_it_is_refused(shop: Shop, options: dict[str, bool]) -> None:
    """As by stock Django; what came before stays."""
    shop.configure(OPTIONS={"optimistic_transactions": False, **options})
    with transaction.atomic():
        Author.objects.count()
        Tag.objects.create(name="one")
        with pytest.raises(OperationalError, match="1568"):
            execute(SERIALIZABLE)
    assert shop.everywhere(SEEN) == [("one",)]

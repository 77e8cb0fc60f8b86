"""The rows that a write outside a transaction has changed, where a trigger changes others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from tests.integration.support import Shop
from tests.recovery.support import tables
from tests.shop.models import Book

BOOKS = 3


@pytest.fixture(params=["UPDATE", "DELETE"])
def verb(request: pytest.FixtureRequest, shop: Shop) -> Iterator[str]:
    """A statement whose trigger writes two rows for each of its own."""
    verb = str(request.param)
    node = shop.galera.nodes[0]
    with tables(shop, audit="id INT AUTO_INCREMENT PRIMARY KEY, book INT"):
        node.query(
            f"CREATE TRIGGER galera_router.audited AFTER {verb} ON galera_router.shop_book"
            " FOR EACH ROW INSERT INTO audit (book) VALUES (OLD.id), (OLD.id)"
        )
        shop.stock(BOOKS)
        yield verb
        node.query("DROP TRIGGER galera_router.audited")


def change(verb: str, where: str = "") -> int:
    with connection.cursor() as cursor:
        if verb == "UPDATE":
            cursor.execute(f"UPDATE shop_book SET stock = stock + 1 {where}")
        else:
            cursor.execute(f"DELETE FROM shop_book {where}")
        assert cursor.description is None
        assert cursor.fetchall() == ()
        count: int = cursor.rowcount
        return count


def audited(shop: Shop) -> int:
    ((count,),) = shop.everywhere("SELECT COUNT(*) FROM galera_router.audit")
    return int(count)


@pytest.mark.parametrize("several", [True, False])
def test_they_are_its_own(shop: Shop, verb: str, several: bool) -> None:
    shop.configure(OPTIONS={"multi_statements": several})
    first, *_ = Book.objects.order_by("pk").values_list("pk", flat=True)
    assert change(verb, "WHERE id = 0") == 0
    assert change(verb, f"WHERE id = {first}") == 1
    assert change(verb, f"WHERE id > {first}") == BOOKS - 1
    assert audited(shop) == 2 * BOOKS


def test_as_the_orm_gives_them(shop: Shop, verb: str) -> None:
    if verb == "UPDATE":
        assert Book.objects.update(stock=5) == BOOKS
        assert Book.objects.filter(pk=0).update(stock=5) == 0
    else:
        assert Book.objects.all()._raw_delete("default") == BOOKS


def test_they_are_its_own_after_a_lost_answer(shop: Shop, verb: str) -> None:
    with shop.proxied() as proxies:
        shop.warm()
        rule = proxies[shop.writing.name].swallow(f"{verb} (FROM )?shop_book", cut=True)
        assert change(verb) == BOOKS
        assert rule.fired
    assert audited(shop) == 2 * BOOKS


@pytest.mark.parametrize("byte", range(1, 110, 6))
def test_wherever_the_answer_is_cut(shop: Shop, verb: str, byte: int) -> None:
    """It is their number first, and then the end of the whole."""
    with shop.proxied() as proxies:
        shop.warm()
        proxy = proxies[shop.writing.name]
        rule = proxy.cut_at_byte(byte, toward="client", pattern=f"{verb} (FROM )?shop_book")
        assert change(verb) == BOOKS
        rule.cancel()
    assert audited(shop) == 2 * BOOKS

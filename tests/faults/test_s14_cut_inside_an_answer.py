"""A connection that is cut inside of an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import OperationalError, connection, transaction
from MySQLdb import Error as DriverError

from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Author, Tag

NAMES = ["Ann", "Bob", "Cid"]
LONGEST = 2000  # bytes of an answer, at most


def in_a_block() -> list[str]:
    with transaction.atomic():
        return outside()


def outside() -> list[str]:
    return list(Author.objects.order_by("name").values_list("name", flat=True))


def after_a_write() -> list[str]:
    Tag.objects.create(name="own")
    return outside()


def on_the_primary() -> list[str]:
    with transaction.atomic():
        return list(
            Author.objects.select_for_update().order_by("name").values_list("name", flat=True)
        )


def by_a_cursor() -> list[str]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT name FROM shop_author ORDER BY name")
        return [name for (name,) in cursor.fetchall()]


def told(read: Callable[[], Any]) -> Any:
    """What ``read`` has given; the right names where it has raised Django's error."""
    try:
        return read()
    except OperationalError:
        connection.close()  # as Django does before the next request
        return NAMES
    except DriverError as error:  # Django's are none of these
        connection.close()
        return error


def wrong(shop: EitherShop, read: Callable[[], Any]) -> dict[int, Any]:
    """What was told otherwise than it is, by the number of bytes of the answer that came."""
    Author.objects.bulk_create([Author(name=name) for name in NAMES])
    shop.settle()
    found: dict[int, Any] = {}
    with shop.galera.proxies() as proxies:
        node = proxies["db1" if shop.is_stock or read is on_the_primary else "db2"]
        second = proxies["db2"]
        shop.configure(proxies=proxies, HOST=second.host, PORT=second.port)
        shop.warm()
        for count in range(LONGEST):
            rule = node.cut_at_byte(count, toward="client", pattern="SELECT.*shop_author")
            rows = told(read)
            rule.cancel()
            if not rule.fired:
                assert count > len("".join(NAMES))
                return found
            if rows != NAMES:
                found[count] = rows
            shop.forget()
    raise AssertionError("the answer has no end")


@both()
def test_the_first_read_of_a_block(shop: EitherShop) -> None:
    """BEGIN and the read are one packet; the answer to the read is cut in its columns."""
    assert wrong(shop, in_a_block) == {}


@both()
def test_a_read_by_a_cursor(shop: EitherShop) -> None:
    assert wrong(shop, by_a_cursor) == {}


@both()
def test_a_read_outside_a_block(shop: EitherShop) -> None:
    assert wrong(shop, outside) == {}


@both()
def test_the_first_read_on_the_primary(shop: EitherShop) -> None:
    assert wrong(shop, on_the_primary) == {}


@both()
def test_a_read_that_waits_for_an_own_write(shop: EitherShop) -> None:
    """The wait and the read are one packet."""
    assert wrong(shop, after_a_write) == {}

"""A key that a replay has set for one insert goes to another one."""

from __future__ import annotations

from django.db import connection, transaction

from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Author, Tag


def key_far_ahead() -> int:
    """A key that neither table comes to by itself."""
    drawn = [Tag.objects.create(name="last").pk, Author.objects.create(name="last").pk]
    return max(drawn) + 1000


def insert_with_own_key(key: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_author (id, name) VALUES (%s, 'Ann')", [key])


@both()
def test_the_next_insert_has_a_key_of_its_own(shop: EitherShop) -> None:
    """The replay of a raw insert that names its key says SET INSERT_ID, and nothing uses it up."""
    key = key_far_ahead()
    with transaction.atomic():
        insert_with_own_key(key)
        shop.lose_primary()
        tag = Tag.objects.create(name="new")
    assert tag.pk < key


@both()
def test_the_next_insert_into_the_same_table_succeeds(shop: EitherShop) -> None:
    """Else it draws the key that is there already."""
    key = key_far_ahead()
    with transaction.atomic():
        insert_with_own_key(key)
        shop.lose_primary()
        bob = Author.objects.create(name="Bob")
    assert bob.pk > key


@both()
def test_the_next_transaction_has_keys_of_its_own(shop: EitherShop) -> None:
    """What is left over stays with the connection, not with the transaction."""
    key = key_far_ahead()
    with transaction.atomic():
        insert_with_own_key(key)
        shop.lose_primary()
        assert Author.objects.filter(pk=key).exists()
    assert Tag.objects.create(name="new").pk < key

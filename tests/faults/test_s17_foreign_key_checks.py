"""Foreign keys are no longer checked on a connection on which a replay has failed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from galera_router.exceptions import ReplayMismatch
from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.integration.support import elsewhere
from tests.integration.test_conflicts import insist
from tests.shop.models import Author, Book, Tag

NOBODY = 5_000_000


class Undo(Exception):
    """Undoes a block, where there is nothing that does so by itself."""


def write_checked() -> None:
    """Foreign keys are checked: nobody has the key of the author."""
    with pytest.raises(IntegrityError):
        Book.objects.create(author_id=NOBODY, title="by nobody")


@both()
def test_a_mismatch_in_a_block_without_checks(shop: EitherShop) -> None:
    """The replay has begun with SET foreign_key_checks = 0; what follows does not undo it."""
    checks_off = connection.constraint_checks_disabled()
    with suppress(ReplayMismatch, Undo), transaction.atomic(), checks_off:
        assert not Author.objects.exists()
        if shop.is_stock:
            raise Undo
        elsewhere(lambda: Author.objects.create(name="Ann"))
        shop.lose_primary()
        Tag.objects.create(name="not to be")
    write_checked()


@both()
def test_a_conflict_in_a_block_that_begins_without_checks(shop: EitherShop) -> None:
    """The connection stays the same, and the replay begins with the SET again."""
    Book.objects.create(author=Author.objects.create(name="Ann"), title="t")
    checks_off = connection.constraint_checks_disabled()
    with suppress(DatabaseError, Undo), transaction.atomic(), checks_off:
        assert Book.objects.get().stock == 0
        if shop.is_stock:
            raise Undo
        Book.objects.update(stock=1)
        insist(shop.galera["db2"], "UPDATE galera_router.shop_book SET stock = 100")
        Tag.objects.create(name="not to be")
    write_checked()


@both()
def test_a_mismatch_after_a_block_without_checks(shop: EitherShop) -> None:
    """The checks are on again, but the replay does not come to where they were turned on."""
    with suppress(ReplayMismatch, Undo), transaction.atomic():
        with connection.constraint_checks_disabled():
            assert not Author.objects.exists()
        if shop.is_stock:
            raise Undo
        elsewhere(lambda: Author.objects.create(name="Ann"))
        shop.lose_primary()
        Tag.objects.create(name="not to be")
    write_checked()

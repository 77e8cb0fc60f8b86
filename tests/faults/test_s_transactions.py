"""Silent faults: what a transaction promises, and does not keep."""

from __future__ import annotations

import pytest
from django.db import transaction

from tests.faults.known import fault
from tests.faults.support import EitherShop
from tests.shop.models import Author


@fault("S2")
def test_a_block_on_the_alias_of_a_queryset_is_undone(shop: EitherShop) -> None:
    """``atomic(using=queryset.db)`` is a transaction, whatever alias that names."""
    author = Author.objects.create(name="Ann")
    shop.settle()
    shop.forget()
    alias = Author.objects.all().db
    with pytest.raises(ValueError, match="undo"), transaction.atomic(using=alias):
        author.name = "Bob"
        author.save()
        raise ValueError("undo")
    assert shop.everywhere("SELECT name FROM galera_router.shop_author") == [("Ann",)]

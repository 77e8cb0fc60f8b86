"""A row that was locked is locked on the primary, until the block ends."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from MySQLdb import OperationalError

from tests.integration.support import Shop
from tests.shop.models import Book

LOCK = "SELECT id FROM galera_router.shop_book FOR UPDATE NOWAIT"
LOCK_WAIT = 1205


@pytest.mark.parametrize("how", [{}, {"nowait": True}, {"skip_locked": True}])
def test_another_client_is_refused(shop: Shop, how: dict[str, Any]) -> None:
    shop.stock()
    with transaction.atomic():
        assert Book.objects.select_for_update(**how).get().stock == 10
        with pytest.raises(OperationalError) as caught:
            shop.galera["db1"].query(LOCK)
        assert caught.value.args[0] == LOCK_WAIT
    assert len(shop.galera["db1"].query(LOCK)) == 1

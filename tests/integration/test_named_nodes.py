"""A transaction that names a node's alias is one of the cluster: writes belong to it."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from tests.integration.support import Shop
from tests.shop.models import Tag

NODES = ["default_db1", "default_db2"]

named = pytest.mark.parametrize("alias", NODES)


@named
def test_a_write_is_undone_with_the_block(shop: Shop, alias: str) -> None:
    with pytest.raises(ValueError, match="undo"), transaction.atomic(using=alias):
        Tag.objects.create(name="new")
        raise ValueError("undo")
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == []


@named
def test_a_hook_waits_for_the_commit_of_the_cluster(shop: Shop, alias: str) -> None:
    ran: list[str] = []
    with transaction.atomic():
        transaction.on_commit(lambda: ran.append("hook"), using=alias)
        assert ran == []
    assert ran == ["hook"]


@named
def test_the_cluster_is_in_the_block(shop: Shop, alias: str) -> None:
    with transaction.atomic(using=alias):
        assert connection.in_atomic_block
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic(durable=True):
            pass

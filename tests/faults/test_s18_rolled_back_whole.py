"""An error that has rolled back the whole transaction, and that the block goes on after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections, transaction

from galera_router import expand
from galera_router.testing import GaleraCluster
from galera_router.testing.admin import open_connection
from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.integration.support import elsewhere, use_databases
from tests.shop.models import Author, Tag

ONE_SECOND = "SET SESSION innodb_lock_wait_timeout = 1"
SNAPSHOTS = {
    "init_command": "SET SESSION innodb_snapshot_isolation = 1",
    "isolation_level": "repeatable read",
}


class Undo(Exception):
    """Undoes a block."""


def undone(failing: Callable[[], Any]) -> None:
    """Run ``failing`` in a block, go on after its error, and undo the block."""
    with suppress(Undo), transaction.atomic():
        Tag.objects.create(name="before")
        with pytest.raises(OperationalError):
            failing()
        Tag.objects.create(name="after")
        raise Undo


def change(name: str) -> None:
    """By a cursor: a queryset's update() would mark the block as one to be rolled back."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_author SET name = %s", [name])


def change_behind_a_snapshot() -> None:
    """Somebody else changes the row that the block has seen: error 1020."""
    assert Author.objects.get().name == "Ann"
    elsewhere(lambda: change("Bob"))
    change("Cid")


@pytest.mark.parametrize("option", [{"conflict_retries": 0}, {"failover_enable": False}])
@both()
def test_a_row_newer_than_the_snapshot(shop: EitherShop, option: dict[str, Any]) -> None:
    shop.configure(OPTIONS={**SNAPSHOTS, **option})
    Author.objects.create(name="Ann")
    undone(change_behind_a_snapshot)
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == []


@pytest.fixture(scope="module")
def strict_cluster(migrated: GaleraCluster) -> Iterator[GaleraCluster]:
    """A server of its own, where a lock that is waited for in vain ends the transaction."""
    with GaleraCluster(size=1, options=["--innodb-rollback-on-timeout=ON"]) as cluster:
        use_databases(expand(cluster.databases()))
        call_command("migrate", "galera_router", verbosity=0)
        with connection.schema_editor() as editor:
            editor.create_model(Author)
            editor.create_model(Tag)
        yield cluster
        connections.close_all()


@both()
def test_a_lock_waited_for_in_vain(strict_cluster: GaleraCluster, side: str) -> None:
    EitherShop(strict_cluster, side).configure(
        OPTIONS={"init_command": ONE_SECOND, "conflict_retries": 0}
    )
    node = strict_cluster.nodes[0]
    node.query("DELETE FROM galera_router.shop_author")
    node.query("DELETE FROM galera_router.shop_tag")
    Author.objects.create(name="Ann")
    with closing(open_connection(node.socket)) as holder:
        holder.query("START TRANSACTION")
        holder.query("UPDATE galera_router.shop_author SET name = 'Cid'")
        undone(lambda: change("Bob"))
    assert node.query("SELECT name FROM galera_router.shop_tag") == []

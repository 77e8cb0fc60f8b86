"""What is done to single nodes, and how soon that is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from galera_router.cluster import monitor
from galera_router.cluster import nodes as registry
from galera_router.testing import GaleraNode
from galera_router.testing.admin import open_connection
from tests.faults.support import EitherShop
from tests.integration.support import wait_until
from tests.shop.models import Tag


@contextmanager
def stalled(node: GaleraNode, table: str) -> Iterator[None]:
    """Lock ``table`` as a backup does: the applier waits, and the node stays Synced."""
    with closing(open_connection(node.socket)) as backup:
        backup.query(f"LOCK TABLES galera_router.{table} READ")
        yield


@contextmanager
def backed_up(node: GaleraNode) -> Iterator[Callable[[], None]]:
    """Gives what has the server block commits, as mariabackup does; undone after the block."""
    with closing(open_connection(node.socket)) as backup:

        def begin() -> None:
            for stage in ("START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"):
                backup.query(f"BACKUP STAGE {stage}")

        yield begin


def be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are asked often, and one that is back is the primary again at once."""
    monkeypatch.setattr(registry.Cluster, "failback_delay", 0.0)
    monkeypatch.setattr(registry, "FAILBACK_SLOT", 0.1)
    monkeypatch.setattr(registry, "STARTED", 0.0)
    monkeypatch.setattr(monitor, "ASK_WELL", 0.3)
    monkeypatch.setattr(monitor, "ASK_ILL", 0.3)


def fail_over(shop: EitherShop) -> None:
    """Have db1 take nothing, and write through db2; on stock Django nothing is done."""
    if shop.is_stock:
        return
    shop.galera["db1"].reject_queries()
    Tag.objects.create(name="through db2")
    assert shop.writing.name == "db2"


def fail_back(shop: EitherShop) -> None:
    """Have db1 take all again, and wait until it is the primary."""
    if shop.is_stock:
        return
    cluster = shop.session.cluster
    shop.galera["db1"].accept_queries()
    wait_until(lambda: cluster.primary() is cluster.nodes[0])

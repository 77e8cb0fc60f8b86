"""A write that went to another node than the one that its thread had written to before."""

from __future__ import annotations

import pytest

from tests.faults.known import both
from tests.faults.nodes import be_quick, fail_back, fail_over, stalled
from tests.faults.support import EitherShop
from tests.shop.models import Tag


@both(stock=False)
def test_a_read_on_the_old_primary_includes_the_write(
    shop: EitherShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write is noted as one on db2, which it has left before the node was chosen anew."""
    be_quick(monkeypatch)
    second = shop.galera["db2"]
    shop.configure(HOST=second.host, PORT=second.port, OPTIONS={"wsrep_sync_timeout": 1.0})
    shop.warm()
    fail_over(shop)
    fail_back(shop)
    shop.settle()
    with stalled(second, "shop_tag"):
        Tag.objects.create(name="through db1")
        assert shop.writing.name == "db1"
        assert Tag.objects.count() == 2

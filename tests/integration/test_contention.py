"""Many read, change and save one row: whoever has failed some times gets its turn."""

from __future__ import annotations

import pytest

from tests.benchmarks.contention import in_threads
from tests.integration.support import Shop
from tests.shop.models import Book

SECONDS, WORKERS = 6.0, 8


@pytest.mark.parametrize("guard", [True, False])
def test_none_fails(shop: Shop, guard: bool) -> None:
    """Without the guard, what was read on a secondary is compared all the same."""
    shop.configure(OPTIONS={"lost_update_guard": guard})
    shop.stock()
    found = in_threads(WORKERS, SECONDS if guard else SECONDS / 2)
    assert [error for tally in found for error in tally.failed] == []
    assert min(tally.done for tally in found) > 0
    done = sum(tally.done for tally in found)
    if guard:
        assert Book.objects.using("default").get().stock == 10 + done

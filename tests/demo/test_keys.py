"""Nobody in the demo assumes that the first account has number 1."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from demo.load import HOST, Walk
from demo.site import Site
from demo.tally import Tally
from demo.visitor import Visitor

from galera_router.testing import GaleraCluster
from tests.demo.running import new_bank

SECONDS, WALKS = 0.5, 8


@pytest.mark.parametrize("offset", [2, 3])
def test_the_bank_is_opened_on_another_node(
    galera: GaleraCluster, tmp_path: Path, offset: int
) -> None:
    """Each node of a cluster draws keys of its own: 1, 4, 7 on one, 2, 5, 8 on another."""
    ask = "SELECT @@GLOBAL.auto_increment_offset"
    primary = next(node.name for node in galera.nodes if node.query(ask) == [(offset,)])
    own = {"DJANGO_SETTINGS_MODULE": "bank_site.settings"}
    with new_bank(galera, "test_keys") as url, Site(url, tmp_path / "log", **own) as site:
        site.manage("migrate", "--verbosity=0")
        site.manage("galera_switchover", primary)
        site.manage("seed_bank", "--accounts=3")
        site.start()
        assert "1" not in Visitor(HOST, site.port).get("/transfer/").options()
        tally = Tally()
        for seed in range(WALKS):
            Walk(site.port, time.monotonic() + SECONDS, tally, seed).run()
    assert tally.requests > 5
    assert tally.errors == Counter()
    assert any(asked.outcome == "made" for asked in tally.asked)

"""What ``dumpdata`` writes and ``loaddata`` puts back, on a cluster that goes on meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.management import call_command

from galera_router.cluster.failback import move
from tests.integration.support import Shop
from tests.shop.models import Tag

EPOCH = "SELECT epoch, server FROM galera_router.galera_router_epoch"
SLOTS = "SELECT slot FROM galera_router.galera_router_slot ORDER BY slot"


@pytest.mark.parametrize("every", [False, True], ids=["", "--all"])
def test_a_dump_has_no_epoch_and_no_marker(shop: Shop, tmp_path: Path, every: bool) -> None:
    """Put back, they would set the cluster back to a primary that it has no more."""
    dump = tmp_path / "dump.json"
    Tag.objects.create(name="before")
    call_command("dumpdata", output=str(dump), use_base_manager=every, verbosity=0)
    move(shop.session.cluster.nodes[1], "by hand", held=True)
    Tag.objects.create(name="after")
    before = shop.everywhere(EPOCH), shop.everywhere(SLOTS)

    call_command("loaddata", str(dump), verbosity=0)

    assert (shop.everywhere(EPOCH), shop.everywhere(SLOTS)) == before
    labels = {entry["model"].partition(".")[0] for entry in json.loads(dump.read_text())}
    assert "shop" in labels
    assert "galera_router" not in labels
    Tag.objects.create(name="afterwards")
    assert shop.writing.name == "db2"

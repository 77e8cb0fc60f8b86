"""A write hidden in a SELECT is not told as success where its COMMIT was lost.

Whether the transaction had anything to commit is found out by running its reads again in a
read-only one, which the server refuses at the hidden write. Where that takes more than one
packet, it must come to it also if a read before it gives another answer than before.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from tests.faults.known import both
from tests.faults.server import tags
from tests.faults.support import EitherShop

pytestmark = pytest.mark.usefixtures("routines")

#: More than goes into one packet of a replay.
LONG = 600 * 1024


def written(shop: EitherShop, options: dict[str, Any], filler: str, changed: bool) -> None:
    """Read, have a function write, and lose the COMMIT: success is told only if it is there.

    Args:
        shop: the shop.
        options: of the database.
        filler: what makes the statement longer.
        changed: somebody else changes meanwhile what was read.
    """
    options = {"optimistic_transactions": False, **options}
    with shop.proxied(OPTIONS=options) as proxies:
        shop.stock()
        shop.warm()
        told = True
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT stock FROM shop_book")
                cursor.execute("SELECT shop_tagged('hidden'), LENGTH(%s)", [filler])
                if changed:
                    shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 5")
                proxies["db1"].drop("^COMMIT", cut=True)
        except DatabaseError:
            told = False
        assert tags(shop) == (["hidden"] if told else [])


SPLIT: dict[str, tuple[dict[str, Any], str]] = {
    "multi_statements off": ({"multi_statements": False}, ""),
    "long": ({}, "x" * LONG),
}
split = pytest.mark.parametrize(("options", "filler"), SPLIT.values(), ids=SPLIT)


@both()
@split
def test_in_several_packets(shop: EitherShop, options: dict[str, Any], filler: str) -> None:
    """What was read has changed: the reads behind it are not made again."""
    written(shop, options, filler, changed=True)


@both()
@split
def test_in_several_packets_where_nothing_has_changed(
    shop: EitherShop, options: dict[str, Any], filler: str
) -> None:
    """So it is already."""
    written(shop, options, filler, changed=False)


@both()
@pytest.mark.parametrize("changed", [True, False])
def test_in_one_packet(shop: EitherShop, changed: bool) -> None:
    """So it is already."""
    written(shop, {}, "", changed=changed)

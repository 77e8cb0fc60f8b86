"""What several tests of known faults do to the servers, and to what is under way on them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from galera_router.testing import GaleraNode
from tests.differential.interrupts import Interrupts
from tests.faults.support import EitherShop

_TAG = "INSERT INTO galera_router.shop_tag (name) VALUES"

_FAIL = "SIGNAL SQLSTATE '45000'"

#: Stored routines of the shop: kind and name, then the rest of what makes them.
ROUTINES = {
    "PROCEDURE shop_add": f"(tag TEXT) {_TAG} (tag)",
    "PROCEDURE shop_count": "(OUT found INT) SELECT COUNT(*) INTO found FROM"
    " galera_router.shop_tag",
    "PROCEDURE shop_fail": f"(tag TEXT) BEGIN {_TAG} (tag); {_FAIL}; END",
    "PROCEDURE shop_hide": "() BEGIN CREATE TEMPORARY TABLE galera_router.shop_book"
    f" (id INT PRIMARY KEY); {_FAIL}; END",
    "PROCEDURE shop_meet": f"(tag TEXT, number INT) BEGIN {_TAG} (tag); COMMIT; START TRANSACTION;"
    f" {_TAG} ('left'); SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = number; END",
    "PROCEDURE shop_remember": "() SET @shop = 7",
    "PROCEDURE shop_restart": f"(one TEXT, two TEXT) BEGIN {_TAG} (one); COMMIT;"
    f" START TRANSACTION; {_TAG} (two); END",
    "PROCEDURE shop_tags": "() SELECT COUNT(*) FROM galera_router.shop_tag",
    "FUNCTION shop_tagged": f"(tag TEXT) RETURNS INT BEGIN {_TAG} (tag); RETURN 1; END",
}


@contextmanager
def routines_of(node: GaleraNode) -> Iterator[None]:
    """Have the shop's stored routines on all nodes for the time of the block."""
    for name, rest in ROUTINES.items():
        kind, plain = name.split()
        node.query(f"CREATE OR REPLACE {kind} galera_router.{plain} {rest}")
    yield
    for name in ROUTINES:
        kind, plain = name.split()
        node.query(f"DROP {kind} IF EXISTS galera_router.{plain}")


@contextmanager
def secondaries_held(shop: EitherShop) -> Iterator[None]:
    """Keep db2 and db3 from applying what is written, for the time of the block."""
    with contextlib.ExitStack() as stack:
        for name in ("db2", "db3"):
            stack.enter_context(shop.galera[name].hold_applier())
        yield


def cut_primary(shop: EitherShop) -> None:
    """Cut all connections to the primary; stock Django, which would only fail, is spared."""
    if not shop.is_stock:
        shop.galera["db1"].kill_connections()
        time.sleep(0.1)


def tags(shop: EitherShop) -> list[str]:
    """The names of the tags, the same on all nodes, sorted."""
    rows = shop.everywhere("SELECT name FROM galera_router.shop_tag")
    return sorted(name for (name,) in rows)


def _is_answer(event: str, argument: Any) -> bool:
    """Whether the driver's C call that sends a statement and waits has returned."""
    return event == "c_return" and getattr(argument, "__name__", "") == "query"


class Counted(Interrupts):
    """Counts the points of the block, and notes the first at which the server has answered."""

    first = 0

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        super()._profile(frame, event, argument)
        if not self.first and _is_answer(event, argument):
            self.first = self.count


class AfterAnswer(Interrupts):
    """Raises when the server has answered, at the packet ``at``, counted from 1."""

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if _is_answer(event, argument):
            super()._profile(frame, event, argument)

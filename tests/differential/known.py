"""The known faults, and how a difference is recognised as one of them.

When a fault is mended its rule goes, and its examples must no longer differ. A sign is as narrow as
it can be: a broad one hides what is new.
"""

from __future__ import annotations

from tests.differential.compare import Difference
from tests.differential.rules import FaultRule, Rule, at, op, raised, sql


def _raised_at_the_driver(difference: Difference) -> bool:
    return difference.what == "driver" and raised("InterfaceError 0")(difference)


def _no_key(difference: Difference) -> bool:
    stock, router = difference.stock, difference.router
    lists = isinstance(stock, list) and isinstance(router, list)
    return lists and stock[:2] == router[:2] and router[2:] == [0]


KNOWN: tuple[Rule | FaultRule, ...] = (
    Rule(
        "D9",
        "FOUND_ROWS() behind a read of a secondary, ROW_COUNT() behind no statement on data.",
        sql("FOUND_ROWS()", "ROW_COUNT()"),
        at("execute_count", "cursor_fetch"),
    ),
    Rule(
        "D1",
        "After connection.close() in a block the driver's connection gives InterfaceError.",
        op("close", "close_old"),
        _raised_at_the_driver,
    ),
    Rule(
        "D7",
        "The lastrowid of a SELECT on a cursor of the driver's own is not the key drawn before.",
        op("driver"),
        _no_key,
    ),
)

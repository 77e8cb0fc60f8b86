"""The known faults, and how a difference is recognised as one of them.

When a fault is mended its rule goes, and its examples must no longer differ. A sign is as narrow as
it can be: a broad one hides what is new.
"""

from __future__ import annotations

import re

from tests.differential.compare import Difference
from tests.differential.rules import FaultRule, Rule, op, sql


def _numbers(outcome: object) -> list[int]:
    return [int(number) for number in re.findall(r"-?\d+", str(outcome))]


def _rows_of_another(difference: Difference) -> bool:
    """Returns True for 0 and another number, or -1 and 1, in what ROW_COUNT() gave."""
    stock, router = _numbers(difference.stock), _numbers(difference.router)
    if difference.what not in ("execute_count", "cursor_fetch") or len(stock) != len(router):
        return False
    pairs = [pair for pair in zip(stock, router, strict=True) if pair[0] != pair[1]]
    return all(one == 0 or (one, other) == (-1, 1) for one, other in pairs)


def _more_is_there(difference: Difference) -> bool:
    return difference.kind == "tables" and len(difference.router) > len(difference.stock)


def _request_failed(difference: Difference) -> bool:
    return (difference.kind, difference.stock, difference.router) == ("status", 200, 500)


def _no_key(difference: Difference) -> bool:
    stock, router = difference.stock, difference.router
    lists = isinstance(stock, list) and isinstance(router, list)
    return lists and stock[:2] == router[:2] and router[2:] == [0]


KNOWN: tuple[Rule | FaultRule, ...] = (
    Rule(
        "S20",
        "ROW_COUNT() first on a connection, behind the end of a block, or behind a SELECT of"
        " LAST_INSERT_ID().",
        sql("ROW_COUNT()"),
        _rows_of_another,
    ),
    Rule(
        "D5",
        "A block commits what a raw START TRANSACTION had begun before it.",
        sql("START TRANSACTION"),
        _more_is_there,
    ),
    Rule(
        "D6",
        "A savepoint that LOCK TABLES has ended is told again at the end of the outer block.",
        op("execute_locks"),
        _request_failed,
    ),
    Rule(
        "D7",
        "The lastrowid of a SELECT on a cursor of the driver's own is not the key drawn before.",
        op("driver"),
        _no_key,
    ),
)

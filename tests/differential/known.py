"""The known faults, and how a difference is recognised as one of them.

When a fault is mended its rule goes, and its examples must no longer differ. A sign is as narrow as
it can be: a broad one hides what is new.
"""

from __future__ import annotations

from tests.differential.compare import Difference
from tests.differential.rules import FaultRule, Rule, op


def _request_failed(difference: Difference) -> bool:
    return (difference.kind, difference.stock, difference.router) == ("status", 200, 500)


def _no_key(difference: Difference) -> bool:
    stock, router = difference.stock, difference.router
    lists = isinstance(stock, list) and isinstance(router, list)
    return lists and stock[:2] == router[:2] and router[2:] == [0]


KNOWN: tuple[Rule | FaultRule, ...] = (
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

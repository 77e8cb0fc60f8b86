"""The known faults, and how a difference is recognised as one of them.

When a fault is mended its rule goes, and its examples must no longer differ.
"""

from __future__ import annotations

from tests.differential.compare import Difference
from tests.differential.rules import FaultRule, Rule, op, raised, sql


def _of_our_own_set_up(difference: Difference) -> bool:
    return (difference.stock, difference.router) == ([[1, [[0]]]], [[1, [[-1]]]])


KNOWN: tuple[Rule | FaultRule, ...] = (
    Rule(
        "D1",
        "After connection.close() in a block the errors are InterfaceError, which is no"
        " DatabaseError, where stock Django has 2006 or TransactionManagementError.",
        op("close", "close_old"),
        raised("InterfaceError 0"),
    ),
    Rule(
        "S20",
        "ROW_COUNT() first on a connection: a SELECT of our own was before it.",
        sql("ROW_COUNT()"),
        _of_our_own_set_up,
    ),
)

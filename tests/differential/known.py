"""The known faults, and how a difference is recognised as one of them.

When a fault is mended its rule goes, and its examples must no longer differ. A sign is as narrow as
it can be: a broad one hides what is new.
"""

from __future__ import annotations

from tests.differential.compare import Difference
from tests.differential.rules import FaultRule, Rule, at, op, raised, sql


def _raised_at_the_driver(difference: Difference) -> bool:
    return difference.what == "driver" and raised("InterfaceError 0")(difference)


def _more_is_there(difference: Difference) -> bool:
    return difference.kind == "tables" and len(difference.router) > len(difference.stock)


def _failed_or_lost(difference: Difference) -> bool:
    if difference.kind == "tables":
        return len(difference.router) < len(difference.stock)
    return (difference.kind, difference.stock, difference.router) == ("status", 200, 500)


def _no_key(difference: Difference) -> bool:
    stock, router = difference.stock, difference.router
    lists = isinstance(stock, list) and isinstance(router, list)
    return lists and stock[:2] == router[:2] and router[2:] == [0]


def _found_no_node(difference: Difference) -> bool:
    return difference.kind == "hung" or raised("NoNodeAvailable")(difference)


KNOWN: tuple[Rule | FaultRule, ...] = (
    Rule(
        "S20",
        "ROW_COUNT() first on a connection, behind the end of a block, or behind a locking read;"
        " FOUND_ROWS() behind a read of a secondary.",
        sql("ROW_COUNT()", "FOUND_ROWS()"),
        at("execute_count", "cursor_fetch"),
    ),
    Rule(
        "D1",
        "After connection.close() in a block the driver's connection gives InterfaceError.",
        op("close", "close_old"),
        _raised_at_the_driver,
    ),
    Rule(
        "D5",
        "A block commits what a raw START TRANSACTION had begun before it.",
        sql("START TRANSACTION"),
        _more_is_there,
    ),
    Rule(
        "D6",
        "A block under LOCK TABLES is taken for rolled back by the server after an error: what is"
        " written behind it is lost, or the error is told again at the end of the outer block.",
        op("execute_locks"),
        _failed_or_lost,
    ),
    Rule(
        "D8",
        "In a block that is to be rolled back no connection can be set up: no node is found.",
        op("driver"),
        _found_no_node,
    ),
    Rule(
        "D7",
        "The lastrowid of a SELECT on a cursor of the driver's own is not the key drawn before.",
        op("driver"),
        _no_key,
    ),
)

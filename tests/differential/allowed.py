"""Where the router may differ from stock Django: the whole list, each entry with its reason."""

from __future__ import annotations

from tests.differential.compare import Difference, exception
from tests.differential.faulty import Cut, Point
from tests.differential.language import Step
from tests.differential.rules import FaultRule, Rule, any_of, op, sql

OUT_OF_SYNC = ("OperationalError 2006", "ProgrammingError 2014")
NAMED = ("FailoverImpossible", "ReplayMismatch", "CommitOutcomeUnknown", "NoNodeAvailable")
LEAVES_UNREAD = any_of(op("unread", "cursor_execute"), sql("; "))


def _better(difference: Difference) -> bool:
    ours = exception(difference.router)
    return exception(difference.stock) in OUT_OF_SYNC and ours not in (*OUT_OF_SYNC, *NAMED)


def _closing_failed(difference: Difference) -> bool:
    ours = exception(difference.router)
    stock = exception(difference.stock)
    closed_late = difference.what == "closed at the end" and ours is None
    other = ours in ("TransactionManagementError", "ValueError", None)
    return stock == OUT_OF_SYNC[0] and (other or closed_late)


def _begun(difference: Difference) -> bool:
    told = exception(difference.stock), exception(difference.router)
    return told == (None, "OperationalError 1568")


def _set_up_is_seen(difference: Difference) -> bool:
    stock, router = difference.stock, difference.router
    if difference.what != "wrapper's calls" or not isinstance(router, int):
        return False
    return router > 0 and stock - router in (1, 2)


def _wrapper_acts(difference: Difference) -> bool:
    """It is not called, or what it does at a certain call comes at a later statement."""
    raised = exception(difference.stock), exception(difference.router)
    noted = difference.what == "wrapper's calls" or difference.what.endswith("wrapper read")
    return noted or "ValueError" in raised


def _still_there(difference: Difference) -> bool:
    at_fetch = difference.what == "cursor_fetch"
    return at_fetch and (difference.stock, difference.router) == (None, 1)


def _still_usable(difference: Difference) -> bool:
    """Stock Django's ping has met 2014."""
    return difference.what == "usable" and (difference.stock, difference.router) == (False, True)


def _ddl_elsewhere(difference: Difference) -> bool:
    return (difference.kind, difference.place) == ("nodes", "extra")


ALLOWED: tuple[Rule | FaultRule, ...] = (
    FaultRule(
        "run again",
        "A request whose transaction cannot be replayed is run again as a whole, as promised."
        " What it saw at last, and the tables, are the same.",
        lambda case: isinstance(case, Cut),
        lambda difference: difference.kind == "runs",
    ),
    FaultRule(
        "block cut short",
        "An exception at the very point at which a block is entered or left keeps Django from"
        " doing either, with stock Django as well; the two sides have other numbers of points.",
        lambda case: isinstance(case, Point),
        lambda difference: difference.kind == "left" and difference.what == "state",
    ),
    Rule(
        "unread",
        "An application that leaves answers unread gets 2014 from stock Django at its next"
        " statement, or the driver throws them away for another cursor's. The router sends that on"
        " another connection, or has read the answers.",
        LEAVES_UNREAD,
        lambda difference: (
            _better(difference) or _still_there(difference) or _still_usable(difference)
        ),
    ),
    Rule(
        "closed",
        "After connection.close() in a block Django refuses what follows; with stock Django the"
        " driver then cannot close its cursor, and that error, 2006, takes the place of Django's,"
        " or of what a wrapper has raised. Outside a block a cursor that was made before works on.",
        op("close", "close_old"),
        _closing_failed,
    ),
    Rule(
        "begun",
        "A block's transaction begins with its first statement but a savepoint; with stock Django"
        " with the first that uses a table. SET TRANSACTION in between is too late.",
        sql("SET TRANSACTION"),
        _begun,
    ),
    Rule(
        "locked",
        "Under LOCK TABLES a server refuses DDL on other tables with 1100, but only after Galera"
        " has sent it to the other nodes: with stock Django as well.",
        op("execute_locks"),
        _ddl_elsewhere,
    ),
    Rule(
        "set up",
        "With stock Django a wrapper also sees what sets a connection up, if that is opened within"
        " it. With the router it sees the application's statements.",
        op("wrapped"),
        _set_up_is_seen,
    ),
    Rule(
        "set up",
        "So a wrapper that does something at a certain call does it at another statement, and one"
        " around the driver's own cursor sees nothing; unless the connection is there before, and"
        " stays.",
        op("wrapped", "close", "close_old"),
        _wrapper_acts,
        first=Step("execute_read", ("SELECT 1",)),
    ),
    Rule(
        "keys",
        "A conflict that is replayed on the spot, and not told, may draw another key; the DDL of"
        " the other side, which runs at the same time, can bring one about.",
        op("execute_ddl"),
        lambda difference: difference.kind == "keys",
    ),
)

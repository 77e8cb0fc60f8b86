"""Where the router may differ from stock Django: the whole list, each entry with its reason."""

from __future__ import annotations

from tests.differential.compare import Difference, exception
from tests.differential.rules import Rule, any_of, op, sql

OUT_OF_SYNC = ("OperationalError 2006", "ProgrammingError 2014")
NAMED = ("FailoverImpossible", "ReplayMismatch", "CommitOutcomeUnknown", "NoNodeAvailable")
LEAVES_UNREAD = any_of(op("unread", "cursor_execute"), sql("; "))


def _better(difference: Difference) -> bool:
    ours = exception(difference.router)
    return exception(difference.stock) in OUT_OF_SYNC and ours not in (*OUT_OF_SYNC, *NAMED)


ALLOWED: tuple[Rule, ...] = (
    Rule(
        "unread",
        "An application that leaves answers unread gets 2014 from stock Django at its next"
        " statement. The router sends that on another connection, or has read the answers.",
        LEAVES_UNREAD,
        _better,
    ),
)

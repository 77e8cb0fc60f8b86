"""Conflicts and second runs that nothing explains. Pure.

A function that runs again, and a block that ends in a conflict, say that somebody else has
changed what they have read or were about to write. Every operation has noted what it reads and
writes, so the accounts of the others tell if that is true.

These are taken for an explanation:

- Another client wrote one of these rows, or a row of a table that was read as a whole, in an
  operation that overlaps the time from `EARLIER` seconds before the beginning to the end. That
  may be a snapshot which is a little old. Where a heavy fault strikes, a node may lag, and the time
  begins with the fault. A `ReplayMismatch` needs a change that may have been committed; for
  any other conflict, which is about locks, it is enough that the other one tried.
- For an operation that no failover can move (`Kind.loose`): any fault at that time.
- A fault that alters a table at that time.
- For an operation that inserts what may be there (``INSERT IGNORE``): another client inserted into
  the same table. The server locks gaps of its unique index, which is a conflict of rows that have
  nothing to do with each other; and in a replay the rows get other keys, which are read.
- While a heavy fault strikes that may take a node out of the cluster, or no node writes, since a
  view forms: another client inserted into the same table. The numbers of ``AUTO_INCREMENT`` are
  dealt out anew then, and a key that the node gave may be given again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence

from tests.chaos.faults import Window
from tests.chaos.ledger import Operation
from tests.chaos.plan import HEAVY

EARLIER = 1.0  # seconds that a snapshot may be older than the transaction that reads it
#: Told of what may be there.
COMMITTED = {"done", "wrong", "unknown", "doubt", "interrupted", "unheard"}
#: Heavy faults in which a node may leave the cluster.
LEAVE = {"kill", "freeze", "stop", "isolate", "stop-all"}
#: Faults that alter a table, which ends the transactions that are using it.
ALTER = {"alter-index", "alter-column"}

Span = tuple[float, float]


def is_alarm(operation: Operation) -> bool:
    """Returns True if the operation ran again, or ended in a conflict."""
    return operation.told == "conflict" or operation.runs > 1


def complaints(
    operations: Sequence[Operation],
    windows: Sequence[Window],
    of: Container[str] | None = None,
    dark: Sequence[Span] = (),
) -> list[str]:
    """Each alarm that nothing explains.

    Args:
        operations: of all clients.
        windows: the faults that have struck.
        of: the tokens of those to look at; None: all.
        dark: when no node wrote.
    """
    alarms = [one for one in operations if is_alarm(one) and (of is None or one.token in of)]
    others = Others(operations) if alarms else None
    return [
        _words(one)
        for one in alarms
        if others is not None and not _explained(one, others, windows, dark)
    ]


class Others:
    """Who wrote what: operations by row, by table, and by table that they insert into."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._writers: dict[str, list[Operation]] = defaultdict(list)
        self._inserters: dict[str, list[Operation]] = defaultdict(list)
        for one in operations:
            for name in {*one.writes, *(row.split()[0] for row in one.writes)}:
                self._writers[name].append(one)
            for table in _inserts(one):
                self._inserters[table].append(one)

    def wrote(self, operation: Operation) -> Iterator[Operation]:
        """Who wrote what ``operation`` reads or writes; a mere insert is in nobody's way."""
        rows = {row for row in operation.writes if " " in row}
        yield from self._of(operation, self._writers, {*operation.reads, *rows})

    def inserted(self, operation: Operation) -> Iterator[Operation]:
        """Who inserted into a table that ``operation`` inserts into."""
        yield from self._of(operation, self._inserters, _inserts(operation))

    def _of(
        self, operation: Operation, table: dict[str, list[Operation]], names: set[str]
    ) -> Iterator[Operation]:
        for name in names:
            for other in table.get(name, ()):
                if other.client != operation.client:
                    yield other


def _inserts(operation: Operation) -> set[str]:
    return {table for table, _ in (*operation.expect, *operation.may)}


def _explained(
    operation: Operation, others: Others, windows: Sequence[Window], dark: Sequence[Span]
) -> bool:
    end = math.inf if operation.end is None else operation.end
    during = [one for one in windows if _overlap((one.begin, one.end), operation.begin, end)]
    heavy = [one for one in during if one.strike.kind in HEAVY]
    since = min([operation.begin, *(one.begin for one in heavy)]) - EARLIER
    anew = (
        bool(operation.may)
        or any(one.strike.kind in LEAVE for one in heavy)
        or any(_overlap(span, operation.begin, end) for span in dark)
    )
    is_mismatch = operation.error.startswith("ReplayMismatch")
    return (
        (operation.loose and bool(during))
        or any(one.strike.kind in ALTER for one in during)
        or any(
            _may_have_changed(other, since, end, committed=is_mismatch)
            for other in others.wrote(operation)
        )
        or (
            anew
            and any(
                _may_have_changed(other, since, end, committed=False)
                for other in others.inserted(operation)
            )
        )
    )


def _may_have_changed(other: Operation, since: float, end: float, *, committed: bool) -> bool:
    if committed and other.told not in COMMITTED:
        return False
    return _overlap((other.begin, math.inf if other.end is None else other.end), since, end)


def _overlap(span: Span, begin: float, end: float) -> bool:
    return span[0] <= end and span[1] >= begin


def _words(operation: Operation) -> str:
    ran = f" ran {operation.runs} times" if operation.runs > 1 else ""
    rows = ", ".join(dict.fromkeys((*operation.reads, *operation.writes))) or "anything"
    return f"unexplained: {operation}{ran}, and nobody else had changed {rows}"

"""Compares the answers of a replay with those that the application has seen.

What nobody can notice is no difference: the order of rows that tie, which of them a LIMIT has cut
off, the last digits of a float that was added up in another order, a key that cannot be asked for.
A float that is stored is the same to the last digit, and so is compared.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from galera_router.recovery import selects
from galera_router.recovery.journal import Answer, Entry, Rows, digest
from galera_router.recovery.lexer import table_of
from galera_router.recovery.selects import Select

#: Floats that differ by less, relative to the larger one, are the same.
TOLERANCE = 1e-12
_DIGITS = 12  # of a float where rows are looked up
_CLOSE = 10.0 ** (1 - _DIGITS)
#: Rows that a second look may ask for beyond those that were seen.
LOOK_ROWS = 10_000
#: Seconds that a second look may take on the server.
LOOK_SECONDS = 5


class Kind(Enum):
    """What differs; the value says it of ``{table}``."""

    CHANGED = "a row read from {table} has changed"
    APPEARED = "a row has appeared in what was read from {table}"
    GONE = "a row read from {table} has gone"
    ORDER = "the order of the rows read from {table} has changed"
    COUNT = "a statement on {table} now changes another number of rows"
    KEY = "the key of a row inserted into {table} is not to be had any more"
    FAILS = "a statement on {table} now fails with error {error}"
    SUCCEEDS = "a statement on {table} that failed with error {error} now succeeds"
    OTHER_ERROR = "a statement on {table} now fails with error {error}, and with another one before"


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs in a replay. It names no value.

    Attributes:
        table: the first table of the statement; empty if it has none.
        kind: what differs.
        text: the same as a clause for a message.
    """

    table: str
    kind: Kind
    text: str


def difference(statement: bytes, kind: Kind, error: int = 0) -> Difference:
    """The difference ``kind`` in the answer to ``statement``."""
    table = table_of(statement)
    return Difference(table, kind, kind.value.format(table=table or "a table", error=error))


@dataclass(frozen=True, slots=True)
class Look:
    """A second look: which answers the new node could have given.

    Attributes:
        statement: asks for the rows, each with its rank, in their order.
        seen: the rows that the application was given.
        offset: how many rows came before them.
        whole: they were all that there were, and not cut off by a LIMIT.
        bound: how many rows ``statement`` gives at most.
        found: what differs, if they could not have been given.
        undecided: what differs if that cannot be told.
        exact: columns that are compared to the last digit.
    """

    statement: bytes
    seen: Rows
    offset: int
    whole: bool
    bound: int
    found: Difference
    undecided: Difference | None
    exact: frozenset[int] = frozenset()

    def judge(self, rows: Rows) -> Difference | None:
        """What differs, after the answer to :attr:`statement`; None if nothing does."""
        complete = len(rows) < self.bound
        if self.whole and complete and len(rows) != self.offset + len(self.seen):
            return self.found
        found = [_values(row) for row in rows]
        left = Counter((_canonical(row[:-1], self.exact), row[-1]) for row in found)
        seen = [_canonical(row, self.exact) for row in self.seen]
        for position, row in enumerate(seen, self.offset):
            rank = found[position][-1] if position < len(found) else None
            if not left[row, rank]:
                cut_off = not complete and rank in (None, found[-1][-1])
                return self.undecided if cut_off else self.found
            left[row, rank] -= 1
        return None


def compare(
    entry: Entry, other: Answer, *, key_matters: bool = True, backslashes: bool = True
) -> Difference | Look | None:
    """What the application could notice if it were given ``other`` in the place of its answer.

    Args:
        entry: the statement, and the answer that the application was given.
        other: another node's answer to it; it has rows if the first one had.
        key_matters: ``lastrowid`` can be asked for, and was kept.
        backslashes: a backslash escapes, in the session's SQL mode.

    Returns:
        None if nothing, and a :class:`Look` if another question has to be asked first.
    """
    mine = entry.answer
    if mine is None:
        return None
    if entry.digest is not None:
        same = other.rows is not None and digest(other.rows) == entry.digest
        return None if same else difference(entry.statement, Kind.CHANGED)
    if mine.rows is None and other.rows is not None:
        return difference(entry.statement, Kind.APPEARED)
    if mine.rows is None or other.rows is None:
        return _compare_numbers(entry, mine, other, key_matters=key_matters)
    if mine.rows == other.rows or selects.is_of_the_moment(
        entry.statement, backslashes=backslashes
    ):
        return None
    select = selects.parse(entry.statement, backslashes=backslashes)
    exact = selects.stored(select, _width(mine)) if select is not None else frozenset()
    if _same_in_order(mine.rows, other.rows, exact):
        return None
    return _compare_rows(entry, mine, other.rows, select, exact)


def _compare_numbers(
    entry: Entry, mine: Answer, other: Answer, *, key_matters: bool
) -> Difference | None:
    if mine.rowcount != other.rowcount:
        return difference(entry.statement, Kind.COUNT)
    if key_matters and (mine.lastrowid or 0) != (other.lastrowid or 0):
        return difference(entry.statement, Kind.KEY)
    return None


def _compare_rows(
    entry: Entry, mine: Answer, other: Rows, select: Select | None, exact: frozenset[int]
) -> Difference | Look | None:
    assert mine.rows is not None
    gone, new = _left_over(mine.rows, other, exact)
    if entry.insert:
        kind = Kind.KEY if gone and new else Kind.COUNT
        return difference(entry.statement, kind) if gone or new else None
    keys = selects.sort_columns(select, mine.names) if select is not None else None
    if not gone and not new:
        # Both are in the right order: where their keys are in the rows, only ties can differ.
        if not entry.ordered or keys is not None or select is None:
            return None
        order = difference(entry.statement, Kind.ORDER)
        return _look(select, mine, order, None, exact)
    kind = Kind.CHANGED if gone and new else Kind.GONE if gone else Kind.APPEARED
    found = difference(entry.statement, kind)
    if select is None or select.limit is None or select.locking:
        return found
    if not select.offset and min(len(mine.rows), len(other)) < select.limit:
        return found  # nothing was cut off
    if keys and not _may_tie(other, [*gone, *new], keys):
        return found
    return _look(select, mine, found, found, exact) or found


def _width(mine: Answer) -> int:
    if mine.columns:
        return len(mine.columns)
    return len(mine.rows[0]) if mine.rows else 0


def _look(
    select: Select,
    mine: Answer,
    found: Difference,
    undecided: Difference | None,
    exact: frozenset[int],
) -> Look | None:
    assert mine.rows is not None
    width = _width(mine)
    bound = select.offset + len(mine.rows) + LOOK_ROWS
    statement = selects.ranked(select, width, mine.names, bound) if width else None
    if statement is None:
        return None
    bounded = b"SET STATEMENT max_statement_time=%d FOR %s" % (LOOK_SECONDS, statement)
    whole = select.limit is None or len(mine.rows) < select.limit
    return Look(bounded, mine.rows, select.offset, whole, bound, found, undecided, exact)


def _may_tie(other: Rows, rows: Sequence[Any], keys: Sequence[int]) -> bool:
    """Returns True if all ``rows`` can be equal, under ORDER BY, to the first or last one given.

    It spares a large table the second look. Two texts may be equal to the server.
    """
    ends = [_sort_key(row, keys) for row in (other[0], other[-1])] if other else []
    return all(_sort_key(row, keys) in ends for row in rows)


def _sort_key(row: Any, keys: Sequence[int]) -> tuple[Any, ...]:
    values = _canonical(row)
    return tuple("" if isinstance(values[key], (str, bytes)) else values[key] for key in keys)


# --- rows -----------------------------------------------------------------------------------


def _values(row: Any) -> tuple[Any, ...]:
    """``row`` as a tuple; some cursors give a dictionary."""
    return tuple(row.values()) if isinstance(row, dict) else tuple(row)


def _same_in_order(mine: Rows, other: Rows, exact: frozenset[int]) -> bool:
    return len(mine) == len(other) and all(
        a == b or _same_row(_values(a), _values(b), TOLERANCE, exact)
        for a, b in zip(mine, other, strict=True)
    )


def _same_row(
    mine: tuple[Any, ...], other: tuple[Any, ...], tolerance: float, exact: frozenset[int]
) -> bool:
    return len(mine) == len(other) and all(
        a == b or (at not in exact and _close(a, b, tolerance))
        for at, (a, b) in enumerate(zip(mine, other, strict=True))
    )


def _close(mine: Any, other: Any, tolerance: float) -> bool:
    if not (isinstance(mine, float) and isinstance(other, float)):
        return False
    return math.isclose(mine, other, rel_tol=tolerance) or (mine != mine and other != other)


def _canonical(row: Any, exact: frozenset[int] = frozenset()) -> tuple[Any, ...]:
    """``row`` such that it can be looked up."""
    return tuple(_canonical_value(value, at in exact) for at, value in enumerate(_values(row)))


def _canonical_value(value: Any, exact: bool) -> Any:
    if isinstance(value, float) and not exact:
        return float(f"{value:.{_DIGITS}g}") if value == value else "nan"
    return repr(value) if value.__hash__ is None else value


def _left_over(mine: Rows, other: Rows, exact: frozenset[int]) -> tuple[list[Any], list[Any]]:
    """The rows of ``mine`` that ``other`` lacks, and the other way round, in any order."""
    before = Counter(_canonical(row, exact) for row in mine)
    now = Counter(_canonical(row, exact) for row in other)
    gone, new = list((before - now).elements()), list((now - before).elements())
    # Two floats that are next to each other may be rounded apart.
    if len(gone) == len(new) and all(
        _same_row(a, b, _CLOSE, exact) for a, b in zip(_sorted(gone), _sorted(new), strict=True)
    ):
        return [], []
    return gone, new


def _sorted(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    def key(row: tuple[Any, ...]) -> tuple[list[str], list[float]]:
        others = [repr(value) for value in row if not isinstance(value, float)]
        return others, [value for value in row if isinstance(value, float)]

    return sorted(rows, key=key)

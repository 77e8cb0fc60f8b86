"""Histories written by hand, one transaction a line.

::

    name session [aborted|unknown] [after=name,…]: x+1 y[1,2] r:=5 r=5
    end: x[1,2] r=5
    order: r[4,5]

``x+1`` appends 1 to the list x, ``y[1,2]`` reads the list y, ``r:=5`` writes the register r,
``r=5`` reads it, ``r=`` reads that nobody has written it. ``end`` is what is there at the end,
``order`` what the server has noted of a register. Lines are in the order of time.
"""

from __future__ import annotations

import re
from typing import Any

from tests.history.history import Append, History, Op, ReadList, ReadValue, Transaction, Write
from tests.history.levels import Level

_OP = re.compile(r"([^\s:=+\[]+)(\+|:=|=|\[)([^\s\]]*)\]?")


def parse(text: str, level: Level = Level.SERIALIZABLE) -> History:
    """The history that ``text`` is; all its transactions at ``level``."""
    transactions: list[Transaction] = []
    ends: dict[str, dict[str, Any]] = {"lists": {}, "registers": {}, "orders": {}}
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines()))):
        head, _, tail = line.partition(": ")
        ops = tuple(_op(word) for word in tail.split())
        if head in {"end", "order"}:
            _end(ends, head, ops)
        else:
            transactions.append(_transaction(head.split(), ops, level, float(number)))
    return History(tuple(transactions), **ends)


def _op(word: str) -> Op:
    match = _OP.fullmatch(word)
    if match is None:
        raise ValueError(f"{word} is no operation")
    key, sign, value = match.groups()
    if sign == "[":
        return ReadList(key, tuple(filter(None, value.split(","))))
    if sign == "=":
        return ReadValue(key, value or None)
    return Append(key, value) if sign == "+" else Write(key, value)


def _end(ends: dict[str, dict[str, Any]], head: str, ops: tuple[Op, ...]) -> None:
    for op in ops:
        if isinstance(op, ReadList):
            ends["orders" if head == "order" else "lists"][op.key] = op.values
        elif isinstance(op, ReadValue):
            ends["registers"][op.key] = op.value


def _transaction(words: list[str], ops: tuple[Op, ...], level: Level, begin: float) -> Transaction:
    name, session, *more = words
    outcome: Any = next((word for word in more if word in {"aborted", "unknown"}), "committed")
    after = next((word for word in more if word.startswith("after=")), "after=")[6:]
    return Transaction(
        name,
        session,
        ops,
        level,
        outcome,
        begin,
        begin + 0.5,
        tuple(filter(None, after.split(","))),
    )

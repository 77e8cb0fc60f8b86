"""The clients' accounts of what they read and wrote, for the checker of `tests.history`.

A line before a transaction says what it is about to write, a line after it what it has read. What
became of it says the account of its operation, see `ledger`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.books import Books
from tests.chaos.ledger import Operation, lines
from tests.history.check import complaints
from tests.history.history import (
    Append,
    History,
    Op,
    Outcome,
    ReadList,
    ReadValue,
    Transaction,
    Write,
)
from tests.history.levels import Level

LOOKS, BETWEEN = 20, 0.002  # for a token; seconds between two
_OPS: dict[str, type[Op]] = {one.__name__: one for one in (Append, ReadList, Write, ReadValue)}


@dataclass(frozen=True)
class Token:
    """A causal token, the transaction that it is of, and a row that this has written."""

    of: str
    text: str
    row: str


class Account:
    """The account of one client; nobody else writes to its files.

    Args:
        folder: the run's.
        client: its name.
    """

    def __init__(self, folder: Path, client: str) -> None:
        self._file = (folder / f"history-{client}.jsonl").open("a")
        self._new = folder / f"token-{client}.new"
        self._token = folder / "token.json"
        self.own: Token | None = None

    def begin(
        self, name: str, session: str, level: Level, plan: Iterable[Op], token: Token | None
    ) -> None:
        """A transaction is about to begin, which is to write what is in ``plan``."""
        writes = [op for op in plan if isinstance(op, Append | Write)]
        after = [] if token is None else [token.of]
        self._write(name=name, session=session, level=level.value, after=after,
                    begin=time.monotonic(), plan=_values(writes))  # fmt: skip

    def end(self, name: str, ops: Sequence[Op], level: Level | None, ahead: int | None) -> None:
        """It has been committed, and has read and written ``ops``.

        Args:
            level: another one than was expected; None: that one.
            ahead: as in `tests.history.history.Transaction`.
        """
        more = {} if level is None else {"level": level.value}
        self._write(name=name, end=time.monotonic(), ops=_values(ops), ahead=ahead, **more)

    def publish(self, token: Token) -> None:
        """Leave a token for all clients to take, in place of the one that was left before."""
        self.own = token
        self._new.write_text(json.dumps(vars(token)))
        os.replace(self._new, self._token)

    def take(self) -> Token | None:
        """The token that was left last, if there is any."""
        try:
            return Token(**json.loads(self._token.read_text()))
        except FileNotFoundError:
            return None

    def await_token(self) -> Token | None:
        """One that is left just now: what it names is on its way to the secondaries."""
        before = token = self.take()
        for _ in range(LOOKS):
            if token != before:
                break
            time.sleep(BETWEEN)
            token = self.take()
        return token

    def _write(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class Accounts(threading.local):
    """The account of each thread."""

    _account: Account | None = None

    def of(self, folder: Path, client: str) -> Account:
        if self._account is None:
            self._account = Account(folder, client)
        return self._account


def _values(ops: Iterable[Op]) -> list[list[Any]]:
    return [[type(op).__name__, *vars(op).values()] for op in ops]


def _op(values: list[Any]) -> Op:
    name, key, value = values
    make: Any = _OPS[name]
    op: Op = make(key, tuple(value) if isinstance(value, list) else value)
    return op


def read(folder: Path, operations: Iterable[Operation]) -> list[Transaction]:
    """The transactions of all clients whose accounts are in ``folder``."""
    told = {one.token: one for one in operations}
    return [
        _transaction(values, told.get(values["name"].partition(":")[0]))
        for path in sorted(folder.glob("history-*.jsonl"))
        for values in _merged(path)
    ]


def _merged(path: Path) -> Iterator[dict[str, Any]]:
    known: dict[str, dict[str, Any]] = {}
    for line in lines(path):
        known.setdefault(line["name"], {}).update(line)
    return iter(known.values())


def _transaction(values: dict[str, Any], operation: Operation | None) -> Transaction:
    outcome = _outcome(values, operation)
    noted = values["ops"] if outcome == "committed" else values["plan"]
    return Transaction(
        values["name"],
        values["session"],
        tuple(_op(one) for one in noted),
        Level(values["level"]),
        outcome,
        values["begin"],
        values.get("end", values["begin"]),
        tuple(values["after"]),
        values.get("ahead"),
    )


def _outcome(values: dict[str, Any], operation: Operation | None) -> Outcome:
    if "end" in values:
        return "committed"
    if operation is not None and operation.told in {"raised", "conflict", "impossible"}:
        return "aborted"
    return "unknown"


def history(books: Books, transactions: Sequence[Transaction]) -> History:
    """All accounts, and what one node holds at the end."""
    used = {op.key for one in transactions for op in one.ops}
    lists = {f"list {key}": values(body) for key, body in books.tables["series"]}
    noted: dict[str, list[tuple[int, str]]] = {}
    for _, register, value, version in books.tables["noted"]:
        noted.setdefault(f"register {register}", []).append((version, value))
    orders = {key: tuple(value for _, value in sorted(pairs)) for key, pairs in noted.items()}
    registers = {f"register {key}": value or None for key, value in books.tables["register"]}
    return History(
        tuple(transactions),
        {key: there for key, there in lists.items() if key in used or there},
        {key: value for key, value in registers.items() if key in used or value},
        {key: orders.get(key, ()) for key in registers if key in used or key in orders},
    )


def values(body: str) -> tuple[str, ...]:
    """What a list's text holds."""
    return tuple(body.split(",")[1:])


def wrong(folder: Path, books: Books, operations: Sequence[Operation]) -> list[str]:
    """All that the history of a run has against it."""
    found = complaints(history(books, read(folder, operations)))
    return [str(one) for one in found]

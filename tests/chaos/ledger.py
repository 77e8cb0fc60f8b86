"""Every client's own account of what it did and what it was told, in a file of its own.

A line before an operation says what is about to be done, a line after it what came of it. So an
operation that never came back is known, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

BRIEF = 120  # characters of an error in a line about its operation

#: ``done``: the call returned. ``conflict``: the error that a plain with block may meet.
#: ``doubt``: CommitOutcomeUnknown. ``raised``: another error. ``wrong``: the call returned
#: something that cannot be. ``unheard``: it never came back.
Told = Literal["done", "conflict", "doubt", "raised", "wrong", "unheard"]


@dataclass
class Operation:
    """One operation of one client.

    Attributes:
        token: its name, found nowhere else.
        kind: of `workloads.KINDS`.
        begin, end: monotonic seconds, the same clock for all processes.
        expect: (table, token) of each row that it leaves if it is done, and not otherwise.
        keys: "table token" and the key that the client was told of that row.
        runs: how often its function ran.
    """

    token: str
    kind: str
    begin: float
    expect: tuple[tuple[str, str], ...] = ()
    end: float | None = None
    told: Told = "unheard"
    error: str = ""
    keys: dict[str, int] = field(default_factory=dict)
    runs: int = 1

    @property
    def seconds(self) -> float:
        return (self.end or self.begin) - self.begin

    def __str__(self) -> str:
        error = f" ({self.error[:BRIEF]})" if self.error else ""
        return f"{self.kind} {self.token}, {self.told}{error}"


class Ledger:
    """The account of one thread; nobody else writes to its file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")

    def begin(self, operation: Operation) -> None:
        """Note what is about to be done."""
        values = vars(operation)
        self._write({name: values[name] for name in ("token", "kind", "begin", "expect")})

    def end(self, operation: Operation) -> None:
        """Note what came of it."""
        values = vars(operation)
        self._write(
            {name: values[name] for name in ("token", "end", "told", "error", "keys", "runs")}
        )

    def close(self) -> None:
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def read(folder: Path) -> list[Operation]:
    """The operations of all clients whose accounts are in ``folder``."""
    return [one for path in sorted(folder.glob("client-*.jsonl")) for one in _read(path)]


def _read(path: Path) -> Iterator[Operation]:
    known: dict[str, dict[str, Any]] = {}
    for line in lines(path):
        known.setdefault(line["token"], {}).update(line)
    for values in known.values():
        values["expect"] = tuple((table, token) for table, token in values["expect"])
        yield Operation(**values)


def lines(path: Path) -> Iterator[Any]:
    """The values in a file of JSON lines; one that its writer's death has cut off is left out."""
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)

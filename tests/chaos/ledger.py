"""Every client's own account of what it did and what it was told, in a file of its own.

A line before an operation says what is about to be done, a line after it what came of it. So an
operation that never came back is known, too.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

BRIEF = 120  # characters of an error in a line about its operation

#: ``done``: the call returned. ``conflict``: the error that a plain with block may meet.
#: ``impossible``: FailoverImpossible, where nothing could be moved. ``unknown``:
#: CommitOutcomeUnknown, where it may be told. ``doubt``: the same elsewhere. ``raised``: another
#: error. ``wrong``: the call returned something that cannot be. ``interrupted``: the run itself
#: has ended the call, or its process, so that nobody was told. ``unheard``: it never came back.
Told = Literal[
    "done", "conflict", "impossible", "unknown", "doubt", "raised", "wrong", "interrupted",
    "unheard",
]  # fmt: skip

#: (table, token) of rows.
Rows = tuple[tuple[str, str], ...]
_ROWS = ("expect", "may", "removes", "won")
_BEFORE = ("token", "kind", "begin", "expect", "may", "removes", "reads", "writes", "loose",
           "atomic")  # fmt: skip
_AFTER = ("token", "end", "told", "error", "keys", "runs", "won")


@dataclass
class Operation:
    """One operation of one client.

    Attributes:
        token: its name, found nowhere else.
        kind: of `workloads.KINDS`.
        begin, end: monotonic seconds, the same clock for all processes.
        expect, may, won, removes, reads, writes: as in `jobs.Job`.
        loose: as in `jobs.Kind`.
        atomic: all of its rows are there, or none.
        keys: "table token" and the key that the client was told of that row.
        runs: how often its function ran.
    """

    token: str
    kind: str
    begin: float
    expect: Rows = ()
    end: float | None = None
    told: Told = "unheard"
    error: str = ""
    keys: dict[str, int] = field(default_factory=dict)
    runs: int = 1
    may: Rows = ()
    won: Rows = ()
    removes: Rows = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    loose: bool = False
    atomic: bool = False

    @property
    def client(self) -> str:
        """Whose it is."""
        return self.token.rpartition(".")[0]

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
        self._write(operation, _BEFORE)

    def end(self, operation: Operation) -> None:
        """Note what came of it."""
        self._write(operation, _AFTER)

    def close(self) -> None:
        self._file.close()

    def _write(self, operation: Operation, names: Iterable[str]) -> None:
        values = vars(operation)
        self._file.write(json.dumps({name: values[name] for name in names}) + "\n")
        self._file.flush()


def read(folder: Path) -> list[Operation]:
    """The operations of all clients whose accounts are in ``folder``."""
    return Accounts(folder).read()


def without_lost(operations: Iterable[Operation], lost: Container[str]) -> list[Operation]:
    """The same, where what a process was at when it was killed is ``interrupted``.

    lost: the names of these processes.
    """
    return [
        replace(one, told="interrupted")
        if one.told == "unheard" and one.token.partition(".")[0] in lost
        else one
        for one in operations
    ]


class Accounts:
    """The accounts of all clients in ``folder``, which may still be at work."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}  # bytes of each file
        self._known: dict[str, dict[str, Any]] = {}
        self._operations: dict[str, Operation] = {}

    def read(self) -> list[Operation]:
        """All operations so far; only what is new is read from the files."""
        for path in sorted(self._folder.glob("client-*.jsonl")):
            for line in self._lines(path):
                values = self._known.setdefault(line["token"], {})
                values.update(line)
                self._operations[line["token"]] = operation(values)
        return list(self._operations.values())

    def _lines(self, path: Path) -> Iterator[Any]:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            for line in file:
                if line.endswith(b"\n"):
                    self._read[path] = self._read.get(path, 0) + len(line)
                    yield json.loads(line)


def operation(values: Mapping[str, Any]) -> Operation:
    """An operation from what was noted of it."""
    pairs = {name: tuple((a, b) for a, b in values.get(name, ())) for name in _ROWS}
    words = {name: tuple(values.get(name, ())) for name in ("reads", "writes")}
    return Operation(**{**values, **pairs, **words})


def lines(path: Path) -> Iterator[Any]:
    """The values in a file of JSON lines; one that its writer's death has cut off is left out."""
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def floors(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """When each bare client was busy with one write, by the node that it is beside."""
    return {
        path.stem.partition("-")[2]: [(begin, end) for begin, end in lines(path)]
        for path in sorted(folder.glob("floor-*.jsonl"))
    }

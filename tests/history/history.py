"""What a history is: the transactions of several clients, with what each read and wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.history.levels import Level

#: ``unknown``: the client was told neither, or nothing.
Outcome = Literal["committed", "aborted", "unknown"]


@dataclass(frozen=True)
class Append:
    """``value`` was put at the end of the list ``key``. No value is appended twice to a list."""

    key: str
    value: str


@dataclass(frozen=True)
class ReadList:
    """The list ``key`` held ``values``."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Write:
    """The register ``key`` was set to ``value``. No value is written twice to a register."""

    key: str
    value: str


@dataclass(frozen=True)
class ReadValue:
    """The register ``key`` held ``value``; None: nobody had written it."""

    key: str
    value: str | None


Op = Append | ReadList | Write | ReadValue


@dataclass(frozen=True)
class Transaction:
    """One transaction, as its client tells it; of one that ran again, the last run.

    Attributes:
        name: found nowhere else.
        session: whoever must see its own writes, and never less than before. Transactions of one
            session do not overlap.
        ops: in their order.
        begin, end: monotonic seconds; they order the transactions of a session.
        after: the names of those whose token it was given, and must see.
        ahead: so many of ``ops`` came before it was on the primary, where a lock, too, brings it;
            None: all that come before its first write.
    """

    name: str
    session: str
    ops: tuple[Op, ...]
    level: Level
    outcome: Outcome = "committed"
    begin: float = 0.0
    end: float = 0.0
    after: tuple[str, ...] = ()
    ahead: int | None = None

    @property
    def reads(self) -> bool:
        return any(isinstance(op, ReadList | ReadValue) for op in self.ops)

    @property
    def writes(self) -> bool:
        return any(isinstance(op, Append | Write) for op in self.ops)


@dataclass(frozen=True)
class History:
    """All accounts, and what is there at the end.

    Attributes:
        lists: each list at the end; a list that is missing here was not looked at.
        registers: the value of each register at the end.
        orders: of a register, all values that it had, in order, as the server has noted them.
            Without it the order is known only where transactions read before they wrote.
    """

    transactions: tuple[Transaction, ...]
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    registers: Mapping[str, str | None] = field(default_factory=dict)
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

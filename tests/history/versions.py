"""In which order the values of each key came, and what is wrong with single values.

A list tells its own order: whoever reads it sees all that was appended before. A register does
not, so its order is what the server has noted or, without that, as much as follows from
transactions that read it before they wrote it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.history.history import (
    Append,
    History,
    Op,
    ReadList,
    ReadValue,
    Transaction,
    Write,
)
from tests.history.levels import ALLOWED, Kind

#: A version of a key is the value that was written last; None is the first one, before any write.
Version = str | None


@dataclass(frozen=True)
class Anomaly:
    """One thing that is wrong: whose it is, and why, in words."""

    kind: Kind
    transactions: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.why}"


@dataclass(frozen=True)
class Seen:
    """A version of a key that a transaction read, of what others had written."""

    reader: str
    key: str
    version: Version
    first: bool  # before the transaction was on the primary


@dataclass
class Versions:
    """What is known of all keys.

    Attributes:
        writers: by key and value, the transaction that wrote it, whatever its outcome.
        next: by key, the values that directly replaced a version; more than one only where the
            order is not known.
        seen: the reads that say something.
        alive: the transactions that have been committed, those of unknown outcome included that
            somebody has seen something of.
        found: what is wrong.
    """

    writers: dict[str, dict[str, Transaction]] = field(default_factory=dict)
    next: dict[str, dict[Version, list[str]]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    alive: dict[str, Transaction] = field(default_factory=dict)
    found: list[Anomaly] = field(default_factory=list)

    def add(self, kind: Kind, transactions: Iterable[str], why: str) -> None:
        self.found.append(Anomaly(kind, tuple(transactions), why))


def versions(history: History) -> Versions:
    """Look at each key by itself; ValueError if a history is not fit for it."""
    found = Versions(writers=_writers(history))
    _Reader(history, found).run()
    return found


def _writers(history: History) -> dict[str, dict[str, Transaction]]:
    writers: dict[str, dict[str, Transaction]] = defaultdict(dict)
    for one in history.transactions:
        for op in one.ops:
            if (
                isinstance(op, Append | Write)
                and writers[op.key].setdefault(op.value, one) is not one
            ):
                raise ValueError(f"{op.value} is written to {op.key} by two transactions")
    return writers


class _Reader:
    """Goes through a history, key by key."""

    def __init__(self, history: History, found: Versions) -> None:
        self.history = history
        self.found = found
        self.committed = [one for one in history.transactions if one.outcome == "committed"]
        self.lists: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
        self.broken: set[str] = set()  # keys whose order cannot be relied upon
        self.written: dict[tuple[str, str], list[str]] = defaultdict(list)  # by transaction and key
        for one in history.transactions:
            for op in one.ops:
                if isinstance(op, Append | Write):
                    self.written[one.name, op.key].append(op.value)
        self.claims: dict[str, dict[Version, list[str]]] = defaultdict(lambda: defaultdict(list))

    def run(self) -> None:
        for one in self.committed:
            self._internal(one)
        for key, values in self.history.lists.items():
            self.lists[key].append(("", values))
        for key, reads in self.lists.items():
            self.found.next[key] = _chain(self._list(key, reads))
        self._registers()
        self._alive()
        self._torn()
        self.found.seen = [one for one in self.found.seen if one.key not in self.broken]
        for key in self.broken:
            self.found.next.pop(key, None)

    # --- what one transaction saw

    def _internal(self, one: Transaction) -> None:
        """Its own writes must be in what it reads; what is left is what it saw of others."""
        own: dict[str, list[str]] = defaultdict(list)
        before: dict[str, Version] = {}
        first = True
        for number, op in enumerate(one.ops):
            first = first and (one.ahead is None or number < one.ahead)
            if isinstance(op, ReadList):
                self._read_list(one, op, own[op.key], first)
            elif isinstance(op, ReadValue):
                self._read_value(one, op, own[op.key], first)
                before[op.key] = op.value
            else:
                if isinstance(op, Write):
                    self._claim(op, own[op.key], before)
                own[op.key].append(op.value)
                first = False

    def _claim(self, op: Write, own: list[str], before: Mapping[str, Version]) -> None:
        """A register that was read and then written: the one version came from the other."""
        if own:
            self.claims[op.key][own[-1]].append(op.value)
        elif op.key in before:
            self.claims[op.key][before[op.key]].append(op.value)

    def _read_list(self, one: Transaction, op: ReadList, own: list[str], first: bool) -> None:
        others = op.values[: max(0, len(op.values) - len(own))]
        if list(op.values[len(others) :]) != own or set(own) & set(others):
            self.found.add(
                Kind.INTERNAL,
                [one.name],
                f"{one.name} appended {', '.join(own)} to {op.key}, and then read {_tail(op)}",
            )
            return
        self.lists[op.key].append((one.name, others))
        if self._clean(one, op.key, others):
            self._see(one, op.key, others[-1] if others else None, first)

    def _read_value(self, one: Transaction, op: ReadValue, own: list[str], first: bool) -> None:
        if own and op.value != own[-1]:
            self.found.add(
                Kind.INTERNAL,
                [one.name],
                f"{one.name} wrote {own[-1]} to {op.key}, and then read {op.value}",
            )
        elif not own and self._clean(one, op.key, () if op.value is None else (op.value,)):
            self._see(one, op.key, op.value, first)

    def _see(self, one: Transaction, key: str, version: Version, first: bool) -> None:
        self.found.seen.append(Seen(one.name, key, version, first))

    def _clean(self, one: Transaction, key: str, values: tuple[str, ...]) -> bool:
        """Return True if a read shows only what others have committed, and all of that."""
        if bad := [value for value in values if not self._is_known(one.name, key, value)]:
            return not bad
        if not values:
            return True
        writer = self.found.writers[key][values[-1]]
        mine = self.written[writer.name, key]
        if writer is one or values[-1] == mine[-1]:
            return True
        self.found.add(
            Kind.G1B,
            [one.name, writer.name],
            f"{one.name} saw {values[-1]} in {key}, and {writer.name}, which had written that,"
            f" went on to write {mine[-1]}",
        )
        return False

    def _is_known(self, reader: str, key: str, value: str) -> bool:
        """Return True if somebody has written and not undone ``value``; "" reads at the end."""
        writer = self.found.writers.get(key, {}).get(value)
        who, at_end = (reader, "") if reader else ("the end", " that is there at the end")
        if writer is None:
            self.found.add(Kind.MADE_UP, [reader], f"{who}: {key} holds {value}, of nobody")
        elif writer.outcome == "aborted":
            self.found.add(
                Kind.G1A,
                [reader, writer.name],
                f"{who} has {value} in {key}{at_end}, which {writer.name} had given up",
            )
        else:
            return True
        return False

    # --- lists

    def _list(self, key: str, reads: list[tuple[str, tuple[str, ...]]]) -> list[str]:
        """The order of a list: the longest read, which all others must be a beginning of."""
        final = self.history.lists.get(key)
        lost = set(self._lost(key, final, {v for _, values in reads for v in values}))
        for name, values in reads:
            self._doubled(key, name, values)
        if final is not None:
            for value in final:
                self._is_known("", key, value)
        good = {value for value, writer in self.found.writers.get(key, {}).items()
                if writer.outcome != "aborted"} - lost  # fmt: skip
        kept = [(name, tuple(v for v in values if v in good)) for name, values in reads]
        longest = max((values for _, values in kept), key=len)
        at_end = next((values for name, values in kept if not name), ())
        model = at_end if len(at_end) >= len(longest) else longest
        for name, values in kept:
            if values != model[: len(values)] and key not in self.broken:
                self.broken.add(key)
                self._differs(key, name, values, model)
        return list(model)

    def _differs(self, key: str, name: str, one: tuple[str, ...], model: tuple[str, ...]) -> None:
        at = next(
            (n for n, (a, b) in enumerate(zip(one, model, strict=False)) if a != b), len(model)
        )
        self.found.add(
            Kind.INCOMPATIBLE,
            [name],
            f"{name or 'the end'} has {one[at]} in {key} after {one[at - 1] if at else 'nothing'},"
            f" others have {model[at] if at < len(model) else 'nothing'} there",
        )

    def _doubled(self, key: str, name: str, values: tuple[str, ...]) -> None:
        for value, times in Counter(values).items():
            if times > 1 and key not in self.broken:
                self.broken.add(key)
                writer = self.found.writers.get(key, {}).get(value)
                self.found.add(
                    Kind.DUPLICATE,
                    [name, *([writer.name] if writer else [])],
                    f"{name or 'the end'} has {value} in {key} {times} times",
                )

    def _lost(self, key: str, final: tuple[str, ...] | None, read: set[str]) -> Iterator[str]:
        """Values whose writers were told that they are there, and which are not."""
        if final is None:
            return
        there = set(final)
        for value, writer in self.found.writers.get(key, {}).items():
            if value in there or (writer.outcome != "committed" and value not in read):
                continue
            if writer.outcome == "aborted":
                continue
            yield value
            self._tell_lost(key, value, writer, final)

    def _tell_lost(self, key: str, value: str, writer: Transaction, final: tuple[str, ...]) -> None:
        over = self._written_over(key, value, writer, final)
        if over is None:
            self.found.add(
                Kind.LOST_WRITE,
                [writer.name],
                f"{writer.name} wrote {value} to {key}, and it is not there",
            )
        elif Kind.LOST_UPDATE not in ALLOWED[over.level]:
            self.found.add(
                Kind.LOST_UPDATE,
                [over.name, writer.name],
                f"{over.name} saved {key} over {value}, which {writer.name} had written and"
                f" {over.name} had not read",
            )

    def _written_over(
        self, key: str, value: str, writer: Transaction, final: tuple[str, ...]
    ) -> Transaction | None:
        """Who saved, from what it had read before, over what ``writer`` had saved."""
        base = _base(writer, key, value)
        if base is None:
            return None
        at = next(
            (n for n, (a, b) in enumerate(zip((*base, value), final, strict=False)) if a != b), -1
        )
        over = self.found.writers.get(key, {}).get(final[at]) if at >= 0 else None
        if over is None or over is writer or _base(over, key, final[at]) != final[:at]:
            return None
        return over

    # --- registers

    def _registers(self) -> None:
        keys = {op.key for one in self.history.transactions for op in one.ops
                if isinstance(op, Write | ReadValue)}  # fmt: skip
        for key in sorted(keys | self.history.orders.keys() | self.history.registers.keys()):
            if key in self.history.orders:
                self._noted(key, self.history.orders[key])
            else:
                self._claimed(key)
            self._at_end(key)

    def _noted(self, key: str, order: tuple[str, ...]) -> None:
        """A register whose values the server has noted."""
        self._doubled(key, "", order)
        known = [value for value in order if self._is_known("", key, value)]
        self.found.next[key] = _chain(known)
        for value, writer in self.found.writers.get(key, {}).items():
            if writer.outcome == "committed" and value not in order:
                self._tell_lost(key, value, writer, ())

    def _claimed(self, key: str) -> None:
        """A register of which only that is known which its writers have read."""
        claims = self.claims[key]
        self.found.next[key] = claims
        for version, values in claims.items():
            if len(values) < 2:
                continue
            writers = [self.found.writers[key][value] for value in values]
            if any(Kind.LOST_UPDATE not in ALLOWED[one.level] for one in writers):
                self.broken.add(key)
                self.found.add(
                    Kind.LOST_UPDATE,
                    [one.name for one in writers],
                    f"{' and '.join(one.name for one in writers)} each read {version} in {key}"
                    f" and wrote {' and '.join(values)}",
                )

    def _at_end(self, key: str) -> None:
        if key not in self.history.registers or key in self.broken:
            return
        value, order = self.history.registers[key], self.found.next[key]
        if value is not None and not self._is_known("", key, value):
            return
        for after in order.get(value, ()):
            writer = self.found.writers[key][after]
            self.found.add(
                Kind.LOST_WRITE,
                [writer.name],
                f"{writer.name} wrote {after} to {key} after {value}, which is there at the end",
            )
        if value is None and not order.get(None) and key not in self.history.orders:
            for one in {w.name: w for w in self.found.writers.get(key, {}).values()}.values():
                if one.outcome == "committed":
                    self.found.add(
                        Kind.LOST_WRITE, [one.name], f"{one.name} wrote {key}, and nothing is there"
                    )

    # --- what was committed

    def _alive(self) -> None:
        """Those that were told so, and those that somebody has seen."""
        self.found.alive = {one.name: one for one in self.committed}
        visible = [(one.key, one.version) for one in self.found.seen]
        visible += [(key, value) for key, order in self.found.next.items()
                    for values in order.values() for value in values]  # fmt: skip
        visible += [(key, value) for key, value in self.history.registers.items()]
        for key, value in visible:
            writer = self.found.writers.get(key, {}).get(value) if value is not None else None
            if writer is not None and writer.outcome == "unknown":
                self.found.alive[writer.name] = writer

    def _torn(self) -> None:
        """One of unknown outcome is there with all that it wrote, or not at all."""
        for one in self.found.alive.values():
            if one.outcome == "unknown" and (missing := list(self._missing(one))):
                self.found.add(
                    Kind.TORN,
                    [one.name],
                    f"{one.name} may have been committed or not; a part of it is there,"
                    f" and not {', '.join(missing)}",
                )

    def _missing(self, one: Transaction) -> Iterator[str]:
        told_lost = {name for a in self.found.found if a.kind is Kind.LOST_WRITE
                     for name in a.transactions}  # fmt: skip
        if one.name in told_lost:
            return
        for op in one.ops:
            if isinstance(op, Append) and op.value not in self.history.lists.get(
                op.key, (op.value,)
            ):
                yield f"{op.value} in {op.key}"
            if isinstance(op, Write) and op.value not in self.history.orders.get(
                op.key, (op.value,)
            ):
                yield f"{op.value} in {op.key}"


def _chain(order: Iterable[str]) -> dict[Version, list[str]]:
    """Each version, and the one after it."""
    chain: dict[Version, list[str]] = {}
    last: Version = None
    for value in order:
        chain.setdefault(last, []).append(value)
        last = value
    return chain


def _base(one: Transaction, key: str, value: str) -> tuple[str, ...] | None:
    """What ``one`` had read of a list before it appended ``value``; None: it had not read it."""
    base: tuple[str, ...] | None = None
    for op in one.ops:
        if isinstance(op, ReadList) and op.key == key:
            base = op.values
        elif isinstance(op, Append) and op.key == key:
            return base if op.value == value else None
    return base


def _tail(op: ReadList) -> str:
    return f"…{', '.join(op.values[-3:])}" if op.values else "nothing"


__all__ = ["Anomaly", "Op", "Seen", "Version", "Versions", "versions"]

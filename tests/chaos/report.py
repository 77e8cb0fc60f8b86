"""What came of a run: figures and complaints, as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.chaos import ledger
from tests.chaos.faults import Window
from tests.chaos.ledger import Operation
from tests.chaos.options import Options
from tests.chaos.pauses import Pause, Span, by_client, outages, pauses

SHOWN = 12  # complaints of one kind
SLOWEST = 5  # operations
TYPE = 90  # characters of an error that tell its type
LONG = 1.0  # seconds without a write on any node that are worth telling
PATIENCE = 14.0  # seconds without a quorum after which an error is the cluster's
COLUMNS = (
    "done", "conflict", "impossible", "unknown", "raised", "doubt", "wrong",
    "interrupted", "unheard",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """All that is known after a run.

    Attributes:
        told: by kind of operation, what the clients were told.
        reruns: how often a function or request ran again.
        faults: by kind: how many struck, of how many.
        failovers: by the node that was lost.
        replayed: statements replayed in failovers.
        messages: what the router logged, by message.
        errors: that reached the application while there was a quorum, by type.
        without_quorum: the same while there had been none for longer than the router waits.
        conflicts: those that a plain with block may meet, by type.
        pauses: by kind of fault.
        outages: seconds into the run, and how long no node completed a write.
        slowest: operations, and how many seconds into the run they began.
        failed_strikes: faults that could not be carried out, and why.
        complaints: everything that is wrong.
    """

    seed: int
    seconds: float
    clients: int
    told: dict[str, dict[str, int]]
    reruns: int
    faults: dict[str, tuple[int, int]]
    failovers: dict[str, int]
    replayed: int
    messages: dict[str, int]
    errors: dict[str, int]
    without_quorum: dict[str, int]
    conflicts: dict[str, int]
    pauses: list[Pause]
    outages: list[tuple[float, float]]
    slowest: list[str]
    failed_strikes: list[str]
    complaints: list[str]

    @property
    def good(self) -> bool:
        """Whether there is nothing to complain about, and no error without need."""
        return not self.complaints and not self.errors

    def save(self, path: Path) -> None:
        path.write_text(json.dumps({**asdict(self), "good": self.good}, indent=1) + "\n")

    def lines(self) -> Iterator[str]:
        """The report as text."""
        yield from self._operations()
        yield from self._faults()
        yield from self._pauses()
        yield from self._verdict()

    def _operations(self) -> Iterator[str]:
        count = sum(sum(told.values()) for told in self.told.values())
        clients = f"{self.clients} clients, seed {self.seed}"
        yield f"{clients}: {count} operations in {self.seconds:.0f} s"
        yield ""
        yield f"{'operations':34}" + "".join(f"{column:>12}" for column in COLUMNS)
        for kind, told in sorted(self.told.items()):
            yield f"{kind:34}" + "".join(f"{told.get(column, 0):12}" for column in COLUMNS)
        yield ""

    def _faults(self) -> Iterator[str]:
        yield f"{'faults':24}{'struck':>10}{'tried':>10}"
        for kind, (struck, tried) in sorted(self.faults.items()):
            yield f"{kind:24}{struck:10}{tried:10}"
        yield from (f"  not carried out: {failed}" for failed in self.failed_strikes)
        yield ""
        lost = ", ".join(f"{n} of {name}" for name, n in sorted(self.failovers.items()))
        yield f"failovers       {sum(self.failovers.values())}" + (f" ({lost})" if lost else "")
        yield f"replayed        {self.replayed} statements in these"
        yield f"reruns          {self.reruns} of a function or a request"
        yield from _counts("conflicts       ", "in plain with blocks", self.conflicts)
        yield from _counts("errors          ", "while there was a quorum", self.errors)
        yield from _counts("errors          ", "without a quorum", self.without_quorum)
        yield "the router's log"
        for message, times in sorted(self.messages.items()):
            yield f"  {times:6} x {message}"
        yield ""

    def _pauses(self) -> Iterator[str]:
        head = ("times", "median", "99%", "max", "median", "99%", "max")
        yield f"{'':24}{'':8}{'a client waited, s':>24}{'a bare client, s':>24}"
        yield f"{'pauses':24}" + "".join(f"{word:>8}" for word in head)
        for one in self.pauses:
            values = (one.median, one.p99, one.longest, *one.floor)
            yield f"{one.kind:24}{one.times:8}" + "".join(f"{value:8.2f}" for value in values)
        for at, lasted in self.outages:
            yield f"no node wrote for {lasted:.1f} s, {at:.1f} s into the run"
        yield from (f"slow: {operation}" for operation in self.slowest)
        yield ""

    def _verdict(self) -> Iterator[str]:
        yield f"complaints      {len(self.complaints)}"
        kinds: dict[str, list[str]] = {}
        for complaint in self.complaints:
            kinds.setdefault(complaint.split(":")[0], []).append(complaint)
        for found in kinds.values():
            yield from (f"  {complaint}" for complaint in found[:SHOWN])
            if len(found) > SHOWN:
                yield f"  and {len(found) - SHOWN} more of this kind"
        yield "All well." if self.good else "Not all is well."


def _counts(name: str, when: str, counts: Mapping[str, int]) -> Iterator[str]:
    yield f"{name}{sum(counts.values())} {when}"
    for kind, times in sorted(counts.items(), key=lambda item: -item[1])[:SHOWN]:
        yield f"  {times:6} x {kind}"


def make(
    *,
    options: Options,
    seconds: float,
    operations: Sequence[Operation],
    windows: Sequence[Window],
    folder: Path,
    wrong: Mapping[str, Sequence[str]],
    others: Sequence[str],
) -> Report:
    """Put everything together.

    Args:
        folder: where the accounts of the observers and of the bare clients are.
        wrong: complaints by node.
        others: complaints that concern no node alone.
    """
    floors = ledger.floors(folder)
    start = min((one.begin for one in operations), default=0.0)
    dark = outages(floors, LONG)
    observed = [json.loads(path.read_text()) for path in sorted(folder.glob("observer-*.json"))]
    failed = [one for one in operations if one.told in {"raised", "doubt"}]
    return Report(
        seed=options.seed,
        seconds=seconds,
        clients=options.processes * options.threads,
        told=_told(operations),
        reruns=sum(one.runs - 1 for one in operations),
        faults=_faults(windows),
        failovers=_count(event["lost"] for one in observed for event in one["failovers"]),
        replayed=sum(event["replayed"] for one in observed for event in one["failovers"]),
        messages=_sum(one["messages"] for one in observed),
        errors=_types(one for one in failed if not excused(one, dark)),
        without_quorum=_types(one for one in failed if excused(one, dark)),
        conflicts=_types(one for one in operations if one.told == "conflict"),
        pauses=pauses(windows, by_client(operations), floors),
        outages=[(a - start, b - a) for a, b in dark],
        slowest=_slowest(operations, start),
        failed_strikes=[f"{w.strike}: {w.error}" for w in windows if w.error],
        complaints=[*others, *_merged(wrong)],
    )


def _told(operations: Sequence[Operation]) -> dict[str, dict[str, int]]:
    told: dict[str, dict[str, int]] = {}
    for one in operations:
        kind = told.setdefault(one.kind, {})
        kind[one.told] = kind.get(one.told, 0) + 1
    return told


def _faults(windows: Sequence[Window]) -> dict[str, tuple[int, int]]:
    tried = Counter(window.strike.kind for window in windows)
    struck = Counter(window.strike.kind for window in windows if window.struck)
    return {kind: (struck[kind], times) for kind, times in tried.items()}


def _types(operations: Iterable[Operation]) -> dict[str, int]:
    return _count(one.error[:TYPE] for one in operations)


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names))


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def excused(operation: Operation, dark: Sequence[Span]) -> bool:
    """Returns True if there was no quorum for longer than the router waits."""
    end = operation.end or operation.begin
    return any(b - a > PATIENCE and operation.begin < b and a < end for a, b in dark)


def _slowest(operations: Sequence[Operation], start: float) -> list[str]:
    found = sorted(operations, key=lambda one: -one.seconds)[:SLOWEST]
    return [f"{one.seconds:.2f} s from {one.begin - start:.1f} s on, {one}" for one in found]


def _merged(wrong: Mapping[str, Sequence[str]]) -> list[str]:
    """Each complaint once, with the nodes that it is about."""
    nodes: dict[str, dict[str, None]] = {}
    for node, found in wrong.items():
        for complaint in found:
            nodes.setdefault(complaint, {})[node] = None
    return [f"{complaint} [{', '.join(names)}]" for complaint, names in nodes.items()]

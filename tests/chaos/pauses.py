"""How long clients waited in a fault, and bare clients in the same. Pure."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.faults import Window
from tests.chaos.ledger import Operation
from tests.chaos.plan import HEAVY

SHORTLY = 2.0  # seconds

Span = tuple[float, float]


@dataclass(frozen=True)
class Pause:
    """Seconds, of one kind of fault: what each client waited longest in each, and bare ones."""

    kind: str
    times: int
    median: float
    p99: float
    longest: float
    floor: tuple[float, float, float]


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest of ``values`` that is not below ``part`` (0 to 1) of them; 0 if none."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def longest(spans: Sequence[Span], window: Span) -> float:
    """The longest of ``spans``, in order and not overlapping, that overlaps ``window``."""
    first = bisect_left(spans, window[0], key=lambda span: span[1])
    found = 0.0
    for begin, end in spans[first:]:
        if begin > window[1]:
            break
        found = max(found, end - begin)
    return found


def by_client(operations: Iterable[Operation]) -> dict[str, list[Span]]:
    """When each client was busy with one operation, in order."""
    spans: dict[str, list[Span]] = defaultdict(list)
    for one in operations:
        if one.end is not None:
            spans[one.token.rpartition(".")[0]].append((one.begin, one.end))
    return {client: sorted(busy) for client, busy in spans.items()}


def pauses(
    windows: Sequence[Window],
    clients: Mapping[str, Sequence[Span]],
    floors: Mapping[str, Sequence[Span]],
) -> list[Pause]:
    """One line for each kind of fault.

    A light fault during a heavy one, or shortly after, is left out: its pause is the heavy one's.
    The floor is that of the first node that the fault has not hit.
    """
    heavy = [window for window in windows if window.strike.kind in HEAVY]
    seen: dict[str, list[tuple[list[float], float]]] = defaultdict(list)
    for window in windows:
        if not window.struck or (window.strike.kind not in HEAVY and _beside(window, heavy)):
            continue
        span = (window.begin, window.end)
        waits = [longest(busy, span) for busy in clients.values()]
        floor = next(
            (longest(floors[name], span) for name in floors if name not in window.strike.nodes), 0.0
        )
        seen[_name(window)].append((waits, floor))
    return [_pause(kind, faults) for kind, faults in sorted(seen.items())]


def _name(window: Window) -> str:
    return window.strike.kind + (", two nodes" if len(window.strike.nodes) == 2 else "")


def _beside(window: Window, others: Iterable[Window]) -> bool:
    return any(window.begin < other.end + SHORTLY and other.begin < window.end for other in others)


def _pause(kind: str, faults: Sequence[tuple[list[float], float]]) -> Pause:
    waits = [wait for one, _ in faults for wait in one]
    floors = [floor for _, floor in faults]
    return Pause(
        kind=kind,
        times=len(faults),
        median=percentile(waits, 0.5),
        p99=percentile(waits, 0.99),
        longest=max(waits, default=0.0),
        floor=(percentile(floors, 0.5), percentile(floors, 0.99), max(floors, default=0.0)),
    )


def outages(floors: Mapping[str, Sequence[Span]], limit: float) -> list[Span]:
    """When, for more than ``limit`` seconds, no node at all had completed a write."""
    ends = sorted(end for spans in floors.values() for _, end in spans)
    return [(a, b) for a, b in itertools.pairwise(ends) if b - a > limit]

"""What a replay costs as the transaction grows, and what the journal takes of memory.

A transaction reads, its connections are ended on the servers, and it reads once more: that read
has to connect, to begin, to repeat what was read and to compare it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from galera_router.testing import GaleraCluster
from tests.benchmarks.chart import curves
from tests.benchmarks.report import Section, table
from tests.benchmarks.sides import Answer, Side, Sides, ours

SIZES, ROUNDS = (10, 100, 1_000, 10_000), 3
#: What is in the transaction: the arguments of ``open``.
KINDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "statements on a secondary": lambda size: {"statements": size},
    "statements on the primary": lambda size: {"statements": size, "writes": True},
    "rows of one statement": lambda size: {"rows": size},
}

Cut = Callable[[str], None]
Figures = dict[str, dict[int, dict[str, float]]]


def section(sides: Sides, words: list[str], rounds: int, tell: Callable[[str], None]) -> Section:
    """The table and the charts."""
    found: Figures = {}
    with fresh(sides.cluster) as (side, cut):
        for kind, arguments in KINDS.items():
            for size in SIZES:
                figures = replays(side, cut, arguments(size))
                found.setdefault(kind, {})[size] = figures
                tell(f"{size} {kind}: replay {figures['replay'] * 1e3:.1f} ms")
    return Section(
        "Growth",
        [
            "The read behind the loss, the least of"
            f" {ROUNDS} rounds: it connects, begins, replays and compares.",
            shown(found),
            "![Time of a replay](replay.svg)",
            "![Memory of the journal](journal.svg)",
        ],
        {"growth": found},
        {
            "replay.svg": _drawn("Time of a replay, ms", found, "replay", 1e3),
            "journal.svg": _drawn("Memory of the journal, kB", found, "journal", 1e-3),
        },
    )


@contextmanager
def fresh(cluster: GaleraCluster) -> Iterator[tuple[Side, Cut]]:
    """A side of ours whose transactions may be long, and what ends its connections to a node."""
    before = {node.name: connections(cluster, node.name) for node in cluster.nodes}
    options = {"failover_history_limit": 100_000, "failback_delay": None}
    settings = ours(cluster, OPTIONS={**options, "optimistic_transactions": True})

    def cut(name: str) -> None:
        for number in connections(cluster, name) - before[name]:
            cluster[name].query(f"KILL {number}")

    with Side(settings) as side:
        yield side, cut


def connections(cluster: GaleraCluster, name: str) -> set[int]:
    """The numbers of the clients' connections to a node."""
    sql = "SELECT id FROM information_schema.processlist WHERE user = %s"
    return {int(str(number)) for (number,) in cluster[name].query(sql, [cluster.user])}


def replays(side: Side, cut: Cut, arguments: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of the replay and of a read without one, bytes of the journal and of the replay."""
    rounds = [lost(side, cut, arguments) for _ in range(ROUNDS)]
    traced = lost(side, cut, {**arguments, "trace": True})
    return {
        "replay": min(float(after["elapsed"]) for _, after in rounds),
        "cpu": min(float(after["cpu"]) for _, after in rounds),
        "first": statistics.median(float(first["elapsed"]) for first, _ in rounds),
        "journal": float(traced[0]["bytes"]),
        "most": float(traced[1]["most"]),
    }


def lost(side: Side, cut: Cut, arguments: Mapping[str, Any]) -> tuple[Answer, Answer]:
    """What the transaction took until the loss, and the read behind it."""
    first = side.do("open", **arguments)
    cut(first["node"])
    return first, side.do("proceed")


def shown(found: Figures) -> str:
    """The table."""
    head = ["", "n", "the first time, ms", "replay, ms", "CPU, ms", "µs for each", "journal, kB",
            "bytes for each", "most in the replay, kB"]  # fmt: skip
    lines = []
    for kind, sizes in found.items():
        least = next(iter(sizes.values()))
        for size, one in sizes.items():
            each = (one["replay"] - least["replay"]) / max(size - SIZES[0], 1)
            lines.append(
                [
                    kind,
                    f"{size:,}",
                    f"{one['first'] * 1e3:,.1f}",
                    f"{one['replay'] * 1e3:,.1f}",
                    f"{one['cpu'] * 1e3:,.1f}",
                    f"{each * 1e6:.1f}" if size != SIZES[0] else "",
                    f"{one['journal'] / 1e3:,.0f}",
                    f"{one['journal'] / size:,.0f}",
                    f"{one['most'] / 1e3:,.0f}",
                ]
            )
    return table(head, lines)


def _drawn(title: str, found: Figures, key: str, unit: float) -> str:
    points = {
        kind: {size: one[key] * unit for size, one in sizes.items()}
        for kind, sizes in found.items()
    }
    return curves(title, "statements, or rows, in the transaction", points)

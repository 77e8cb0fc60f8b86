"""What more threads and more node aliases cost: the growth of ours beside stock's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks.chart import curves
from tests.benchmarks.report import Section, table
from tests.benchmarks.sides import Answer, Side, Sides, ours, stock

VIEWS = ("ten_reads", "no_query")
THREADS, ALIASES = (1, 2, 4, 8, 16, 32), (3, 6, 9, 12, 15)
ROUNDS, SECONDS = 3, 0.5
WARM = 150  # requests, so that each of fifteen nodes has been read from
#: One address in five spellings: so many aliases can there be of one server.
HOSTS = ("127.0.0.1", "127.1", "127.0.1", "0x7f000001", "2130706433")

Figures = dict[int, dict[str, float]]


def section(sides: Sides, words: list[str], rounds: int, tell: Callable[[str], None]) -> Section:
    """Both tables and their chart."""
    threads, aliases = by_threads(sides, tell), by_aliases(sides, tell)
    return Section(
        "More threads, more node aliases",
        [
            "Requests of 10 reads. Growth: ours beside its own first line, over stock's beside its"
            " own (≤ 1.05).",
            shown("threads", threads),
            "Stock Django has as many aliases, of which it uses one. Growth as above (≤ 1.05).",
            shown("node aliases", aliases),
            "![Calls and CPU of a request](scaling.svg)",
        ],
        {"threads": threads, "aliases": aliases},
        {"scaling.svg": drawn(threads, aliases)},
    )


def by_threads(sides: Sides, tell: Callable[[str], None]) -> Figures:
    """CPU in seconds and calls of one request, ours and stock's, by the number of threads."""
    found: Figures = {}
    for count in THREADS:
        answers: dict[str, list[Answer]] = {"ours": [], "stock": []}
        for _ in range(ROUNDS):
            for name, several in answers.items():
                several.append(
                    sides[name].do("threads", view="ten_reads", threads=count, seconds=SECONDS)
                )
        found[count] = {
            f"{name} {key}": min(float(answer[key]) for answer in several)
            for name, several in answers.items()
            for key in ("cpu", "calls")
        }
        tell(f"{count} threads: calls {found[count]['ours calls']:.0f}")
    return found


def by_aliases(sides: Sides, tell: Callable[[str], None]) -> Figures:
    """The same by the number of node aliases; ours has read from each of them."""
    found: Figures = {}
    for count in ALIASES:
        found[count] = {}
        for name, settings in (
            ("ours", with_aliases(sides, count)),
            ("stock", stock_with_aliases(sides, count)),
        ):
            with Side(settings) as side:
                for view in VIEWS:
                    found[count] |= {f"{name} {k}": v for k, v in _asked(side, view).items()}
        tell(f"{count} node aliases: calls {found[count]}")
    return found


def _asked(side: Side, view: str) -> dict[str, float]:
    calls = side.do("calls", view=view, warm=WARM)["calls"]
    cpu = min(side.do("round", view=view, seconds=SECONDS)["cpu"] for _ in range(ROUNDS))
    return {f"{view} calls": calls, f"{view} cpu": cpu}


def stock_with_aliases(sides: Sides, count: int) -> dict[str, Any]:
    """The settings of stock Django with so many aliases besides ``default``."""
    settings = stock(sides.cluster)
    databases = settings["DATABASES"]
    for number in range(count):
        databases[f"more_{number}"] = {**databases["default"], "ATOMIC_REQUESTS": False}
    return settings


def with_aliases(sides: Sides, count: int) -> dict[str, Any]:
    """The settings of ours with so many nodes, each server being several of them."""
    settings = ours(sides.cluster)
    default = settings["DATABASES"]["default"]
    nodes = default["NODES"]
    default["NODES"] = {
        f"{name}_{turn}" if turn else name: {**node, "HOST": HOSTS[turn]}
        for turn in range(count // len(nodes))
        for name, node in nodes.items()
    }
    return settings


def growth(figures: Figures, key: str) -> dict[int, float]:
    """Of ours since the first line; over stock's if there is one."""
    first = next(iter(figures.values()))
    base = key.replace("ours", "stock") if key.startswith("ours") else None
    return {
        count: line[key] / first[key] / (line[base] / first[base] if base else 1)
        for count, line in figures.items()
    }


def shown(what: str, figures: Figures) -> str:
    """A table of one of them."""
    keys = list(next(iter(figures.values())))
    grown = {key: growth(figures, key) for key in keys if not key.startswith("stock")}
    head = [what]
    for key in keys:
        head += [key.replace("_", " ") + (", µs" if key.endswith("cpu") else "")]
        head += ["growth"] if key in grown else []
    lines = []
    for count, line in figures.items():
        cells = [str(count)]
        for key, value in line.items():
            cells.append(f"{value * 1e6:,.0f}" if key.endswith("cpu") else f"{value:,.0f}")
            cells += [f"{grown[key][count]:.3f}"] if key in grown else []
        lines.append(cells)
    return table(head, lines)


def drawn(threads: Figures, aliases: Figures) -> str:
    """The growth of the calls and of CPU."""
    return curves(
        "Growth of a request of 10 reads (1: as with one thread, or three aliases)",
        "threads, or node aliases",
        {
            "threads, calls": growth(threads, "ours calls"),
            "threads, CPU": growth(threads, "ours cpu"),
            "aliases, calls": growth(aliases, "ours ten_reads calls"),
            "aliases, CPU": growth(aliases, "ours ten_reads cpu"),
            "aliases, calls without a query": growth(aliases, "ours no_query calls"),
        },
    )

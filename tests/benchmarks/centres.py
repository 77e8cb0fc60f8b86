"""Three data centres: proxies delay what the nodes of the others answer.

What the servers say to each other is not delayed: a COMMIT takes here what it does in one place.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from galera_router.testing import GaleraCluster, Proxy
from tests.benchmarks.growth import connections
from tests.benchmarks.report import Section, table
from tests.benchmarks.sides import Side, Sides, ours, stock

DELAY = 0.05  # seconds for an answer from another centre
SECONDS, THREADS, TIMES = 0.5, 16, 7
VIEWS = {
    "no query": "no_query",
    "10 reads": "ten_reads",
    "one read outside": "one_read_outside",
    "5 reads and a save": "five_reads_and_a_save",
    "one write in atomic()": "one_write_in_a_block",
    "one write outside": "one_write_outside",
}
OWN_READ = "first read after one's write"

Make = Callable[[GaleraCluster, Mapping[str, Proxy]], dict[str, Any]]


def _zoned(near: Sequence[str]) -> Make:
    """Ours in a centre that has the nodes ``near``; each other node is in a centre of its own."""

    def make(cluster: GaleraCluster, proxies: Mapping[str, Proxy]) -> dict[str, Any]:
        settings = ours(cluster, proxies=proxies, OPTIONS={"zone": "here"})
        for name, node in settings["DATABASES"]["default"]["NODES"].items():
            node["ZONE"] = "here" if name in near else f"with {name}"
        return settings

    return make


def _place(make: Callable[..., dict[str, Any]], *near: str) -> tuple[Sequence[str], Make]:
    return near, lambda cluster, proxies: make(cluster, proxies=proxies)


#: By name: the nodes that are in the process's own centre, and its settings. db1 is the primary.
PLACES: dict[str, tuple[Sequence[str], Make]] = {
    "stock, its node in this centre": _place(stock, "db1"),
    "stock, its node elsewhere": _place(stock, "db2"),
    "ours, the primary and a secondary here": (("db1", "db2"), _zoned(("db1", "db2"))),
    "ours, only the primary here": (("db1",), _zoned(("db1",))),
    "ours, only a secondary here": (("db2",), _zoned(("db2",))),
    "ours, only a secondary here, no zones": _place(ours, "db2"),
}


def section(sides: Sides, words: list[str], rounds: int, tell: Callable[[str], None]) -> Section:
    """Elapsed time in each place, and connections to each node."""
    found, connected = {}, {}
    for place, (near, make) in PLACES.items():
        before = {node.name: connections(sides.cluster, node.name) for node in sides.cluster.nodes}
        with sides.cluster.proxies() as proxies, Side(make(sides.cluster, proxies)) as side:
            warm(side)
            for name, proxy in proxies.items():
                proxy.delay(0 if name in near else DELAY)
            found[place] = elapsed(side)
            connected[place] = counted(sides.cluster, side, before)
        tell(f"{place}: {', '.join(f'{v} {s * 1e3:.0f} ms' for v, s in found[place].items())}")
    return Section(
        "Three data centres",
        [
            f"Each answer from a node in another centre comes {DELAY * 1e3:.0f} ms later. One"
            " request, elapsed, ms; in brackets how many such waits there are in it.",
            shown(found),
            f"Connections while {THREADS} threads send requests of 10 reads, with the"
            " connections of the main thread, which has read and written.",
            table(
                ["", "db1, the primary", "db2", "db3"],
                [[place, *map(str, counts)] for place, counts in connected.items()],
            ),
        ],
        {"centres": found, "connections": connected},
    )


def warm(side: Side) -> None:
    """Have it connected to all that it uses."""
    for view in VIEWS.values():
        side.do("round", view=view, seconds=SECONDS)


def elapsed(side: Side) -> dict[str, float]:
    """Seconds of one request, by view."""
    found = {
        name: float(side.do("round", view=view, seconds=SECONDS)["elapsed"])
        for name, view in VIEWS.items()
    }
    found[OWN_READ] = statistics.median(own_read(side) for _ in range(TIMES))
    return found


def own_read(side: Side) -> float:
    """Seconds of a request that brings the token of the one before."""
    cookie = side.do("ask", view="one_write")["cookie"]
    return float(side.do("ask", view="one_read", cookie=cookie)["elapsed"])


def counted(cluster: GaleraCluster, side: Side, before: Mapping[str, set[int]]) -> list[int]:
    """The most connections to each node, besides those before, while many threads are at work."""
    most = {node.name: 0 for node in cluster.nodes}
    worker = threading.Thread(
        target=side.do,
        args=("threads",),
        kwargs={"view": "ten_reads", "threads": THREADS, "seconds": 2.0},
    )
    worker.start()
    while worker.is_alive():
        for name, known in before.items():
            most[name] = max(most[name], len(connections(cluster, name) - known))
        time.sleep(0.1)
    return list(most.values())


def shown(found: Mapping[str, Mapping[str, float]]) -> str:
    """The table."""
    views = list(next(iter(found.values())))
    lines = [
        [place, *(f"{times[v] * 1e3:,.1f} ({times[v] / DELAY:.0f})" for v in views)]
        for place, times in found.items()
    ]
    return table(["", *views], lines)

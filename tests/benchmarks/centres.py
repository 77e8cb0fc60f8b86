"""Three data centres: proxies delay what the nodes of the others answer.

What the servers say to each other is not delayed: a COMMIT takes here what it does in one place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from galera_router.testing import GaleraCluster, Proxy
from tests.benchmarks.report import Section, table
from tests.benchmarks.sides import Side, Sides, ours, stock

DELAY = 0.05  # seconds for an answer from another centre
SECONDS, THREADS = 0.3, 16
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


def _zoned(
    cluster: GaleraCluster, proxies: Mapping[str, Proxy], zone: str, **options: Any
) -> dict[str, Any]:
    """Ours in the centre ``zone``, whose node has its name."""
    options = {"zone": zone, "failback_delay": None, **options}
    settings = ours(cluster, proxies=proxies, OPTIONS=options)
    for name, node in settings["DATABASES"]["default"]["NODES"].items():
        node["ZONE"] = name
    return settings


def _zoneless(cluster: GaleraCluster, proxies: Mapping[str, Proxy]) -> dict[str, Any]:
    return ours(cluster, proxies=proxies, OPTIONS={"failback_delay": None})


#: In which centre the process is, by the name of its node, and its settings.
PLACES: dict[str, tuple[str, Make]] = {
    "stock, the node in its centre": ("db1", lambda c, p: stock(c, proxies=p)),
    "stock, the node in another centre": ("db2", lambda c, p: stock(c, proxies=p)),
    "ours, in the primary's centre": ("db1", lambda c, p: _zoned(c, p, "db1")),
    "ours, in another centre": ("db2", lambda c, p: _zoned(c, p, "db2")),
    "ours, in another centre, no zones": ("db2", _zoneless),
}


def section(sides: Sides, words: list[str], rounds: int, tell: Callable[[str], None]) -> Section:
    """Elapsed time in each place, and connections to each node."""
    found, connected = {}, {}
    for place, (centre, make) in PLACES.items():
        with sides.cluster.proxies() as proxies, Side(make(sides.cluster, proxies)) as side:
            warm(side)
            for name, proxy in proxies.items():
                proxy.delay(0 if name == centre else DELAY)
            found[place] = elapsed(side)
            connected[place] = counted(sides.cluster, side)
        tell(f"{place}: {', '.join(f'{v} {s * 1e3:.0f} ms' for v, s in found[place].items())}")
    return Section(
        "Three data centres",
        [
            f"Each answer from a node in another centre comes {DELAY * 1e3:.0f} ms later. One"
            " request, elapsed, ms; in brackets how many such waits there are in it.",
            shown(found),
            f"Connections while {THREADS} threads send requests of 10 reads; those of the process's first thread, which has written, included.",
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
    cookie = side.do("ask", view="one_write")["cookie"]
    found[OWN_READ] = float(side.do("ask", view="one_read", cookie=cookie)["elapsed"])
    return found


def counted(cluster: GaleraCluster, side: Side) -> list[int]:
    """The most connections of clients to each node while many threads are at work."""
    most = [0] * len(cluster.nodes)
    worker = threading.Thread(
        target=side.do,
        args=("threads",),
        kwargs={"view": "ten_reads", "threads": THREADS, "seconds": 2.0},
    )
    worker.start()
    while worker.is_alive():
        for number, node in enumerate(cluster.nodes):
            ((count,),) = node.query(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s",
                [cluster.user],
            )
            most[number] = max(most[number], int(str(count)))
        time.sleep(0.1)
    return most


def shown(found: Mapping[str, Mapping[str, float]]) -> str:
    """The table."""
    views = list(next(iter(found.values())))
    lines = [
        [place, *(f"{times[v] * 1e3:,.1f} ({times[v] / DELAY:.0f})" for v in views)]
        for place, times in found.items()
    ]
    return table(["", *views], lines)

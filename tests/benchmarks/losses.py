"""What a killed node costs: a secondary beyond a reconnect, a primary beside the cluster itself."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

from MySQLdb import Error as MySQLError

from galera_router.testing import GaleraNode
from tests.benchmarks.growth import fresh, lost
from tests.benchmarks.report import Section, table
from tests.benchmarks.sides import Sides

TRIALS, STATEMENTS = 5, 10
LONGEST = 60.0  # seconds in which the cluster has to accept a write again
EVERY = 0.002  # seconds between two attempts

Figures = dict[str, list[float]]


def section(sides: Sides, words: list[str], rounds: int, tell: Callable[[str], None]) -> Section:
    """Both tables, in seconds: the application's own clock."""
    trials = min(rounds, TRIALS)
    secondary = killed_secondaries(sides, trials, tell)
    primary = killed_primaries(sides, trials, tell)
    return Section(
        "A node that is killed",
        [
            f"In a transaction of {STATEMENTS} reads: the next statement, from the kill until it"
            f" is answered. {trials} trials, ms.",
            shown(secondary),
            "In a transaction of a write and as many reads; the cluster itself is another client"
            " that writes to a survivor as soon as that accepts it.",
            shown(primary),
        ],
        {"secondary": secondary, "primary": primary},
    )


def killed_secondaries(sides: Sides, trials: int, tell: Callable[[str], None]) -> Figures:
    """A lost connection and a killed server in turn; and the difference."""
    found: Figures = {"connection ended": [], "server killed": [], "difference (≤ 10 ms)": []}
    cluster = sides.cluster
    for _ in range(trials):
        # A new process each time: nothing is known of the node that was lost before.
        with fresh(cluster) as (side, cut):
            lost(side, cut, {"statements": STATEMENTS})
            _, after = lost(side, cut, {"statements": STATEMENTS})
            first = side.do("open", statements=STATEMENTS)
            node = cluster[first["node"]]
            if first["node"] == first["primary"]:
                raise RuntimeError("it reads from the primary, though both secondaries are well")
            node.kill()
            killed = side.do("proceed")
        found["connection ended"].append(after["elapsed"])
        found["server killed"].append(killed["elapsed"])
        found["difference (≤ 10 ms)"].append(killed["elapsed"] - after["elapsed"])
        tell(f"a killed secondary: {killed['elapsed'] * 1e3:.1f} ms")
        restore(sides, node)
    return found


def killed_primaries(sides: Sides, trials: int, tell: Callable[[str], None]) -> Figures:
    """Ours, and a client that waits for the cluster and for nothing else."""
    found: Figures = {"ours": [], "the cluster itself": [], "ratio (≤ 1.1)": []}
    cluster = sides.cluster
    with fresh(cluster) as (side, _):
        for _ in range(trials):
            node = cluster[side.do("open", statements=STATEMENTS, writes=True)["node"]]
            survivor = next(each for each in cluster.nodes if each is not node)
            began = time.monotonic()
            node.kill()
            other = Attempts(survivor, began)
            side.do("proceed")
            ours, itself = time.monotonic() - began, other.seconds()
            found["ours"].append(ours)
            found["the cluster itself"].append(itself)
            found["ratio (≤ 1.1)"].append(ours / itself)
            tell(f"a killed primary: {ours:.2f} s, the cluster {itself:.2f} s")
            restore(sides, node)
    return found


def restore(sides: Sides, node: GaleraNode) -> None:
    """Start the node again, and wait until it is as the others are."""
    node.start()
    sides.cluster.wait_synced()
    for each in sides.cluster.nodes:
        each.wait_applied()


class Attempts:
    """A client that tries to write to ``node``, from now on, until that succeeds."""

    def __init__(self, node: GaleraNode, began: float) -> None:
        self._node, self._began, self._ended = node, began, 0.0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def seconds(self) -> float:
        """From ``began`` until the first write was committed; RuntimeError if none was."""
        self._thread.join()
        if not self._ended:
            raise RuntimeError("the cluster accepts no writes")
        return self._ended - self._began

    def _run(self) -> None:
        while time.monotonic() < self._began + LONGEST:
            try:
                self._node.query(
                    "INSERT INTO galera_router.shop_shelf (code, room) VALUES ('x', 1)"
                    f" ON DUPLICATE KEY UPDATE room = {time.monotonic_ns() // 1000 % 2**31}"
                )
            except MySQLError:
                time.sleep(EVERY)
            else:
                self._ended = time.monotonic()
                return


def shown(figures: Figures) -> str:
    """The table; ratios as they are, seconds in ms."""
    lines = []
    for name, values in figures.items():
        unit = 1.0 if name.startswith("ratio") else 1e3
        cells = [min(values), statistics.median(values), max(values)]
        lines.append([name, *(f"{cell * unit:,.2f}" for cell in cells)])
    return table(["", "least", "median", "most"], lines)

"""What a schema change blocks: ``python -m tests.benchmarks.ddl [ROWS]``.

A table of so many rows is changed in several ways on the first node, while two connections each
insert rows into another table, one through that node and one through another. Printed are how long
the change took, and the longest that either of them had to wait.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from galera_router.testing import GaleraCluster, GaleraNode

ROWS = 400_000
CHANGES = {
    "ADD COLUMN (instant)": "ALTER TABLE d.big ADD COLUMN a INT",
    "ADD INDEX (in place)": "ALTER TABLE d.big ADD INDEX (v)",
    "ALTER (copy)": "ALTER TABLE d.big MODIFY v BIGINT, ALGORITHM=COPY",
    "ALTER (copy), RSU": "SET SESSION wsrep_OSU_method = RSU;"
    "ALTER TABLE d.big MODIFY a BIGINT, ALGORITHM=COPY",
}


class Inserts:
    """A connection to ``node`` that inserts, and how long the slowest took."""

    def __init__(self, node: GaleraNode) -> None:
        self._node = node
        self._done = threading.Event()
        self.longest = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _run(self) -> None:
        while not self._done.is_set():
            began = time.monotonic()
            self._node.query("INSERT INTO d.other (v) VALUES (1)")
            self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(0.01)


def main(rows: int) -> None:
    with GaleraCluster() as galera:
        first, other, _ = galera.nodes
        first.query("CREATE DATABASE d")
        first.query("CREATE TABLE d.big (id INT PRIMARY KEY, v INT)")
        first.query("CREATE TABLE d.other (id INT AUTO_INCREMENT PRIMARY KEY, v INT)")
        first.query(f"INSERT INTO d.big SELECT seq, seq FROM d.seq_1_to_{rows}")
        other.wait_applied()
        print(f"{'change of ' + str(rows) + ' rows':28} {'took':>8} {'here':>8} {'elsewhere':>10}")
        for name, statements in CHANGES.items():
            here, there = Inserts(first), Inserts(other)
            with here.running(), there.running():
                time.sleep(0.5)
                began = time.monotonic()
                change(first, statements)
                took = time.monotonic() - began
            print(f"{name:28} {took:6.2f} s {here.longest:6.2f} s {there.longest:8.2f} s")


def change(node: GaleraNode, statements: str) -> None:
    """Run them on one connection."""
    from contextlib import closing

    from galera_router.testing.admin import open_connection

    with closing(open_connection(node.socket)) as server:
        for statement in statements.split(";"):
            server.query(statement)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)

"""Bare clients, one beside each node: ``python -m tests.chaos.floor``, a process of the run.

Each makes small writes in autocommit straight to its node, without a proxy or Django, and notes
how long each took until it had succeeded. That is what the cluster itself lets a client have.
It prints ``ready``, begins when it reads a line, and ends when its input is closed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import MySQLdb

from tests.chaos.config import Config

EVERY = 0.03  # seconds between two writes
AGAIN = 0.05  # seconds between two tries of one
WRITE = "UPDATE chaos_floor SET value = value + 1 WHERE id = %s"
TIMEOUTS = {"connect_timeout": 2, "read_timeout": 60, "write_timeout": 60}


class Bare:
    """A client of one node.

    Args:
        number: of the node, from 1; the key of the row that this client alone changes.
        settings: what the driver needs to connect.
    """

    def __init__(
        self, number: int, settings: dict[str, Any], path: Path, stop: threading.Event
    ) -> None:
        self.number = number
        self.settings = settings
        self.stop = stop
        self._file = path.open("a")
        self._connection: Any = None

    def run(self) -> None:
        """Write until told to stop."""
        with self._file:
            while not self.stop.is_set():
                begin = time.monotonic()
                while not self.write() and not self.stop.is_set():
                    time.sleep(AGAIN)
                self._file.write(f"[{begin:.4f}, {time.monotonic():.4f}]\n")
                time.sleep(EVERY)

    def write(self) -> bool:
        """One try; whether it succeeded."""
        try:
            if self._connection is None:
                self._connection = MySQLdb.connect(autocommit=True, **self.settings)
            with contextlib.closing(self._connection.cursor()) as cursor:
                cursor.execute(WRITE, [self.number])
        except MySQLdb.Error:
            self._connection = None
            return False
        return True


def clients(config: Config, stop: threading.Event) -> list[Bare]:
    """One for each node."""
    default = config.databases["default"]
    found = []
    for number, (name, host, port) in enumerate(config.direct, start=1):
        settings = {
            "host": host,
            "port": port,
            "user": default["USER"],
            "password": default["PASSWORD"],
            "database": default["NAME"],
            **TIMEOUTS,
        }
        path = Path(config.folder) / f"floor-{name}.jsonl"
        found.append(Bare(number, settings, path, stop))
    return found


def main() -> None:
    stop = threading.Event()
    config = Config.load(Path(os.environ["CHAOS_CONFIG"]))
    threads = [threading.Thread(target=bare.run, daemon=True) for bare in clients(config, stop)]
    print("ready", flush=True)
    if sys.stdin.readline():
        for thread in threads:
            thread.start()
        sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join(timeout=5)


if __name__ == "__main__":
    main()

"""What the processes of a run have to know, in a file that they are given the name of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ACCOUNTS, OPENING = 400, 1_000_000
TOTAL = ACCOUNTS * OPENING
BREAKS = ("no-marker", "no-compare", "blocks-differ", "runs-twice")  # see `broken`
SHARED = 16  # counters and pages that all clients use; each has one of its own besides
LABELS = 60
TICKETS = 4_000


@dataclass(frozen=True)
class Config:
    """One run, as its processes see it.

    Attributes:
        databases: for ``galera_router.expand``; the nodes lead through the proxies.
        direct: (name, host, port) of each node without a proxy.
        folder: where every process leaves its account.
        workloads: the kinds of transactions; empty for all.
        guard: whether ``lost_update_guard`` is on, so that what needs it may be tried.
        hard: also the kinds that run only if they are asked for.
        alone: each client works on rows of its own.
    """

    databases: dict[str, Any]
    direct: list[tuple[str, str, int]]
    folder: str
    seed: int
    processes: int
    threads: int
    workloads: tuple[str, ...] = ()
    guard: bool = True
    hard: bool = False
    alone: bool = False
    broken: str | None = None

    @classmethod
    def load(cls, path: Path) -> Config:
        return cls(**json.loads(path.read_text()))

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @property
    def clients(self) -> int:
        """Threads in all."""
        return self.processes * self.threads

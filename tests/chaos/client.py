"""A client process: ``python -m tests.chaos.client N LIFE``, several threads at work.

It prints ``ready``, begins when it reads a line, and ends when its input is closed. Lines that it
reads meanwhile are faults of its own: ``interrupt``, and ``clock SECONDS``. LIFE, 0 if not given,
is how many processes have been at work in its place before.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import django

from tests.chaos import clock

clock.install()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.chaos.settings")
django.setup()

from django.core.signals import request_finished, request_started  # noqa: E402
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections  # noqa: E402

from galera_router.connections.errors import refuses_writes  # noqa: E402
from galera_router.exceptions import (  # noqa: E402
    CommitOutcomeUnknown,
    FailoverImpossible,
    ReplayMismatch,
)
from galera_router.signals import Failover, failover  # noqa: E402
from tests.chaos import interrupts, jobs  # noqa: E402
from tests.chaos.bank import WrongAnswer  # noqa: E402
from tests.chaos.children import client_name  # noqa: E402
from tests.chaos.config import ACCOUNTS, Config  # noqa: E402
from tests.chaos.ledger import Ledger, Operation, Told  # noqa: E402
from tests.chaos.operations import KINDS  # noqa: E402
from tests.chaos.settings import CONFIG  # noqa: E402

OPERATIONS_EACH = 200_000  # no thread does more
THINKING = (0.0, 0.02)  # seconds between two operations
CONFLICTS = {1213, 1205, 1020}
HANGING = 60.0  # seconds after the end in which a thread may still come back
KNOWN = {"done", "conflict", "impossible", "raised"}  # told, and so it is known what is there
SHOWN = 300  # characters of an error


class Worker:
    """One thread."""

    def __init__(
        self, process: int, life: int, thread: int, config: Config, stop: threading.Event
    ) -> None:
        self.name = f"{client_name(process, life)}.{thread}"
        self.wanted, self.hard = config.workloads, config.hard
        self.stop = stop
        self.ended = False  # well, and not by an error of its own
        self.requests = thread % 2 == 0  # each operation as a request, as in a web server
        rng = random.Random(f"client {config.seed}/{self.name}")
        self.client = _client(process * config.threads + thread, rng, config)
        self.interruptible = interrupts.Interruptible()
        self.ledger = Ledger(Path(config.folder) / f"client-{self.name}.jsonl")

    def run(self) -> None:
        """Work until told to stop."""
        try:
            for number in range(OPERATIONS_EACH):
                if self.stop.is_set():
                    break
                self.work(f"{self.name}.{number}")
                time.sleep(self.client.rng.uniform(*THINKING))
            self.ended = True
        finally:
            self.ledger.close()
            connections.close_all()

    def work(self, token: str) -> None:
        """One operation, with what it was told."""
        kind = jobs.choose(self.client, self.wanted, self.hard)
        job = KINDS[kind].make(self.client, token)
        operation = _operation(token, kind, job)
        self.ledger.begin(operation)
        try:
            with self.interruptible.at_work():
                self.do(operation, job)
        except interrupts.TimeLimit as error:
            operation.told, operation.error = told(error, KINDS[kind])
        operation.end, operation.runs = time.monotonic(), max(job.runs, 1)
        operation.won = tuple(job.won) if operation.told == "done" else ()
        self.ledger.end(operation)
        if operation.told in KNOWN:
            job.after(operation.told == "done")
        _leave_block()

    def do(self, operation: Operation, job: jobs.Job) -> None:
        """Run it, and note what it says."""
        if self.requests:
            request_started.send(sender=Worker)
        try:
            operation.keys, operation.told = job.run(), "done"
        except Exception as error:
            operation.told, operation.error = told(error, KINDS[operation.kind])
            if operation.told == "raised":
                print(
                    f"{operation.token} {''.join(traceback.format_exception(error))}",
                    file=sys.stderr,
                )
        if self.requests:
            request_finished.send(sender=Worker)


def _leave_block() -> None:
    """Where an exception hits the end of a block, stock Django too stays in that block for ever."""
    connected = connection.connection is not None
    if connection.in_atomic_block or (connected and not connection.autocommit):
        connection.close()
        del connections[DEFAULT_DB_ALIAS]


def _client(number: int, rng: random.Random, config: Config) -> jobs.Client:
    """What a client has; its own accounts are a part of them all, if it is to be alone."""
    client = jobs.Client(number, rng, config.guard, config.alone)
    if config.alone:
        each = ACCOUNTS // config.clients
        client.accounts = range(number * each + 1, (number + 1) * each + 1)
    return client


def _operation(token: str, kind: str, job: jobs.Job) -> Operation:
    return Operation(
        token,
        kind,
        time.monotonic(),
        expect=tuple(job.expect),
        may=tuple(job.may),
        removes=tuple(job.removes),
        reads=tuple(job.reads),
        writes=tuple(job.writes),
        loose=KINDS[kind].loose,
    )


def told(error: Exception, kind: jobs.Kind) -> tuple[Told, str]:
    """What an exception says of the operation that it has ended, and the exception in words."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else None
    words = f"{type(error).__name__}: {error}"[:SHOWN]
    if interrupts.came_of_one(error):
        return "interrupted", words
    if isinstance(error, WrongAnswer):
        return "wrong", words
    if isinstance(error, CommitOutcomeUnknown):
        return ("unknown" if kind.loose else "doubt"), words
    if kind.loose and (isinstance(error, FailoverImpossible) or refuses_writes(error)):
        return "impossible", words
    is_conflict = isinstance(error, ReplayMismatch) or (
        isinstance(error, DatabaseError) and number in CONFLICTS
    )
    return ("conflict" if kind.block and is_conflict else "raised"), words


class Observer(logging.Handler):
    """Counts what the router logs, and keeps its failovers."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: Counter[str] = Counter()
        self.failovers: list[dict[str, Any]] = []
        logger = logging.getLogger("galera_router")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        failover.connect(self.failed_over)

    def emit(self, record: logging.LogRecord) -> None:
        self.messages[str(record.msg)] += 1
        print(f"{time.monotonic():.3f} {record.threadName} {record.getMessage()}", file=sys.stderr)

    def failed_over(self, event: Failover, **kwargs: object) -> None:
        values = {"lost": event.lost, "by": event.taken_over_by, "seconds": event.seconds}
        self.failovers.append({**values, "replayed": event.replayed, "at": time.monotonic()})

    def save(self, path: Path) -> None:
        path.write_text(json.dumps({"messages": self.messages, "failovers": self.failovers}))


def obey(words: list[str], workers: list[Worker]) -> None:
    """Do to this process what it is told; ValueError if nobody knows what that is."""
    match words:
        case ["interrupt"]:
            for worker in workers:
                worker.interruptible.interrupt()
        case ["clock", seconds]:
            clock.shift(int(seconds))
        case _:
            raise ValueError(" ".join(words))


def main() -> None:
    number = int(sys.argv[1])
    life = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if CONFIG.broken is not None:
        from tests.chaos import broken

        broken.break_router(CONFIG.broken)
    observer = Observer()
    stop = threading.Event()
    workers = [Worker(number, life, thread, CONFIG, stop) for thread in range(CONFIG.threads)]
    threads = [
        threading.Thread(target=worker.run, name=worker.name, daemon=True) for worker in workers
    ]
    print("ready", flush=True)
    for line in sys.stdin:
        if line.split() == ["go"]:  # a fault may strike a process that is about to begin
            for thread in threads:
                thread.start()
        else:
            obey(line.split(), workers)
    stop.set()
    deadline = time.monotonic() + HANGING
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(0.0, deadline - time.monotonic()))
    observer.save(Path(CONFIG.folder) / f"observer-{client_name(number, life)}.json")
    begun = [worker for worker, thread in zip(workers, threads, strict=True) if thread.ident]
    sys.exit(not all(worker.ended for worker in begun))


if __name__ == "__main__":
    main()

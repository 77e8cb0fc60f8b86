"""A process of the site: ``python -m tests.drill.load SETTINGS ACCOUNT NUMBER WRITERS READERS``.

It works until its standard input is closed, and then writes down what it was told, as JSON.
A writer adds one to both counters of its own, and a row with a token that is found nowhere else,
in one transaction. A reader compares the two counters of some writer, in one snapshot.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .site import begin

#: Seconds between two operations of one thread, at most.
PAUSE = 0.02


@dataclass
class Account:
    """What the threads of one process have met; moments are monotonic seconds.

    Attributes:
        tokens: of the transactions that were committed.
        writes: when each of them began and ended.
        reads: the same for the reads.
        errors: what the application was given, and when.
    """

    tokens: list[str] = field(default_factory=list)
    writes: list[tuple[float, float]] = field(default_factory=list)
    reads: list[tuple[float, float]] = field(default_factory=list)
    errors: list[tuple[float, str]] = field(default_factory=list)


class Load:
    """The threads of one process."""

    def __init__(self, number: int, writers: int, readers: int) -> None:
        self.account = Account()
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(self._write, f"{number}.{thread}"))
            for thread in range(writers)
        ] + [threading.Thread(target=self._run, args=(self._read, "")) for _ in range(readers)]

    def run(self, end: Callable[[], object]) -> None:
        """Work until ``end()`` returns."""
        for thread in self._threads:
            thread.start()
        end()
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _run(self, work: Callable[[str, int], None], name: str) -> None:
        from django.core.signals import request_finished, request_started
        from django.db import connections

        count = 0
        while not self._done.is_set():
            count += 1
            request_started.send(sender=type(self))
            try:
                work(name, count)
            except Exception as error:
                self._complain(f"{type(error).__name__}: {error}")
            request_finished.send(sender=type(self))
            time.sleep(random.uniform(0, PAUSE))
        connections.close_all()

    def _write(self, name: str, count: int) -> None:
        from django.db import transaction
        from django.db.models import F

        from tests.shop.models import Book, Tag

        token = f"{name}.{count}"
        began = time.monotonic()
        with transaction.atomic():
            for half in "ab":
                Book.objects.filter(title=f"{name}.{half}").update(stock=F("stock") + 1)
            Tag.objects.create(name=token)
        self.account.writes.append((began, time.monotonic()))
        self.account.tokens.append(token)

    def _read(self, name: str, count: int) -> None:
        from django.db import transaction

        from tests.shop.models import Book

        began = time.monotonic()
        with transaction.atomic():
            first = dict(Book.objects.filter(title__endswith="a").values_list("title", "stock"))
            second = dict(Book.objects.filter(title__endswith="b").values_list("title", "stock"))
        self.account.reads.append((began, time.monotonic()))
        if list(first.values()) != list(second.values()):
            self._complain(f"no snapshot: {first} and {second}")

    def _complain(self, text: str) -> None:
        self.account.errors.append((time.monotonic(), text))


def main(settings: str, account: str, number: str, writers: str, readers: str) -> None:
    begin(Path(settings))
    load = Load(int(number), int(writers), int(readers))
    print("working", flush=True)
    load.run(sys.stdin.read)
    Path(account).write_text(json.dumps(asdict(load.account)))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""End a run at the first thing that is wrong, as far as that can be known while clients work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from tests.chaos import alarms, checks, ledger
from tests.chaos.books import Books
from tests.chaos.faults import Faults
from tests.chaos.ledger import Accounts, Operation
from tests.chaos.pauses import Span, outages

EVERY = 0.5  # seconds between two looks
BOOKS = 1.5  # seconds between two looks at the books, and at least `SHARE` times what one takes
SHARE = 6
SETTLED = 0.3  # seconds after which what others have begun meanwhile has been read as well
WRONG = {"raised", "doubt", "wrong"}


class Watch:
    """A thread that reads the clients' accounts, and ends the faults when one is bad.

    Args:
        excused: returns True if an error is the cluster's, given when no node wrote.
        snapshot: the books and their moment, or None.
        say: told what is wrong.
    """

    def __init__(
        self,
        folder: Path,
        faults: Faults,
        excused: Callable[[Operation, list[Span]], bool],
        snapshot: Callable[[], tuple[float, Books] | None],
        say: Callable[[str], None],
    ) -> None:
        self._accounts = Accounts(folder)
        self._folder = folder
        self._faults = faults
        self._excused = excused
        self._snapshot = snapshot
        self._say = say
        self._books_at = time.monotonic() + BOOKS
        self.found = ""
        self._judged: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            self.found = self.look()
            if self.found:
                self._say(f"Stopped early: {self.found}")
                self._faults.over.set()
                return

    def look(self) -> str:
        """What is wrong; "" if nothing is."""
        now = time.monotonic()
        operations = self._accounts.read()
        ended = [one for one in operations if one.end is not None and one.end < now - SETTLED]
        fresh = [one for one in ended if one.token not in self._judged]
        self._judged.update(one.token for one in fresh)
        return self._error(fresh, now) or self._alarm(fresh, operations, now) or self._wrong(now)

    def _error(self, fresh: list[Operation], now: float) -> str:
        bad = [one for one in fresh if one.told in WRONG]
        if not bad:
            return ""
        dark = self._dark(now)
        return next((str(one) for one in bad if not self._excused(one, dark)), "")

    def _dark(self, now: float) -> list[Span]:
        floors = ledger.floors(self._folder)
        return outages({**floors, "now": [(now, now)]}, 1.0)

    def _alarm(self, fresh: list[Operation], operations: list[Operation], now: float) -> str:
        if not any(alarms.is_alarm(one) for one in fresh):
            return ""
        striking = self._faults.striking
        windows = [*self._faults.windows, *([striking] if striking else [])]
        named = {one.token for one in fresh}
        found = alarms.complaints(operations, windows, of=named, dark=self._dark(now))
        return found[0] if found else ""

    def _wrong(self, now: float) -> str:
        """A complaint about the books of this moment."""
        if now < self._books_at or (taken := self._snapshot()) is None:
            return ""
        found = complaints_at(*taken, self._accounts.read())
        self._books_at = time.monotonic() + max(BOOKS, SHARE * (time.monotonic() - now))
        return found[0] if found else ""


def complaints_at(moment: float, books: Books, operations: Iterable[Operation]) -> list[str]:
    """What is wrong with the books of a moment, by accounts that have been read after it."""
    known = [
        one
        if one.end is not None and one.end < moment
        else replace(one, told="unknown", won=(), error="")
        for one in operations
    ]
    return checks.complaints(books, known)

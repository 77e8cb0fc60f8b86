"""What the visitors saw, counted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Outcome = Literal["made", "refused", "failed", "unheard"]


@dataclass(frozen=True)
class Asked:
    """A transfer that a visitor asked for, in cents, and what it was told.

    ``made``: the receipt was shown. ``refused``: the form said no. ``failed``: the site answered
    with an error. ``unheard``: no answer came, or only that the outcome is unknown.
    """

    reference: str
    source: int
    target: int
    amount: int
    outcome: Outcome


@dataclass(frozen=True)
class Pause:
    """The longest wait: seconds, for what, and when (seconds after the start)."""

    seconds: float = 0.0
    what: str = ""
    at: float = 0.0


@dataclass
class Tally:
    """Counters that all visitors share; every change is made under its lock."""

    requests: int = 0
    asked_again: int = 0
    late: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    pause: Pause = Pause()
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._start = time.monotonic()

    def request(self, what: str, seconds: float) -> None:
        """A request was answered, or given up, after so many seconds."""
        with self._lock:
            self.requests += 1
            if seconds > self.pause.seconds:
                self.pause = Pause(seconds, what, time.monotonic() - self._start - seconds)

    def error(self, kind: str) -> None:
        """Something went wrong that a person would have noticed."""
        with self._lock:
            self.errors[kind] += 1

    def again(self) -> None:
        """A transfer is asked for again with the same reference."""
        with self._lock:
            self.asked_again += 1

    def receipt_late(self) -> None:
        """A receipt was not there yet when it was read for the first time."""
        with self._lock:
            self.late += 1

    def transfer(self, asked: Asked) -> None:
        """A transfer was asked for, and this is what became of it."""
        with self._lock:
            self.asked.append(asked)

    def progress(self) -> dict[str, Any]:
        """The two figures that change most."""
        with self._lock:
            return {"requests": self.requests, "errors": self.errors.total()}

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; to be called when the visitors have gone home."""
        return {**asdict(self), "errors": dict(self.errors)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Tally:
        """The inverse of :meth:`as_dict`."""
        return cls(
            requests=data["requests"],
            asked_again=data["asked_again"],
            late=data["late"],
            errors=Counter(data["errors"]),
            pause=Pause(**data["pause"]),
            asked=[Asked(**asked) for asked in data["asked"]],
        )

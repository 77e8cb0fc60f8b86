"""When code may be run again after its transaction failed, and how."""

from __future__ import annotations

import random

from galera_router import signals
from galera_router.connections.errors import (
    is_conflict,
    is_outdated,
    is_unknown_name,
    refuses_writes,
)
from galera_router.events import Rerun, RerunRefused
from galera_router.exceptions import FailoverImpossible, ReplayMismatch

#: Runs of one function or request, the first included.
ATTEMPTS = 10
#: Seconds before the first repetition; doubled, with jitter, before each further one.
PAUSE = 0.02
#: Seconds after which it grows no more.
LONGEST = 1.0


class Attempts:
    """The runs of one function or request.

    Args:
        limit: runs in all.
    """

    def __init__(self, limit: int = ATTEMPTS) -> None:
        self._limit = limit
        self._run = 1
        self._moved = self._refused = False

    @property
    def run(self) -> int:
        """The number of the run at hand, from 1."""
        return self._run

    def may_repeat(self, error: BaseException, *, on_secondary: bool = False) -> bool:
        """Returns True if ``error`` undid everything and another run may succeed; counts that run.

        Args:
            error: what has ended the run.
            on_secondary: the next run is on the primary from its start, and this one was not: what
                a secondary does not know yet may be there.
        """
        if self._run >= self._limit:
            return False
        if is_unknown_name(error):
            if self._moved or not on_secondary:
                return False
            self._moved = True
        elif refuses_writes(error):  # another node may be the primary for that
            if self._refused:
                return False
            self._refused = True
        elif not _undone(error):
            return False
        self._run += 1
        return True

    def tell(self, alias: str, what: str, error: BaseException) -> None:
        """Tell that ``what`` is run again now because of ``error``, met on ``alias``."""
        name = type(error).__name__
        signals.send(Rerun, alias, what, self._run, self._limit, name, str(error))


def tell_not(alias: str, what: str, error: BaseException, obstacle: str) -> None:
    """Tell why ``what`` is not run again although ``error``, met on ``alias``, would allow it."""
    signals.send(RerunRefused, alias, what, type(error).__name__, obstacle, str(error))


def _undone(error: BaseException) -> bool:
    """Returns True if ``error`` leaves nothing behind, and another run would not miss anything."""
    if isinstance(error, FailoverImpossible):
        return error.again
    return isinstance(error, ReplayMismatch) or is_conflict(error) or is_outdated(error)


def pause(repetition: int) -> float:
    """Returns the seconds to wait before the first, second … repetition."""
    return min(PAUSE * 2.0 ** min(repetition - 1, 30), LONGEST) * random.uniform(0.5, 1.5)

"""When code may be run again after its transaction failed, and how."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from typing import Protocol

from galera_router.connections.errors import is_conflict
from galera_router.exceptions import FailoverImpossible, ReplayMismatch

logger = logging.getLogger("galera_router")

#: Runs of one function or request, the first included.
ATTEMPTS = 6
#: Seconds before the first repetition; doubled, with jitter, before each further one.
PAUSE = 0.02
#: Seconds after which it grows no more.
LONGEST = 1.0


class Counting(Protocol):
    """What counts how much has been made final."""

    commits: int


class Attempts:
    """The runs of one function or request.

    Args:
        commits: for each cluster that it runs on, how much had been made final when it
            began; anything more would be done twice by another run.
        limit: runs in all.
    """

    def __init__(self, commits: Mapping[Counting, int], limit: int = ATTEMPTS) -> None:
        self._commits = commits
        self._left = limit - 1

    def may_repeat(self, error: BaseException) -> bool:
        """Whether ``error`` undid everything and another run may succeed; counts the run."""
        if not _undone(error):
            return False
        if self._left <= 0 or any(c.commits != before for c, before in self._commits.items()):
            return False
        self._left -= 1
        logger.info("running again after %s: %s", type(error).__name__, error)
        return True


def _undone(error: BaseException) -> bool:
    """Whether ``error`` leaves nothing behind, and another run would not miss anything."""
    if isinstance(error, FailoverImpossible):
        return error.again
    return isinstance(error, ReplayMismatch) or is_conflict(error)


def pause(repetition: int) -> float:
    """Seconds to wait before the first, second … repetition."""
    return min(PAUSE * 2.0 ** min(repetition - 1, 30), LONGEST) * random.uniform(0.5, 1.5)

"""The transactions on other databases that are open around a function which may run again.

Nobody undoes what a run has done in them.
"""

from __future__ import annotations

from typing import Any

from galera_router.compat import commits, wrappers
from galera_router.compat.commits import Wrapper


class Around:
    """Those that are open now.

    Args:
        alias: the database of the function's own transaction.
    """

    def __init__(self, alias: str) -> None:
        found = wrappers.initialised()
        others = [wrapper for name, wrapper in found.items() if name != alias]
        self._open = [(w, _done_in(w)) for w in others if w.connection and not w.autocommit]

    def obstacle(self) -> str | None:
        """Returns why the function must not run again, in words; None if it may."""
        for wrapper, before in self._open:
            if _has_written(wrapper) or _done_in(wrapper) != before:
                return f"it has written in a transaction on {wrapper.alias!r} that was open before"
        return None


def _done_in(wrapper: Wrapper) -> tuple[object, ...]:
    """Returns counts and flags; if they change, the open transaction was written to or undone."""
    counted = commits.writes_in(wrapper), len(wrapper.run_on_commit)
    return *counted, wrapper.needs_rollback, wrapper.autocommit


def _has_written(wrapper: Wrapper) -> bool:
    """Returns True if the transaction is on another cluster and may have written, ever."""
    session: Any = vars(wrapper).get("galera_session")
    return session is not None and session.marking.wanted

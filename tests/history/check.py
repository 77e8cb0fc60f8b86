"""The way in."""

from __future__ import annotations

from tests.history.cycles import cycles
from tests.history.graph import build
from tests.history.history import History
from tests.history.versions import Anomaly, versions


def complaints(history: History) -> list[Anomaly]:
    """All that the levels of the transactions do not allow; ValueError for a malformed history."""
    known = versions(history)
    return [*known.found, *cycles(build(history, known))]

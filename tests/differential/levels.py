"""What each level draws from, and how it plays that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from galera_router.testing import Proxy
from tests.differential.compare import Difference
from tests.differential.faulty import Cutter, Interrupter, cuts, points
from tests.differential.pair import Pair
from tests.differential.search import Play
from tests.differential.sides import ServerDied
from tests.differential.strategies import programmes


def level(
    number: int, both: Pair, proxies: Mapping[str, Proxy]
) -> tuple[st.SearchStrategy[Any], Play]:
    """The cases of a level: 0 without a fault, 1 cut at a byte, 2 interrupted at a point.

    Args:
        proxies: at level 1, what the router of ``both`` is behind.
    """
    if number == 0:
        return programmes(), _guarded(both, lambda case: both.play(case).difference)
    if number == 1:
        return cuts(), _guarded(both, Cutter(both, proxies).play)
    return points(), _guarded(both, Interrupter(both).play)


def _guarded(both: Pair, play: Play) -> Play:
    """``play``, for which a server that dies is no difference: it is the server's own fault."""

    def guarded(case: Any) -> Difference | None:
        try:
            return play(case)
        except ServerDied:
            both.recover(case)
            return None

    return guarded

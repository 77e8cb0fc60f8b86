"""Tell of tokens that are ignored: once a minute for each reason, however many come.

They come from outside, and so may as many lines of the log.
"""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("galera_router")

#: Seconds between two lines of one reason.
PAUSE = 60.0

_told: dict[str, float] = {}
_untold: dict[str, int] = {}


def tell_ignored(level: int, reason: str, *values: object) -> None:
    """Log that a token was ignored, unless that was told within the last minute.

    Args:
        level: of the line.
        reason: why, with places for ``values``; what is the same reason is told by this text.
        values: as for a logger.
    """
    now = time.monotonic()
    if now - _told.get(reason, float("-inf")) < PAUSE:
        _untold[reason] = _untold.get(reason, 0) + 1
        return
    _told[reason] = now
    more = _untold.pop(reason, 0)
    ending = f" (and {more} more since that was last told)" if more else ""
    logger.log(level, f"a causal token was ignored: {reason}{ending}", *values)

"""A clock that can be set forward and back, for this process alone.

Import it before whatever keeps ``time.time`` for itself, and install() it.
"""

from __future__ import annotations

import time

_time = time.time
_time_ns = time.time_ns
_ahead = 0


def install() -> None:
    """Have ``time.time`` and ``time.time_ns`` follow shift()."""
    time.time = lambda: _time() + _ahead
    time.time_ns = lambda: _time_ns() + _ahead * 1_000_000_000


def shift(seconds: int) -> None:
    """Let the clock be ahead of what is right by so much; 0: it is right."""
    global _ahead
    _ahead = seconds

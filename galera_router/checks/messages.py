"""Messages with permanent IDs. A number that has been given out keeps its meaning for ever."""

from __future__ import annotations

from collections.abc import Sequence

from django.core import checks

APP = "galera_router"
SHOWN = 5  # names in one message


def error(number: int, message: str, hint: str) -> checks.CheckMessage:
    """What keeps the application from working, or from being safe."""
    return checks.Error(message, hint=hint, id=f"{APP}.E{number:03}")


def warning(number: int, message: str, hint: str) -> checks.CheckMessage:
    """What makes a promise weaker, or is likely a mistake."""
    return checks.Warning(message, hint=hint, id=f"{APP}.W{number:03}")


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")

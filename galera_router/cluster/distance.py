"""How far away a node is, and how much longer its answer may take for that."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

#: Round trips of a question at most: TCP, greeting, two of TLS, two of the log-in, SET NAMES, the
#: questions, and what is left of them after an error. Usually there are five.
TRIPS = 9
#: Answers of which the quickest counts: a server is slow for a moment, but never near for one.
KEPT = 4
#: Seconds of a round trip: at most; and of a node that nobody here is connected to.
LONGEST, UNKNOWN = 0.5, 0.25


class HasRoundTrip(Protocol):
    """A connection that may know how long a round trip takes."""

    def round_trip(self) -> float | None:
        """Seconds; None if that is not known."""


class Distance:
    """The time that a round trip to one node takes, as its last answers tell."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=KEPT)

    def note(self, seconds: float) -> None:
        """Note how long one round trip has taken, the server's own time included."""
        self._last.append(seconds)

    def round_trip(self, links: Iterable[HasRoundTrip] = ()) -> float:
        """Seconds of a round trip, bounded.

        Args:
            links: connections to the node, asked as long as no answer has told it.
        """
        if last := tuple(self._last):
            return min(LONGEST, *last)
        told = [link.round_trip() for link in links]
        return min(LONGEST, max((trip or 0.0 for trip in told), default=UNKNOWN))

    def allowance(self, links: Iterable[HasRoundTrip] = ()) -> float:
        """Seconds that the way of a question and its answer takes, beside the server's time."""
        return TRIPS * self.round_trip(links)

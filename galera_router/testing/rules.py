"""What a proxy does to its connections: the faults in force, and rules for single packets."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from enum import Enum, auto

from .packets import statement

# Held by whoever looks at or changes a proxy, and while the program forks.
LOCK = threading.RLock()


class Deed(Enum):
    """What a rule does to the packet that it takes."""

    SWALLOW = auto()
    DROP = auto()
    CUT = auto()


class Rule:
    """A fault that waits for its packet; made by Proxy.swallow(), drop() and cut_at()."""

    def __init__(self, deed: Deed, pattern: str | None, times: int, cut: bool) -> None:
        self.deed = deed
        self.cut = cut
        self._pattern = None if pattern is None else re.compile(pattern, re.IGNORECASE)
        self._left = times
        self._fired = 0
        self._has_fired = threading.Event()

    @property
    def fired(self) -> int:
        """How often it has struck.

        A statement whose answer is swallowed counts once the server has answered, so it has been
        carried out then; all else counts once it has been done.
        """
        return self._fired

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, at most ``timeout`` seconds, until it has struck, and return whether it has."""
        return self._has_fired.wait(timeout)

    def cancel(self) -> None:
        """Let it strike no more; connections that hang because of it still do."""
        with LOCK:
            self._left = 0

    @property
    def is_spent(self) -> bool:
        """Whether it will take no packet any more."""
        return self._left == 0

    @property
    def counts_packets(self) -> bool:
        """Whether it waits for a number of packets rather than for a statement."""
        return self._pattern is None

    def count(self) -> bool:
        """Count one packet, and return whether that is the one which is waited for."""
        self._left -= 1
        return self._left == 0

    def takes(self, sql: str) -> bool:
        """Return whether this statement is one that is waited for, which is one less then."""
        if self._pattern is None or self._pattern.search(sql) is None:
            return False
        self._left -= 1
        return True

    def strike(self, cut: Callable[[], None]) -> None:
        """Note that it strikes, and ``cut()`` the connection if that is what it does."""
        # Who sees the cut sees it counted, and who has waited sees it done.
        self._fired += 1
        if self.cut:
            cut()
        self._has_fired.set()


class Faults:
    """What is in force on all connections of one proxy."""

    def __init__(self) -> None:
        self.hole = False
        self.delay = 0.0
        self.rules: list[Rule] = []

    def rule_for(self, packet: bytes) -> Rule | None:
        """Return the rule that takes this packet of a client, None if it goes on its way."""
        if not self.rules:
            return None
        self.rules = [rule for rule in self.rules if not rule.is_spent]
        for rule in self.rules:
            if rule.counts_packets and rule.count():
                return rule
        sql = statement(packet)
        return None if sql is None else next((rule for rule in self.rules if rule.takes(sql)), None)

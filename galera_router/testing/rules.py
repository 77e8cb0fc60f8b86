"""What a proxy does to its connections: the faults in force, and rules for packets and bytes."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import Literal

from .packets import statement

# Held by whoever looks at or changes a proxy, and while the program forks.
LOCK = threading.RLock()

#: Where bytes are going.
Toward = Literal["server", "client"]


class Deed(Enum):
    """What a rule does to the packet that it takes, or to what comes behind its byte."""

    SWALLOW = auto()
    DROP = auto()
    CUT = auto()
    HOLD = auto()


class Rule:
    """A fault that waits for its moment; made by the methods of Proxy."""

    def __init__(self, deed: Deed, pattern: str | None, left: int) -> None:
        self.deed = deed
        self._pattern = None if pattern is None else re.compile(pattern, re.IGNORECASE)
        self._left = left
        self._is_over = False
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
            self._is_over = True

    @property
    def is_spent(self) -> bool:
        """Returns True if it will strike no more."""
        return self._is_over

    def matches(self, sql: str) -> bool:
        """Returns whether this is a statement that is waited for."""
        return self._pattern is not None and self._pattern.search(sql) is not None

    def strike(self, act: Callable[[], None] | None = None) -> None:
        """Note that it strikes, and ``act()`` if there is something to be done."""
        # Who sees the cut sees it counted, and who has waited sees it done.
        self._fired += 1
        if act is not None:
            act()
        self._has_fired.set()


class PacketRule(Rule):
    """Takes whole packets of clients; made by Proxy.swallow(), drop() and cut_at()."""

    def __init__(self, deed: Deed, pattern: str | None, times: int, cut: bool) -> None:
        super().__init__(deed, pattern, times)
        self.cut = cut

    @property
    def is_spent(self) -> bool:
        """Returns True if it will take no packet any more."""
        return self._is_over or self._left == 0

    @property
    def counts_packets(self) -> bool:
        """Returns True if it waits for a number of packets rather than for a statement."""
        return self._pattern is None

    def count(self) -> bool:
        """Count one packet, and return whether that is the one which is waited for."""
        self._left -= 1
        return self._left == 0

    def takes(self, sql: str) -> bool:
        """Returns whether this statement is one that is waited for, which is one less then."""
        if not self.matches(sql):
            return False
        self._left -= 1
        return True


class ByteRule(Rule):
    """Strikes once, when a number of bytes has passed; made by Proxy.cut_at_byte() and its kin.

    Without a pattern it counts the bytes of all connections. With one it counts those of the
    connection that it was bound to, by a statement that matched.
    """

    def __init__(self, deed: Deed, toward: Toward, count: int, pattern: str | None) -> None:
        super().__init__(deed, pattern, count)
        self.toward = toward
        self._bound: object = None

    @property
    def waits_for_statement(self) -> bool:
        """Returns True if it counts nothing yet, because its statement has not come."""
        return self._pattern is not None and self._bound is None

    def bind(self, link: object) -> None:
        """Count the bytes of ``link`` from now on."""
        self._bound = link

    def counts(self, link: object, toward: Toward) -> bool:
        """Returns True if bytes of ``link`` that go ``toward`` there are counted."""
        if self._is_over or self.waits_for_statement or self.toward != toward:
            return False
        return self._bound is None or self._bound is link

    def pass_on(self, size: int) -> int | None:
        """Count ``size`` bytes; return how many of them still pass if it strikes, else None."""
        if size < self._left:
            self._left -= size
            return None
        self._is_over = True
        return self._left


class Faults:
    """What is in force on all connections of one proxy, and what has passed."""

    def __init__(self) -> None:
        self.hole = False
        self.delay = 0.0
        self.rules: list[PacketRule] = []
        self.byte_rules: list[ByteRule] = []
        self.passed: dict[Toward, int] = {"server": 0, "client": 0}

    def rule_for(self, packet: bytes) -> PacketRule | None:
        """Returns the rule that takes this packet of a client, None if it goes on its way."""
        if not self.rules:
            return None
        self.rules = [rule for rule in self.rules if not rule.is_spent]
        for rule in self.rules:
            if rule.counts_packets and rule.count():
                return rule
        sql = statement(packet)
        return None if sql is None else next((rule for rule in self.rules if rule.takes(sql)), None)

    def announce(self, packet: bytes, link: object) -> None:
        """Bind the rules that have waited for the statement in ``packet`` to its connection.

        That is the first one that matches, of those that count what goes in the same direction.
        """
        waiting = [rule for rule in self.byte_rules if rule.waits_for_statement]
        sql = statement(packet) if waiting else None
        bound: set[Toward] = set()
        for rule in waiting:
            if sql is not None and rule.toward not in bound and rule.matches(sql):
                rule.bind(link)
                bound.add(rule.toward)

    def byte_rule_for(self, link: object, toward: Toward, size: int) -> tuple[ByteRule, int] | None:
        """Count ``size`` bytes; return the rule that strikes in them and how many still pass."""
        if not self.byte_rules:
            return None
        self.byte_rules = [rule for rule in self.byte_rules if not rule.is_spent]
        for rule in self.byte_rules:
            if rule.counts(link, toward) and (left := rule.pass_on(size)) is not None:
                return rule, left
        return None

"""A TCP proxy in front of one server that does to its connections what networks do."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

from .errors import ClusterError
from .ports import HOST
from .rules import LOCK, ByteRule, Deed, PacketRule, Rule, Toward
from .switchboard import Switchboard


class Passed(NamedTuple):
    """How many bytes a proxy has delivered, or is about to."""

    to_server: int
    to_client: int


class Proxy:
    """A proxy on 127.0.0.1 in front of one server, which can lose packets and cut connections.

    Use it as a context manager, or call start() and stop(). Every method may be called from any
    thread and has done its work when it returns. Rules see the text of a client's COM_QUERY; a
    connection with TLS or compression is forwarded, but no rule sees into it. If the server
    refuses a connection, the client's is reset. A forked child has no part in its parent's
    proxies. What is done to a proxy that is not started raises ClusterError.
    """

    def __init__(self, host: str, port: int) -> None:
        """Take the server's address; nothing is opened yet."""
        self._server = (host, port)
        self._switchboard: Switchboard | None = None

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """Where to connect to instead of to the server."""
        return HOST

    @property
    def port(self) -> int:
        """The port to connect to."""
        return self._running().port

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        with LOCK:
            return len(self._running().links)

    @property
    def opened(self) -> int:
        """How many connections have been opened since start()."""
        return self._running().opened

    @property
    def passed(self) -> Passed:
        """How many bytes have gone to the server and to clients since start(), log-ins included."""
        with LOCK:
            passed = self._running().faults.passed
            return Passed(passed["server"], passed["client"])

    def start(self) -> None:
        """Listen on a free port, and forward connections in a thread of its own.

        Raises ClusterError if it is started already or no port is free, OSError if the server's
        name is not known.
        """
        if self._switchboard is not None:
            raise ClusterError("the proxy is started already")
        self._switchboard = Switchboard(*self._server)

    def stop(self) -> None:
        """Reset all connections and end the thread; harmless if that is done already."""
        if self._switchboard is None or self._switchboard.owner != os.getpid():
            return
        switchboard, self._switchboard = self._switchboard, None
        switchboard.close()

    def cut(self) -> None:
        """Reset all open connections, on both sides; new ones are served."""
        with self._changing() as switchboard:
            switchboard.take()
            switchboard.reset(list(switchboard.links))

    def refuse(self) -> None:
        """Refuse new connections, as a closed port does; open ones live on."""
        with self._changing() as switchboard:
            switchboard.shut()

    def accept(self) -> None:
        """Serve new connections again after refuse()."""
        with self._changing() as switchboard:
            switchboard.listen()

    def black_hole(self) -> None:
        """Forward nothing any more: open connections hang, new ones open and hear nothing.

        The end of a connection is not forwarded either, so sessions on the server live on.
        """
        with self._changing() as switchboard:
            switchboard.faults.hole = True
            switchboard.advance()

    def restore(self) -> None:
        """Forward again after black_hole(), what was sent meanwhile included."""
        with self._changing() as switchboard:
            switchboard.faults.hole = False
            switchboard.advance()

    def delay(self, seconds: float) -> None:
        """Hold each packet from the server for ``seconds``; 0 ends that, for held ones as well.

        Raises ValueError if ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(f"a delay is not negative: {seconds}")
        with self._changing() as switchboard:
            switchboard.faults.delay = seconds
            if not seconds:
                for link in switchboard.links:
                    link.client.hurry()
                switchboard.advance()

    def swallow(self, pattern: str, times: int = 1, cut: bool = False) -> Rule:
        """Deliver the statement that matches, but none of what the server says from then on.

        pattern: a regular expression, searched in the text of the statement, case ignored.
        times: how many statements, on whichever connections.
        cut: reset the connection as soon as the server has answered the whole of the statement,
            rather than let the client hang.
        Raises ValueError if ``times`` is below 1, re.error if ``pattern`` is none.
        """
        return self._rule(Deed.SWALLOW, pattern, times, cut)

    def drop(self, pattern: str, times: int = 1, cut: bool = False) -> Rule:
        """Do not deliver the statement that matches, nor what the client sends after it.

        Arguments and errors are those of swallow(), but ``cut`` resets the connection at once. If
        a client that hangs closes its connection, the server is told so.
        """
        return self._rule(Deed.DROP, pattern, times, cut)

    def cut_at(self, packets: int) -> Rule:
        """Reset the connection whose client sends the n-th packet from now on, undelivered.

        packets: n, counted over all connections, the packets of a login included.
        Raises ValueError if ``packets`` is below 1.
        """
        return self._rule(Deed.CUT, None, packets, True)

    def cut_at_byte(
        self, count: int, *, toward: Toward = "server", pattern: str | None = None
    ) -> Rule:
        """Deliver ``count`` bytes more, and end the connection on which the last of them came.

        count: of the bytes that go ``toward`` the server or the client, over all connections and
            from now on, log-ins included; 0 ends the connection at the next byte, undelivered.
        pattern: count from the first byte of the next statement that matches, or of the answer
            to it, and on its connection alone; searched in its text, case ignored.
        The bytes before the cut are delivered first: who reads them then meets the end.
        Raises ValueError if ``count`` is negative or ``toward`` is neither, re.error if
        ``pattern`` is none.
        """
        return self._byte_rule(Deed.CUT, count, toward, pattern)

    def hold_at_byte(
        self, count: int, *, toward: Toward = "server", pattern: str | None = None
    ) -> Rule:
        """Deliver ``count`` bytes more, and hold those behind them until release().

        Only that connection and that direction stand still. What is held toward the server
        arrives even if the client has left meanwhile. Arguments and errors are those of
        cut_at_byte().
        """
        return self._byte_rule(Deed.HOLD, count, toward, pattern)

    def swallow_at_byte(
        self, count: int, *, toward: Toward = "server", pattern: str | None = None
    ) -> Rule:
        """Deliver ``count`` bytes more, and lose those behind them; the connection stays open.

        Arguments and errors are those of cut_at_byte().
        """
        return self._byte_rule(Deed.SWALLOW, count, toward, pattern)

    def release(self, rule: Rule) -> None:
        """Deliver what a rule of hold_at_byte() has held; harmless if it holds nothing."""
        rule.cancel()
        with self._changing() as switchboard:
            for link in list(switchboard.links):
                if isinstance(rule, ByteRule):
                    link.release(rule, time.monotonic())

    def heal(self) -> None:
        """Undo everything: accept(), restore(), delay(0), no rules; what hangs by one is cut."""
        with self._changing() as switchboard:
            switchboard.faults.rules.clear()
            switchboard.faults.byte_rules.clear()
            switchboard.reset([link for link in switchboard.links if link.hangs])
            self.accept()
            self.restore()
            self.delay(0)

    def _rule(self, deed: Deed, pattern: str | None, times: int, cut: bool) -> Rule:
        if times < 1:
            raise ValueError(f"at least 1, not {times}")
        rule = PacketRule(deed, pattern, times, cut)
        with self._changing() as switchboard:
            switchboard.faults.rules.append(rule)
        return rule

    def _byte_rule(self, deed: Deed, count: int, toward: Toward, pattern: str | None) -> Rule:
        if count < 0:
            raise ValueError(f"a number of bytes is not negative: {count}")
        if toward not in ("server", "client"):
            raise ValueError(f"toward is 'server' or 'client', not {toward!r}")
        rule = ByteRule(deed, toward, count, pattern)
        with self._changing() as switchboard:
            switchboard.faults.byte_rules.append(rule)
        return rule

    def _running(self) -> Switchboard:
        if self._switchboard is None:
            raise ClusterError("the proxy is not started")
        return self._switchboard

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Switchboard]:
        switchboard = self._running()
        if switchboard.owner != os.getpid():
            raise ClusterError("the proxy is that of another process")
        with LOCK:
            yield switchboard
        switchboard.rouse()

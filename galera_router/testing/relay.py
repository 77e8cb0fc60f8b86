"""One connection through a proxy: two sockets, and what is on its way between them."""

from __future__ import annotations

import errno
import selectors
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from .packets import COMPRESS, TLS, Answer, Packets, capabilities
from .rules import ByteRule, Deed, Faults, PacketRule, Toward

CHUNK = 1 << 16
FULL = 1 << 20
# Closing a socket that lingers for no time at all resets its connection.
AT_ONCE = struct.pack("ii", 1, 0)


class Server(NamedTuple):
    """Where a server listens."""

    family: int
    address: Any


class Side:
    """One end of a connection: its socket, and what is still to be sent there."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.watched = 0
        self.has_ended = False
        self.size = 0
        self.held: list[bytes] | None = None  # what is not to be sent before it is released
        self.gone = False  # what is to be sent there is lost
        self._waiting: deque[tuple[float, memoryview]] = deque()

    @property
    def due(self) -> float | None:
        """The time from which the next bytes may be sent, None if there are none."""
        return self._waiting[0][0] if self._waiting else None

    def put(self, data: bytes, due: float = 0.0) -> None:
        """Have ``data`` sent after all before it, not before the monotonic time ``due``."""
        self._waiting.append((due, memoryview(data)))
        self.size += len(data)

    def hurry(self) -> None:
        """Let all that waits for its time be sent now."""
        self._waiting = deque((0.0, data) for _due, data in self._waiting)

    def send(self, now: float) -> None:
        """Send what is due, as far as the socket takes it. Raises OSError if that is lost."""
        while self._waiting and self._waiting[0][0] <= now:
            due, data = self._waiting.popleft()
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            self.size -= sent
            if sent < len(data):
                self._waiting.appendleft((due, data[sent:]))
                return

    def receive(self) -> bytes:
        """Returns what has arrived, maybe nothing. Raises OSError if the connection is lost."""
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return b""
        self.has_ended = not data
        return data


class Link:
    """A client's connection and the one to the server; all of it is used under the LOCK."""

    def __init__(
        self,
        client: socket.socket,
        server: Server,
        faults: Faults,
        selector: selectors.BaseSelector,
        ended: Callable[[Link], None],
    ) -> None:
        """Take the client's socket and the server's address; ``ended`` is told the end."""
        self.client = Side(client)
        self.server = Side(socket.socket(server.family, socket.SOCK_STREAM))
        self.is_closed = False
        self._address = server.address
        self._faults = faults
        self._selector = selector
        self._ended = ended
        self._state = "new"
        self._packets: Packets | None = Packets()
        self._flags: int | None = None
        self._rule: PacketRule | None = None
        self._byte_rule: ByteRule | None = None
        self._answer: Answer | None = None

    def handle(self, side: Side, events: int, now: float) -> None:
        """Do what a socket is ready for, unless nothing may pass."""
        if self.is_closed or self._faults.hole:
            return
        try:
            if self._state == "connecting" and side is self.server:
                self._connected()
            elif events & selectors.EVENT_READ:
                self._receive(side, now)
        except OSError:
            self._lost(side)
        self.advance(now)

    def advance(self, now: float) -> None:
        """Send what may be sent, end what has come to its end, and watch for what comes next."""
        if not self.is_closed and not self._faults.hole:
            if self._state == "new":
                self._connect()
            self._send(self.client, now)
            if self._state == "connected":
                self._send(self.server, now)
            if self._is_over():
                self._close()
        if not self.is_closed:
            self._watch(self.client, self._wanted(self.client, self.server, now))
            self._watch(self.server, self._wanted(self.server, self.client, now))

    def reset(self) -> None:
        """End both sides at once; what was on its way is lost."""
        if self.is_closed:
            return
        for side in (self.client, self.server):
            side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self._close()

    @property
    def hangs(self) -> bool:
        """Returns True if a rule keeps one side from hearing the other."""
        return self._rule is not None or self._byte_rule is not None

    def release(self, rule: ByteRule, now: float) -> None:
        """Let what ``rule`` has held go on its way."""
        if self._byte_rule is not rule:
            return
        self._byte_rule = None
        for side in (self.client, self.server):
            held, side.held = side.held, None
            for data in held or ():
                side.put(data)
        self.advance(now)

    def _close(self) -> None:
        self.is_closed = True
        for side in (self.client, self.server):
            self._watch(side, 0)
            side.sock.close()
        self._ended(self)

    def _connect(self) -> None:
        if _has_left(self.client.sock):
            self.reset()
            return
        self._state = "connecting"
        failure = self.server.sock.connect_ex(self._address)
        if failure not in (0, errno.EINPROGRESS):
            self.reset()

    def _connected(self) -> None:
        failure = self.server.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            self.reset()
        self._state = "connected"

    def _receive(self, side: Side, now: float) -> None:
        data = side.receive()
        if not data:
            return
        if side is self.client:
            self._from_client(data)
        else:
            self._from_server(data, now)

    def _from_client(self, data: bytes) -> None:
        if self._packets is None:
            self._forward("server", data)
            return
        for packet in self._packets.feed(data):
            self._packet(packet)
            if self.is_closed:
                return
        if self._flags is not None and self._flags & (TLS | COMPRESS):
            self._forward("server", self._packets.rest())
            self._packets = None

    def _packet(self, packet: bytes) -> None:
        if self._flags is None:
            self._flags = capabilities(packet)
        if self._rule is None:
            rule = self._faults.rule_for(packet)
            if rule is not None:
                self._obey(rule)
        if not self.is_closed and (self._rule is None or self._rule.deed is Deed.SWALLOW):
            self._faults.announce(packet, self)
            self._forward("server", packet)

    def _forward(self, toward: Toward, data: bytes, due: float = 0.0) -> None:
        """Deliver ``data``, unless a rule for its bytes says otherwise."""
        side = self.server if toward == "server" else self.client
        if side.gone or side.held is not None or not data:
            if side.held is not None:
                side.held.append(data)
            return
        struck = self._faults.byte_rule_for(self, toward, len(data))
        passed = len(data) if struck is None else struck[1]
        self._faults.passed[toward] += passed
        if passed:
            side.put(data[:passed], due)
        if struck is not None:
            self._obey_at_byte(struck[0], side, data[passed:])

    def _obey_at_byte(self, rule: ByteRule, side: Side, rest: bytes) -> None:
        """Do what ``rule`` says with ``rest`` and with all that comes behind it."""
        if rule.deed is Deed.CUT:
            # As if the other side had left: the bytes before it are delivered first, and a reset
            # could take them away again.
            other = self.client if side is self.server else self.server
            other.has_ended = side.gone = True
        elif rule.deed is Deed.SWALLOW:
            self._byte_rule, side.gone = rule, True
        else:
            self._byte_rule, side.held = rule, [rest] if rest else []
        rule.strike()

    def _obey(self, rule: PacketRule) -> None:
        self._rule = rule
        if rule.deed is Deed.SWALLOW:
            self._answer = Answer(self._flags or 0)
        else:
            rule.strike(self.reset if rule.cut else None)

    def _from_server(self, data: bytes, now: float) -> None:
        if self._answer is None:
            self._forward("client", data, now + self._faults.delay if self._faults.delay else 0.0)
        elif self._rule is not None and not self._answer.whole and self._answer.feed(data):
            self._rule.strike(self.reset if self._rule.cut else None)

    def _send(self, side: Side, now: float) -> None:
        if self.is_closed:
            return
        try:
            side.send(now)
        except OSError:
            self._lost(side)

    def _lost(self, side: Side) -> None:
        side.has_ended = True
        if side is self.client and self.server.held:
            return
        if side is self.client or not self._keeps_client():
            self.reset()

    def _keeps_client(self) -> bool:
        # That the server has left is something that it says, too.
        return self._answer is not None and self._rule is not None and not self._rule.cut

    def _is_over(self) -> bool:
        if self.is_closed:
            return False
        if self.client.has_ended:
            # What the client has sent before it left arrives, however late.
            return self.server.has_ended or (not self.server.size and not self.server.held)
        return self.server.has_ended and not self.client.size and not self._keeps_client()

    def _wanted(self, side: Side, other: Side, now: float) -> int:
        if self._faults.hole or side.has_ended:
            return 0
        if side is self.server and self._state == "connecting":
            return selectors.EVENT_WRITE
        wanted = selectors.EVENT_READ if other.size < FULL else 0
        if side.due is not None and side.due <= now:
            wanted |= selectors.EVENT_WRITE
        return wanted

    def _watch(self, side: Side, events: int) -> None:
        if events == side.watched:
            return
        if not side.watched:
            self._selector.register(side.sock, events, (self, side))
        elif not events:
            self._selector.unregister(side.sock)
        else:
            self._selector.modify(side.sock, events, (self, side))
        side.watched = events


def _has_left(client: socket.socket) -> bool:
    try:
        return not client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True

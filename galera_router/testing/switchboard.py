"""What runs a proxy: one listening socket, its connections, and the thread that serves them."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time

from .ports import HOST, reserve_ports
from .relay import Link, Server
from .rules import LOCK, Faults

BACKLOG = 128


class Switchboard:
    """Listens from the start until close(); all else is called under the LOCK."""

    def __init__(self, host: str, port: int) -> None:
        """Take the server's address. Raises ClusterError if no port is free, OSError."""
        family, _type, _protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        self._server = Server(family, address)
        self._ports = reserve_ports()
        self.port = self._ports.client
        self.owner = os.getpid()
        self.faults = Faults()
        self.links: set[Link] = set()
        self.opened = 0
        self._is_stopping = False
        self._listener: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        self._thread = threading.Thread(
            target=self._run, name=f"galera_router-proxy-{self.port}", daemon=True
        )
        with LOCK:
            _open.add(self)
            self._bell.setblocking(False)
            self._selector.register(self._ear, selectors.EVENT_READ)
            self.listen()
            self._thread.start()

    def close(self) -> None:
        """End the thread and all connections; not to be called under the LOCK."""
        self._is_stopping = True
        self.rouse()
        self._thread.join()
        with LOCK:
            self.reset(list(self.links))
            self.forget()

    def forget(self) -> None:
        """Close every descriptor, which does nothing to connections that another process has."""
        _open.discard(self)
        for link in self.links:
            link.client.sock.close()
            link.server.sock.close()
        self._selector.close()
        for sock in (self._listener, self._bell, self._ear):
            if sock is not None:
                sock.close()
        self._ports.release()

    def listen(self) -> None:
        """Serve new connections, if that is not so already."""
        if self._listener is not None:
            return
        self._listener = socket.socket()
        self._listener.setblocking(False)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((HOST, self.port))
        self._listener.listen(BACKLOG)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def shut(self) -> None:
        """Have new connections refused, but serve those that wait to be accepted."""
        self.take()
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def take(self) -> None:
        """Accept all connections that wait for it."""
        while self._listener is not None:
            try:
                client, _address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            self.opened += 1
            link = Link(client, self._server, self.faults, self._selector, self.links.discard)
            self.links.add(link)
            link.advance(time.monotonic())

    def reset(self, links: list[Link]) -> None:
        """End these connections at once, on both sides."""
        for link in links:
            link.reset()

    def advance(self) -> None:
        """Let every connection go on from what is in force now."""
        now = time.monotonic()
        for link in list(self.links):
            link.advance(now)

    def rouse(self) -> None:
        """Have the thread look at what has changed."""
        # If the pipe is full it has been roused already.
        with contextlib.suppress(BlockingIOError):
            self._bell.send(b"!")

    def _run(self) -> None:
        timeout = None
        while True:
            ready = self._selector.select(timeout)
            with LOCK:
                if self._is_stopping:
                    return
                now = time.monotonic()
                for key, events in ready:
                    self._handle(key, events, now)
                timeout = self._send_held(now)

    def _handle(self, key: selectors.SelectorKey, events: int, now: float) -> None:
        if key.fileobj is self._ear:
            self._ear.recv(4096)
        elif key.data is None:
            self.take()
        else:
            link, side = key.data
            link.handle(side, events, now)

    def _send_held(self, now: float) -> float | None:
        """Send what has been held long enough; return in how many seconds there is more."""
        if self.faults.hole:
            return None
        held = [link for link in self.links if link.client.due]
        for link in held:
            link.advance(now)
        later = [due for link in held if (due := link.client.due) and due > now]
        return min(later) - now if later else None


# The sockets of a parent would live on in its children, and could not be closed then.
_open: set[Switchboard] = set()


def _forget_all() -> None:
    for switchboard in list(_open):
        switchboard.forget()
    LOCK.release()


# Whoever forks holds the lock, so that the child finds every switchboard in one piece.
os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=_forget_all)

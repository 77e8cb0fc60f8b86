"""Several servers behind one address: a balancer that picks the one with the fewest connections."""

from __future__ import annotations

import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from galera_router.testing import GaleraNode

HOST = "127.0.0.1"


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    balancer: Balancer


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Listener)
        with (
            self.server.balancer.chosen() as node,
            socket.create_connection((node.host, node.port)) as server,
        ):
            _forward(self.request, server)


class Balancer:
    """Listens on a free port of the loopback for the time of a ``with`` block.

    A new connection goes to the node with the fewest, the first of them if several have as many.
    """

    def __init__(self, nodes: Sequence[GaleraNode]) -> None:
        self._open = dict.fromkeys(nodes, 0)
        self._lock = threading.Lock()
        self._listener = _Listener((HOST, 0), _Connection)
        self._listener.balancer = self
        self.host, self.port = HOST, int(self._listener.server_address[1])
        self._thread = threading.Thread(target=self._listener.serve_forever, args=[0.05])

    def __enter__(self) -> Balancer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    @property
    def connections(self) -> int:
        """How many are open now."""
        with self._lock:
            return sum(self._open.values())

    @contextmanager
    def chosen(self) -> Iterator[GaleraNode]:
        """The node of one more connection."""
        with self._lock:
            node = min(self._open, key=lambda node: self._open[node])
            self._open[node] += 1
        try:
            yield node
        finally:
            with self._lock:
                self._open[node] -= 1


def _forward(client: socket.socket, server: socket.socket) -> None:
    """Forward in both directions until one side ends."""
    ends = {client: server, server: client}
    with selectors.DefaultSelector() as selector:
        for end in ends:
            selector.register(end, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                try:
                    data = key.fileobj.recv(65536)
                    ends[key.fileobj].sendall(data)
                except OSError:
                    return
                if not data:
                    return

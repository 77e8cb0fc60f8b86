"""The ways from the clients to a node: each client process has a proxy of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from galera_router.testing import Proxy


class Way:
    """The proxies in front of one node, by the number of the client process."""

    def __init__(self, proxies: Sequence[Proxy]) -> None:
        self._proxies = proxies

    def __getitem__(self, process: int) -> Proxy:
        return self._proxies[process]

    def __iter__(self) -> Iterator[Proxy]:
        return iter(self._proxies)

    def __len__(self) -> int:
        return len(self._proxies)

    @property
    def connections(self) -> int:
        """How many connections of clients are open now."""
        return sum(proxy.connections for proxy in self)

    def cut(self) -> None:
        """Reset the connections of all clients."""
        for proxy in self:
            proxy.cut()

    def refuse(self) -> None:
        """Refuse new connections of all clients."""
        for proxy in self:
            proxy.refuse()

    def accept(self) -> None:
        """End refuse()."""
        for proxy in self:
            proxy.accept()

    def black_hole(self) -> None:
        """Forward nothing of any client any more."""
        for proxy in self:
            proxy.black_hole()

    def restore(self) -> None:
        """End black_hole()."""
        for proxy in self:
            proxy.restore()

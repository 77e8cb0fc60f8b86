"""Ports on the loopback that no other cluster, and no outgoing connection, will take."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ClusterError

HOST = "127.0.0.1"
LOWEST = 10_000
STEP = 4
ATTEMPTS = 500


@dataclass(frozen=True)
class Ports:
    """The four neighbouring ports of one node."""

    client: int
    _claim: socket.socket = field(repr=False, compare=False)

    @property
    def group(self) -> int:
        """The port of the group communication."""
        return self.client + 1

    @property
    def increments(self) -> int:
        """The port that receives an incremental state transfer."""
        return self.client + 2

    @property
    def snapshot(self) -> int:
        """The port that receives a full state transfer."""
        return self.client + 3

    def release(self) -> None:
        """Let other clusters have these ports."""
        self._claim.close()


def reserve_ports() -> Ports:
    """Claim four free ports for one node until release() or the end of this program.

    They lie below the range from which the system serves outgoing connections: a port from that
    range could be gone whenever a killed node wants it back. Raises ClusterError if none is free.
    """
    highest = _first_ephemeral_port() - STEP
    for _ in range(ATTEMPTS):
        first = random.randrange(LOWEST, highest, STEP)
        claim = _claim(first)
        if claim is None:
            continue
        if all(_is_free(port) for port in range(first, first + STEP)):
            return Ports(first, claim)
        claim.close()
    raise ClusterError(f"no free ports between {LOWEST} and {highest}")


def _first_ephemeral_port() -> int:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return first if first > LOWEST + 1000 else 32768


def _claim(first: int) -> socket.socket | None:
    # A name in the abstract namespace is a lock between programs that no crash leaves behind.
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0galera_router-ports-{first}")
    except OSError:
        claim.close()
        return None
    return claim


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True

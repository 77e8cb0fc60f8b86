"""The addresses of machines by name; how long a resolver takes says nothing of a node.

The last addresses of a name are kept, for a resolver that is slow or fails for a while.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import MySQLdb
from MySQLdb.constants import CR

#: Seconds that a look-up is waited for if older addresses are known, and if none are.
HURRY, LONGEST = 0.1, 30.0
#: Addresses of a name that are tried at most.
MOST = 4

_TLS = ("ssl", "ssl_mode", "read_default_file", "read_default_group")
#: From this version on MariaDB's client library may use TLS, and check names, without an option.
_CHECKING = (3, 4)


class _LookUp:
    """One question to the resolver, on its way or answered."""

    def __init__(self, host: str) -> None:
        self.addresses: tuple[str, ...] = ()
        self.error: Exception | None = None
        self.done = threading.Event()
        self.seconds = LONGEST
        self._host = host

    def run(self) -> None:
        began = time.monotonic()
        try:
            found = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
            self.addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))[:MOST]
        except (OSError, UnicodeError) as error:
            self.error = error
        finally:
            self.seconds = time.monotonic() - began
            _finish(self._host, self)
            self.done.set()


_known: dict[str, tuple[str, ...]] = {}
_running: dict[str, _LookUp] = {}
_lock = threading.Lock()


def is_name(host: str) -> bool:
    """Returns True if a resolver is asked for ``host``: it is no address and no unix socket."""
    if not host or host.startswith("/") or host == "localhost":
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def addresses(host: str) -> tuple[str, ...]:
    """The addresses of ``host``, a name; the last known ones if the resolver is slow or fails.

    Raises:
        MySQLdb.OperationalError: 2005, there is none, nor has there ever been one.
    """
    look_up = _begin(host)
    look_up.done.wait(HURRY if host in _known else LONGEST)
    found = look_up.addresses or _known.get(host, ())
    if not found:
        reason = look_up.error or f"no answer within {LONGEST:g} s"
        raise MySQLdb.OperationalError(CR.UNKNOWN_HOST, f"Unknown server host {host!r} ({reason})")
    return found


def seconds_of(host: str) -> float:
    """The seconds that the resolver takes for ``host``, whatever it answers."""
    look_up = _begin(host)
    look_up.done.wait(LONGEST)
    return look_up.seconds


def may_be_checked(parameters: Mapping[str, Any]) -> bool:
    """Returns True if the server's certificate may have to bear the name that is connected to.

    Args:
        parameters: what the driver is given to connect.
    """
    version = tuple(map(int, MySQLdb.get_client_info().split(".")[:2]))
    by_default = _CHECKING <= version < (5, 0)
    return by_default or any(parameters.get(name) for name in _TLS)


def _begin(host: str) -> _LookUp:
    """The look-up of ``host``: one at a time, since a resolver may hang."""
    with _lock:
        running = _running.get(host)
        if running is not None:
            return running
        look_up = _running[host] = _LookUp(host)
    try:
        name = f"galera_router: look up {host}"
        threading.Thread(target=look_up.run, name=name, daemon=True).start()
    except RuntimeError:  # no thread is to be had
        look_up.run()
    return look_up


def _finish(host: str, look_up: _LookUp) -> None:
    with _lock:
        if look_up.addresses:
            _known[host] = look_up.addresses
        if _running.get(host) is look_up:
            del _running[host]


def _after_fork() -> None:
    """The parent's threads are not here; what it has found is."""
    global _lock
    _lock = threading.Lock()
    _running.clear()


os.register_at_fork(after_in_child=_after_fork)

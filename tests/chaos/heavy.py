"""Heavy faults: each is there for the time of a ``with`` block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import MySQLdb

from tests.chaos.plan import HEAVY
from tests.chaos.target import COMMIT, Target

TRAPS = 4  # statements of different connections that one hanging fault swallows
LATE = 4  # COMMITs of one process that come late
FEWEST = 10  # connections: the server allows no lower limit
TRIES = 20  # to lock tables that are in use

Fault = Callable[[Target], AbstractContextManager[None]]

# --- a node


@contextmanager
def kill(target: Target) -> Iterator[None]:
    target.node.kill()
    yield
    target.node.start(wait=False)


@contextmanager
def freeze(target: Target) -> Iterator[None]:
    target.node.freeze()
    yield
    target.node.thaw()


@contextmanager
def stop(target: Target) -> Iterator[None]:
    target.node.stop(wait=False)
    yield
    target.node.stop()
    target.node.start(wait=False)


@contextmanager
def stop_all(target: Target) -> Iterator[None]:
    """One of all nodes; when the last has ended, healing begins the cluster again."""
    target.node.stop(wait=False)
    yield
    target.node.stop()


@contextmanager
def isolate(target: Target) -> Iterator[None]:
    target.node.isolate()
    yield
    target.node.rejoin()


@contextmanager
def reject(target: Target) -> Iterator[None]:
    target.node.reject_queries()
    yield
    target.node.accept_queries()


@contextmanager
def hold_applier(target: Target) -> Iterator[None]:
    with target.node.hold_applier():
        yield


@contextmanager
def stall(target: Target) -> Iterator[None]:
    """Another client locks a table: the applier waits, and nobody is told.

    One is enough, and no more: a client that waits for one while it holds others is in a deadlock
    with the applier, and where that loses, the server leaves the cluster (seen: 10.11.19).
    """
    with target.session() as cursor:
        lock_tables(cursor, busiest_table(cursor))
        yield


@contextmanager
def stall_all(target: Target) -> Iterator[None]:
    """The same with all tables, as a backup does."""
    with target.session() as cursor:
        lock_tables(cursor, base_tables(cursor))
        yield


def busiest_table(cursor: Any) -> list[str]:
    """The table that nearly every transaction changes; all, where there is none."""
    cursor.execute("SHOW TABLES LIKE 'galera_router_marker'")
    return [name for (name,) in cursor.fetchall()] or base_tables(cursor)


def base_tables(cursor: Any) -> list[str]:
    """All that can be locked: Galera refuses to lock a sequence."""
    cursor.execute("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")
    return [name for name, _ in cursor.fetchall()]


def lock_tables(cursor: Any, names: Iterable[str]) -> None:
    """Keep everybody from writing to the tables, until the session ends."""
    tables = ", ".join(f"`{name}` READ" for name in names)
    cursor.execute("SET lock_wait_timeout = 5")
    for left in reversed(range(TRIES)):
        try:
            cursor.execute(f"LOCK TABLES {tables}")
        except MySQLdb.OperationalError as error:
            # While it waits for one table, the applier may take those that it has got already.
            if error.args[0] not in {1205, 1213} or not left:
                raise
        else:
            return


@contextmanager
def stall_desynced(target: Target) -> Iterator[None]:
    """The same on a node that no longer holds the others back."""
    with _setting(target, "wsrep_desync", 1), stall_all(target):
        yield


@contextmanager
def read_only(target: Target) -> Iterator[None]:
    with _setting(target, "read_only", 1):
        yield


@contextmanager
def full(target: Target) -> Iterator[None]:
    """No place for a new connection; those of one client process have just ended."""
    with _setting(target, "max_connections", FEWEST), ExitStack() as stack:
        target.proxy.cut()
        for _ in range(FEWEST):
            try:
                stack.callback(target.connect().close)
            except MySQLdb.OperationalError:
                break
        yield


@contextmanager
def _setting(target: Target, name: str, value: int) -> Iterator[None]:
    [(before,)] = target.node.query(f"SELECT @@GLOBAL.{name}")
    target.node.query(f"SET GLOBAL {name} = {value}")
    try:
        yield
    finally:
        target.node.query(f"SET GLOBAL {name} = {before}")


# --- the way to a node


@contextmanager
def black_hole(target: Target) -> Iterator[None]:
    target.way.black_hole()
    yield
    target.way.restore()


@contextmanager
def refuse(target: Target) -> Iterator[None]:
    target.way.refuse()
    target.way.cut()
    yield
    target.way.accept()


@contextmanager
def swallow_and_hang(target: Target) -> Iterator[None]:
    """Connections whose COMMIT was carried out hang; in the end the network gives them up."""
    each = math.ceil(TRAPS / len(target.way))
    rules = [proxy.swallow(COMMIT, times=each) for proxy in target.way]
    yield
    for rule in rules:
        rule.cancel()
    target.way.cut()


@contextmanager
def late_commit(target: Target) -> Iterator[None]:
    """A COMMIT of each thread is on its way for so long that its node is given up."""
    target.way.refuse()
    rules = [
        (proxy, proxy.hold_at_byte(0, pattern=COMMIT)) for proxy in target.way for _ in range(LATE)
    ]
    yield
    for proxy, rule in rules:
        proxy.release(rule)
    target.way.accept()


@contextmanager
def cut_off(target: Target) -> Iterator[None]:
    """One client process alone cannot reach the node, and is told so."""
    target.proxy.refuse()
    target.proxy.cut()
    yield
    target.proxy.accept()


@contextmanager
def cut_off_silent(target: Target) -> Iterator[None]:
    """One client process alone cannot reach the node, and hears nothing."""
    target.proxy.black_hole()
    yield
    target.proxy.restore()


# --- a client process


@contextmanager
def client_kill(target: Target) -> Iterator[None]:
    """SIGKILL, and a new one in its place."""
    target.crew.kill(target.process)
    yield
    target.crew.replace(target.process)


@contextmanager
def client_freeze(target: Target) -> Iterator[None]:
    target.crew[target.process].freeze()
    yield
    target.crew[target.process].thaw()


@contextmanager
def clock(target: Target) -> Iterator[None]:
    """Its clock is wrong for a while: it goes forward, or back, and then to what is right."""
    target.crew[target.process].tell(f"clock {target.strike.number}")
    yield
    target.crew[target.process].tell("clock 0")


FAULTS: dict[str, Fault] = {
    "kill": kill,
    "freeze": freeze,
    "stop": stop,
    "isolate": isolate,
    "reject": reject,
    "hold-applier": hold_applier,
    "black-hole": black_hole,
    "refuse": refuse,
    "swallow-and-hang": swallow_and_hang,
    "late-commit": late_commit,
    "stall": stall,
    "stall-all": stall_all,
    "stall-desynced": stall_desynced,
    "read-only": read_only,
    "full": full,
    "cut-off": cut_off,
    "cut-off-silent": cut_off_silent,
    "stop-all": stop_all,
    "client-kill": client_kill,
    "client-freeze": client_freeze,
    "clock": clock,
}
assert FAULTS.keys() == HEAVY.keys()

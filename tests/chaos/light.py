"""Light faults: each strikes once, and returns True if it has hit somebody."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import MySQLdb

from galera_router.testing import Rule
from tests.chaos.heavy import busiest_table, lock_tables
from tests.chaos.plan import ALTERED, LIGHT
from tests.chaos.target import COMMIT, Target

WRITE = r"\b(INSERT|UPDATE)\b"
FIRE = 1.5  # seconds that a trap waits for something to be caught
TRIES = 5  # to delete a row that others lock
LAGS_FOR = 0.4  # seconds
ALTERED_FOR = 0.3  # seconds until an altered table is as it was

Fault = Callable[[Target], bool]


def _waits(rule: Rule) -> bool:
    fired = rule.wait(FIRE)
    rule.cancel()
    return fired


def cut(target: Target) -> bool:
    there = target.way.connections
    target.way.cut()
    return there > 0


def cut_at(target: Target) -> bool:
    return _waits(target.proxy.cut_at(target.strike.number))


def cut_byte(target: Target) -> bool:
    """Inside a packet, or between two."""
    return _waits(target.proxy.cut_at_byte(target.strike.number, toward=target.strike.toward))


def swallow_commit(target: Target) -> bool:
    return _waits(target.proxy.swallow(COMMIT, cut=True))


def swallow_write(target: Target) -> bool:
    return _waits(target.proxy.swallow(WRITE, cut=True))


def drop_commit(target: Target) -> bool:
    return _waits(target.proxy.drop(COMMIT, cut=True))


def interrupt(target: Target) -> bool:
    """An exception in all threads of a client process, at any point: a soft time limit."""
    return target.crew[target.process].tell("interrupt")


def lose_markers(target: Target) -> bool:
    """All rows, each by itself: those of busy clients are often locked."""
    with target.session() as cursor:
        cursor.execute("SET innodb_lock_wait_timeout = 1")
        cursor.execute("SELECT worker FROM galera_router_marker")
        workers = [worker for (worker,) in cursor.fetchall()]
        return sum(_lose(cursor, worker) for worker in workers) > 0


def _lose(cursor: Any, worker: str) -> int:
    """Delete a row, and return how many that were; a client may be faster every time."""
    for _ in range(TRIES):
        try:
            return int(
                cursor.execute("DELETE FROM galera_router_marker WHERE worker = %s", [worker])
            )
        except MySQLdb.OperationalError as error:
            if error.args[0] not in {1205, 1213}:
                raise
    return 0


def lag(target: Target) -> bool:
    """A secondary applies nothing for a moment, and does not hold the others back meanwhile.

    On the primary of the moment it would be a client that locks a table, and end the others'
    transactions by deadlocks.
    """
    if _is_primary(target):
        return False
    _allow_behind(target, 10_000)
    try:
        with target.session() as cursor:
            lock_tables(cursor, busiest_table(cursor))
            time.sleep(LAGS_FOR)
    finally:
        _allow_behind(target, 16)  # Galera's default
    return True


def _is_primary(target: Target) -> bool:
    with target.session() as cursor:
        if not cursor.execute("SHOW TABLES LIKE 'galera_router_epoch'"):
            return False
        cursor.execute("SELECT server FROM galera_router_epoch")
        return any(server.rpartition(" ")[2] == target.node.name for (server,) in cursor.fetchall())


def _allow_behind(target: Target, transactions: int) -> None:
    """Let the node be so many transactions behind before it holds the others back."""
    target.node.query(f"SET GLOBAL wsrep_provider_options = 'gcs.fc_limit={transactions}'")


def alter_index(target: Target) -> bool:
    return _alter(target, "ADD INDEX IF NOT EXISTS extra (id)", "DROP INDEX IF EXISTS extra")


def alter_column(target: Target) -> bool:
    return _alter(
        target,
        "ADD COLUMN IF NOT EXISTS extra INT NOT NULL DEFAULT 7",
        "DROP COLUMN IF EXISTS extra",
    )


def _alter(target: Target, there: str, back: str) -> bool:
    table = ALTERED[target.strike.number % len(ALTERED)]
    with target.session() as cursor:
        cursor.execute(f"ALTER TABLE {table} {there}")
        time.sleep(ALTERED_FOR)
        cursor.execute(f"ALTER TABLE {table} {back}")
    return True


FAULTS: dict[str, Fault] = {
    "cut": cut,
    "cut-at": cut_at,
    "cut-byte": cut_byte,
    "swallow-commit": swallow_commit,
    "swallow-write": swallow_write,
    "drop-commit": drop_commit,
    "interrupt": interrupt,
    "lose-markers": lose_markers,
    "alter-index": alter_index,
    "alter-column": alter_column,
    "lag": lag,
}
assert FAULTS.keys() == set(LIGHT)

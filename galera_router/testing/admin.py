"""The administrator's connection to one node, over its unix socket."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = tuple[Any, ...]
Params = Sequence[object] | Mapping[str, object] | None

CONNECT_SECONDS = 5
ANSWER_SECONDS = 120
CLIENTS = (
    "SELECT ID FROM information_schema.PROCESSLIST"
    " WHERE USER NOT IN ('system user', 'event_scheduler')"
)
NO_SUCH_THREAD = 1094
_CONNECTION_LOST = frozenset({1053, 1927, 2002, 2006, 2013, 2055, 4031})


class Administrator:
    """A connection with all privileges, opened when first used and again after a loss.

    It may be used from several threads. It reads also while the node is out of the primary
    component or refuses queries, and the server keeps a place for it when all connections are
    in use.
    """

    def __init__(self, socket: Path, on_connect: Callable[[int], None]) -> None:
        self.socket = socket
        self._on_connect = on_connect
        self._connection: Any = None
        self._lock = threading.RLock()

    def query(self, sql: str, params: Params = None) -> list[Row]:
        """Run one statement, in autocommit, and return its rows.

        Raises MySQLdb.Error. A connection that was lost before is replaced by a new one; a
        statement is never sent twice.
        """
        with self._lock:
            connection = self._connected()
            try:
                return _run(connection, sql, params)
            except driver().Error as error:
                if is_lost(error):
                    self.close()
                raise

    def kill_clients(self, is_ours: Callable[[int], bool]) -> int:
        """End all connections but the server's own and ours, and return how many they were."""
        victims = [int(row[0]) for row in self.query(CLIENTS) if not is_ours(int(row[0]))]
        for victim in victims:
            self._kill(victim)
        return len(victims)

    def close(self) -> None:
        """Close the connection; the next query opens another."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(driver().Error):
                    connection.close()

    def _kill(self, connection_id: int) -> None:
        try:
            self.query("KILL CONNECTION %s", [connection_id])
        except driver().Error as error:
            if error.args[0] != NO_SUCH_THREAD:
                raise

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = open_connection(self.socket)
            self._on_connect(self._connection.thread_id())
        return self._connection


def driver() -> Any:
    """Returns MySQLdb, imported on first use."""
    return importlib.import_module("MySQLdb")


def open_connection(socket: Path) -> Any:
    """Returns a new administrative connection; MySQLdb.Error if the node does not answer."""
    connection = driver().connect(
        unix_socket=str(socket),
        user="root",
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
    )
    _run(connection, "SET SESSION wsrep_dirty_reads = 1, wsrep_sync_wait = 0")
    return connection


def is_lost(error: Exception) -> bool:
    """Returns True if this error of the driver means that the connection is of no more use."""
    return bool(error.args) and error.args[0] in _CONNECTION_LOST


def _run(connection: Any, sql: str, params: Params = None) -> list[Row]:
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())

"""One node of the cluster: its process, its faults, its log."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .admin import Administrator, Params, Row, driver, open_connection
from .errors import ClusterError
from .generallog import GeneralLog, LogMark, Statement
from .place import Place
from .ports import HOST
from .process import ServerProcess
from .status import FIND_CHANGES, SHOW_STATUS, UNDO_CHANGES, is_synced

POLL_SECONDS = 0.05
START_SECONDS = 60.0
STOP_SECONDS = 30.0


class GaleraNode:
    """One server of a GaleraCluster.

    Everything that waits takes its limit in seconds and raises ClusterError when it is reached.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._process: ServerProcess | None = None
        self._log = GeneralLog(place.folder)
        self._admin = Administrator(place.socket, self._log.leave_out)
        self._holder: Any = None
        self._isolated = False

    def __repr__(self) -> str:
        return f"<GaleraNode {self.name} at {self.host}:{self.port}>"

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def host(self) -> str:
        return HOST

    @property
    def port(self) -> int:
        return self.place.ports.client

    @property
    def socket(self) -> Path:
        """The unix socket, where ``root`` needs no password."""
        return self.place.socket

    @property
    def pid(self) -> int | None:
        """The server's process id, None if it does not run."""
        return self._process.pid if self._process and self._process.running else None

    @property
    def running(self) -> bool:
        """Returns True if the process is there, be it frozen or out of the cluster."""
        return self.pid is not None

    @property
    def frozen(self) -> bool:
        """Returns True if the process is stopped by a signal."""
        return self._process is not None and self._process.frozen

    def start(
        self, *, wait: bool = True, timeout: float = START_SECONDS, bootstrap: bool = False
    ) -> None:
        """Start the server, which joins the others and catches up with them.

        wait: until it is Synced, at most ``timeout`` seconds.
        bootstrap: begin a new primary component instead, for a cluster of which nobody is left
        (a node without others always does).
        Raises ClusterError if it runs already, or does not come up.
        """
        if self.running:
            raise ClusterError(f"{self.name} is running already")
        self._lose()
        if bootstrap or self.place.is_alone:
            self._spawn(*self.place.prepare_to_begin())
        else:
            self._spawn(*self.place.prepare_to_join())
        if wait:
            self.wait_synced(timeout)

    def start_as_member(self) -> None:
        """Start the server as one of the members that its data folder names; do not wait."""
        if self.place.is_alone:
            self.start(wait=False)
        else:
            self._spawn()

    def stop(self, *, wait: bool = True, timeout: float = STOP_SECONDS) -> None:
        """Shut the server down gracefully (SIGTERM), and wait for its end.

        A frozen server is thawed for it. Harmless if it does not run.
        """
        if self._process is None:
            return
        self._process.terminate()
        if self.frozen:
            self.thaw()
        if wait:
            self._process.wait_ended(timeout)
            self._lose()

    def kill(self) -> None:
        """End the server at once (SIGKILL), with any state transfer that it is running."""
        if self._process is not None:
            self._process.kill()
            self._lose()

    def freeze(self) -> None:
        """Stop the process (SIGSTOP): its connections stay open and answer nothing."""
        self._signal(signal.SIGSTOP)
        while self.running and not self.frozen:
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def isolate(self) -> None:
        """Cut the node off from the others; its clients stay connected, and are refused."""
        self.query("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
        self._isolated = True

    def rejoin(self) -> None:
        """End isolate(); the node then finds the others by itself."""
        self.query("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'")
        self._isolated = False

    def reject_queries(self, kind: str = "ALL") -> None:
        """Refuse clients' statements (error 1047); ``ALL_KILL`` ends their connections too."""
        self.query("SET GLOBAL wsrep_reject_queries = %s", [kind])

    def accept_queries(self) -> None:
        """End reject_queries()."""
        self.query("SET GLOBAL wsrep_reject_queries = 'NONE'")

    def hold_applier(self) -> contextlib.ExitStack:
        """Keep the node from applying what the others write, until release_applier().

        It stays in the cluster and answers reads with what it has; it cannot write itself. What
        is returned may be used with ``with``, whose end releases.
        """
        if self._holder is None:
            holder = open_connection(self.socket)
            self._log.leave_out(holder.thread_id())
            self._holder = holder
            with contextlib.closing(holder.cursor()) as cursor:
                cursor.execute("FLUSH TABLES WITH READ LOCK")
        release = contextlib.ExitStack()
        release.callback(self.release_applier)
        return release

    def release_applier(self) -> None:
        """Let the applier go on; harmless if it is not held."""
        holder, self._holder = self._holder, None
        if holder is not None:
            with contextlib.suppress(driver().Error):
                holder.close()

    def relieve(self) -> None:
        """Undo what was done to a living node, as far as it lets us; see GaleraCluster.heal()."""
        if self.frozen:
            self.thaw()
        self.release_applier()
        if not self.running:
            return
        # A node that is starting or cut off may refuse; heal() comes again, and has a limit.
        with contextlib.suppress(driver().Error):
            self._restore_settings()

    def query(self, sql: str, params: Params = None) -> list[Row]:
        """Run a statement as the administrator, over the unix socket, and return its rows.

        It works while the node refuses queries or is out of the primary component (there, only
        reads and SET), and when all connections are in use. Raises MySQLdb.Error.
        """
        return self._admin.query(sql, params)

    def status(self) -> dict[str, str]:
        """Returns the node's Galera status; MySQLdb.Error if it does not answer."""
        return {str(name): str(value) for name, value in self.query(SHOW_STATUS)}

    def wait_synced(self, timeout: float = 30) -> None:
        """Wait until the node is a Synced member of the primary component."""
        deadline = time.monotonic() + timeout
        while not self.is_synced():
            self.check_running()
            if time.monotonic() > deadline:
                raise ClusterError(f"{self.name} is not synced after {timeout} s")
            time.sleep(POLL_SECONDS)

    def wait_applied(self) -> None:
        """Wait until the node has applied what was committed, until now, on any node.

        Raises MySQLdb.Error if it is cut off or does not get there within the server's own limit,
        30 seconds.
        """
        self.query("SET STATEMENT wsrep_dirty_reads = 0, wsrep_sync_wait = 1 FOR SELECT 1")

    def check_running(self) -> None:
        """Raise ClusterError, with the end of the error log, if the server does not run."""
        if not self.running:
            raise ClusterError(f"{self.name} is not running:\n{self.errors()}")

    def is_synced(self) -> bool:
        """Returns True if the node is, now, a Synced member of the primary component."""
        return is_synced(self.try_status())

    def try_status(self) -> dict[str, str]:
        """Returns status(), or nothing if the node is dead, frozen or does not answer."""
        if not self.running or self.frozen:
            return {}
        try:
            return self.status()
        except driver().Error:
            return {}

    def kill_connections(self) -> int:
        """End every client's connection, and return how many they were."""
        return self._admin.kill_clients(self._log.is_left_out)

    @contextlib.contextmanager
    def statements(self) -> Iterator[list[Statement]]:
        """Give a list that, at the end of the block, holds what clients sent during it.

        Each statement is in the log before it runs, so that all which were answered are there; a
        "Quit" may come later than its client's close().
        """
        was_on, mark = self._log.enabled, self.log_mark()
        sent: list[Statement] = []
        try:
            yield sent
        finally:
            sent.extend(self.log_since(mark))
            if not was_on and not self.frozen:
                self.log_off()

    def log_mark(self) -> LogMark:
        """Returns the present end of the general log, which is switched on until log_off().

        Raises ClusterError if it is off and the node is frozen.
        """
        if not self._log.enabled:
            self._switch_log_on()
        return self._log.mark()

    def log_since(self, mark: LogMark) -> list[Statement]:
        """Returns what clients sent since ``mark``, the administrator's statements left out.

        It needs no answer from the server, so it works when the node has died or is frozen, and
        ``mark`` stays good when the server is started again.
        """
        return self._log.since(mark)

    def log_off(self) -> None:
        """Switch the general log off again; harmless on a node that does not answer."""
        self._log.enabled = False
        if self.running:
            with contextlib.suppress(driver().Error):
                self.query("SET GLOBAL general_log = 0")

    def errors(self) -> str:
        """Returns the last lines of the server's error log."""
        return self._process.errors() if self._process else ""

    def _switch_log_on(self) -> None:
        if self.frozen:
            raise ClusterError(f"{self.name} is frozen: its log cannot be switched on")
        if self.running:
            self.query("SET GLOBAL general_log = 1")
        self._log.enabled = True

    def _restore_settings(self) -> None:
        # The server does not show whether it is isolated.
        if self._isolated:
            self.rejoin()
        row = self.query(FIND_CHANGES)[0]
        for is_changed, restore in zip(row, UNDO_CHANGES, strict=True):
            if is_changed:
                self.query(restore)
        self._log.enabled = False

    def _spawn(self, *options: str) -> None:
        file, is_on = self._log.begin_run(), int(self._log.enabled)
        self._process = self.place.spawn(
            *options, f"--general-log-file={file}", f"--general-log={is_on}"
        )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise ClusterError(f"{self.name} is not running")
        self._process.signal(number)

    def _lose(self) -> None:
        self._holder = None
        self._isolated = False
        self._admin.close()

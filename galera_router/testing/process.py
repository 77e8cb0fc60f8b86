"""One server process: begun, watched, ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .account import Account
from .errors import ClusterError
from .packages import SEARCH_PATH
from .reaper import MARKER, sweep

_POSITION = re.compile(r"Recovered position: ([0-9a-f-]{36}:-?\d+)")
RECOVERY_SECONDS = 60.0
FIRST = -5  # niceness


class ServerProcess:
    """A server on ``folder``, in a session of its own so that Ctrl-C does not reach it."""

    def __init__(self, command: Sequence[str], folder: Path, account: Account) -> None:
        self.folder = folder
        self.log = folder / "error.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,
                **account.popen(),
            )
        _let_it_go_first(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        """Returns True if the process is there, be it frozen."""
        return self._process.poll() is None

    @property
    def frozen(self) -> bool:
        """Returns True if the process is stopped by a signal, with all its threads."""
        if not self.running:
            return False
        return all(_is_stopped(task) for task in Path(f"/proc/{self.pid}/task").iterdir())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to what it started.

        Raises ClusterError if the server is not running.
        """
        if not self.running:
            raise ClusterError(f"the server in {self.folder} is not running")
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """End the server and what it started at once; harmless if it has ended already."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        sweep(self.folder)

    def terminate(self) -> None:
        """Ask the server to shut down, without waiting for it."""
        if self.running:
            self._process.terminate()

    def wait_ended(self, seconds: float) -> None:
        """Wait for the end of the server; ClusterError if that takes longer than ``seconds``."""
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"the server in {self.folder} did not end") from None
        sweep(self.folder)

    def errors(self) -> str:
        """Returns the last error lines of the server's log."""
        lines = self.log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if "[ERROR]" in line]
        return "\n".join(errors[-8:] or lines[-8:])


def recover_position(command: Sequence[str], folder: Path, account: Account) -> str | None:
    """Returns ``uuid:seqno``, up to which the data in ``folder`` got before its server died.

    None if the data has no position, so that only a full state transfer can help.
    """
    log = folder / "error.log"
    start = log.stat().st_size if log.exists() else 0
    process = ServerProcess([*command, "--wsrep-recover", "--skip-networking"], folder, account)
    try:
        process.wait_ended(RECOVERY_SECONDS)
    finally:
        process.kill()
    found = _POSITION.findall(log.read_bytes()[start:].decode(errors="replace"))
    return found[-1] if found and not found[-1].endswith(":-1") else None


def run_to_end(
    command: Sequence[str], folder: Path, account: Account, sql: str = "", seconds: float = 120
) -> None:
    """Run a helper program of the server; ClusterError with its output if it fails."""
    answer = subprocess.run(
        command,
        input=sql,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=_environment(folder),
        timeout=seconds,
        check=False,
        **account.popen(),
    )
    if answer.returncode != 0:
        raise ClusterError(f"{Path(command[0]).name} failed:\n{answer.stdout[-2000:]}")


def _let_it_go_first(pid: int) -> None:
    """Give a server the processor ahead of its clients, as far as this account may.

    On a busy machine a server that has to wait for it is taken for dead by the others.
    """
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, FIRST)


def _is_stopped(task: Path) -> bool:
    try:
        status = (task / "stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] in {"T", "t", "Z", "X"}


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": SEARCH_PATH, "LC_ALL": "C", "HOME": str(folder), MARKER: str(folder)}

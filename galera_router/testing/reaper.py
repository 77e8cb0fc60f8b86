"""Remove what a cluster leaves behind when its program ends, in whatever way it ends.

This file is also a program of its own: it runs beside the one that started the cluster, in a
session of its own so that Ctrl-C does not reach it, and waits. When the other end of its standard
input is closed or its parent is gone, even by kill -9, it ends the servers and removes the folder.

Every server is started with its folder in its environment, and what a server starts (a state
transfer and its daemon, in process groups of their own) inherits it. So the processes of a cluster
are known for certain, without a list that could be out of date.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

MARKER = "GALERA_ROUTER_NODE"
SWEEP_SECONDS = 20.0
PARENT_CHECK_SECONDS = 0.5


def processes_of(folder: Path) -> list[int]:
    """Returns the ids of the living processes that were started for ``folder`` or below it."""
    wanted = os.fsencode(f"{MARKER}={folder}")
    return [pid for pid in _pids() if _belongs(pid, wanted)]


def sweep(folder: Path, seconds: float = SWEEP_SECONDS) -> bool:
    """Kill every process of ``folder``; True when none was left within ``seconds``."""
    deadline = time.monotonic() + seconds
    while pids := processes_of(folder):
        if time.monotonic() > deadline:
            return False
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return True


class Reaper:
    """The process that watches over ``folder`` until close() or the end of this program.

    It is there before the folder is, so that there is no moment at which one could be left.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(folder), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def __enter__(self) -> Reaper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Have everything removed now, and wait until it is.

        Raises OSError if a process or the folder resisted.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.wait(timeout=2 * SWEEP_SECONDS) != 0:
            raise OSError(f"could not remove {self.folder}")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _belongs(pid: int, wanted: bytes) -> bool:
    # A zombie's environment is empty and another user's is not ours to read: neither is ours.
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return False
    return any(entry == wanted or entry.startswith(wanted + b"/") for entry in entries)


def _wait_for_end(parent: int) -> None:
    # A forked child of the parent may hold the pipe open after it, so the parent is watched too.
    while os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], PARENT_CHECK_SECONDS)
        if readable and not os.read(0, 1):
            return


def main(folder: Path, parent: int) -> int:
    """Wait for the end of ``parent``, then remove ``folder`` and its processes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _wait_for_end(parent)
    is_swept = sweep(folder)
    # A server that was being started at that very moment shows up only after its exec.
    time.sleep(0.05)
    is_swept = sweep(folder) and is_swept
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if is_swept and not folder.exists() else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))

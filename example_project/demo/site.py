"""The bank behind a real WSGI server, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

if TYPE_CHECKING:
    from types import TracebackType

PROJECT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
# More threads than visitors: the strip is answered while all of them wait for a commit.
WORKERS, THREADS = 2, 16
START = 30.0  # seconds that the server may take to answer
STOP = 10.0  # seconds that it may take to end

FAILOVER = re.compile(r"^\S+ \S+ WARNING galera_router\S* \S+ failover from ", re.MULTILINE)
COMPLAINT = re.compile(r"^(?!\s)\S*(?:Error|Exception|Unknown|Mismatch)\b.*", re.MULTILINE)


class SiteFailed(Exception):
    """The site, or one of its management commands, did not do what it should."""


class Site:
    """``with Site(database_url, log):`` the site answers at ``address``; its log goes to a file."""

    def __init__(self, database_url: str, log: Path, **environ: str) -> None:
        self.port = free_port()
        self.log = log
        self._environ = {**os.environ, "DATABASE_URL": database_url, **environ}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where the overview page is."""
        return f"http://{HOST}:{self.port}/"

    def manage(self, *words: str, **environ: str) -> None:
        """Run a management command; raises :class:`SiteFailed` with its output if it fails."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=PROJECT,
            env={**self._environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SiteFailed(f"manage.py {words[0]} failed:\n{done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start the server and wait until it answers; raises :class:`SiteFailed` if it does not."""
        command = [sys.executable, "-m", "gunicorn", "bank_site.wsgi"]
        command += ["--bind", f"{HOST}:{self.port}", "--workers", str(WORKERS)]
        command += ["--threads", str(THREADS), "--timeout", "60", "--graceful-timeout", "5"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--log-level", "warning"],
                cwd=PROJECT,
                env=self._environ,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; the server is stopped by stop()
            )
        self._wait()

    def stop(self) -> None:
        """End the server and its workers."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.poll() is None

    def failovers(self) -> int:
        """How often a thread went on at another node, by the warnings in the log."""
        return len(FAILOVER.findall(self.log.read_text(errors="replace")))

    def complaints(self) -> dict[str, int]:
        """The exceptions in the log, each with how often it is there."""
        lines = COMPLAINT.findall(self.log.read_text(errors="replace"))
        return {line: lines.count(line) for line in dict.fromkeys(lines)}

    def _wait(self) -> None:
        deadline = time.monotonic() + START
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                raise SiteFailed(f"The server did not start:\n{self.log.read_text()}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.address}health/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def __enter__(self) -> Site:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port

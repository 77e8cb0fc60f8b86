"""Programs that serve the site on the loopback, and visitors who ask them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

PATIENCE = 30.0  # seconds for a program to come up or to end


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """A program in a process group of its own that answers on ``port``."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.port = port
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    def wait_up(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port), 1)):
                return
            time.sleep(0.05)

    def members(self) -> list[int]:
        """The processes of its group."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.process.pid and state != "Z":
                    found.append(int(stat.parent.name))
        return found

    def end(self) -> None:
        """Ask it to end; every process of it must."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
            deadline = time.monotonic() + PATIENCE
            while self.members():
                assert time.monotonic() < deadline, "a process is left"
                time.sleep(0.05)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def serving(
    environment: dict[str, str], log: Path, *words: str, port: int | None = None
) -> Iterator[Server]:
    """``python -m words`` for the time of the block; ``{port}`` in a word is where it listens."""
    port = port or free_port()
    command = [sys.executable, "-m", *(word.format(port=port) for word in words)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(port, process, log)
    try:
        server.wait_up()
        yield server
    finally:
        server.end()
        print(server.log)  # to be seen where a test fails


class Visitor:
    """A browser with one connection and its cookies."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._cookies: dict[str, str] = {}

    def ask(self, path: str, data: dict[str, str] | None = None) -> str:
        """The body of the answer, which must be a good one."""
        headers = {"Cookie": "; ".join(f"{n}={v}" for n, v in self._cookies.items())}
        body = None
        if data is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(data)
        self._connection.request("POST" if body else "GET", path, body, headers)
        response = self._connection.getresponse()
        content = response.read().decode()
        assert response.status == 200, (path, response.status, content[:2000])
        for cookie in response.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
            if "max-age=0" in cookie.lower():
                del self._cookies[name]
        return content

    def close(self) -> None:
        self._connection.close()


def crowd(port: int, count: int, rounds: int, add: str, read: str) -> list[str]:
    """``count`` visitors who add a name and look for it, ``rounds`` times; returns the names.

    Raises what any of them has met: an answer that is no good, or a name that is not there.
    """

    def visit(number: int) -> list[str]:
        with closing(Visitor(port)) as visitor:
            added = []
            for turn in range(rounds):
                name = f"v{number}t{turn}"
                visitor.ask(add, {"name": name})
                added.append(name)
                assert name in visitor.ask(read).split(","), name
        return added

    with ThreadPoolExecutor(count) as pool:
        return sorted(name for names in pool.map(visit, range(count)) for name in names)


def isolated(port: int, path: str, count: int, rounds: int, more: str = "") -> None:
    """``count`` visitors at once, each of whom must be told of its own number alone."""

    def visit(number: int) -> None:
        with closing(Visitor(port)) as visitor:
            for _ in range(rounds):
                answer = json.loads(visitor.ask(f"{path}?number={number}{more}"))
                assert set(answer.values()) == {number}, answer

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(visit, range(count)))

"""The processes of a run: begun together, ended by closing their input, or by their own id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

READY = 60.0  # seconds that a process may take to say so
DUMP = 2.0  # seconds to write down where its threads are
ROOT = Path(__file__).parents[2]


class ChildFailed(Exception):
    """A process of the run did not do its part."""


class Child:
    """A process that says ``ready``, begins when told, and ends when its input is closed.

    Args:
        module: below ``tests.chaos``; ``words`` are its arguments.
        config: the file that it reads.
        log: takes its standard error.
    """

    def __init__(self, module: str, *words: str, config: Path, log: Path) -> None:
        self.name = " ".join((module, *words))
        self.log = log
        with log.open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"tests.chaos.{module}", *words],
                cwd=ROOT,
                env=environment(config),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self) -> None:
        """Let it begin, all being ready."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def wait_ready(self) -> None:
        """Wait until it is; raises ChildFailed if it has ended instead."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise ChildFailed(f"{self.name} did not get ready:\n{self.log.read_text()[-2000:]}")

    def close(self) -> None:
        """Ask it to end."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def tell(self, line: str) -> bool:
        """Send it a line, and return True if it is there to read it."""
        if self._process.poll() is not None or self._process.stdin is None:
            return False
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # it has ended, or is being ended, just now
            return False
        return True

    def freeze(self) -> None:
        """Stop it (SIGSTOP): its connections stay open."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def end(self, deadline: float) -> bool:
        """Wait for its end until ``deadline`` (monotonic); whether it ended well by itself."""
        self.close()
        try:
            return self._process.wait(max(0.0, deadline - time.monotonic())) == 0
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGUSR1)  # its threads' stacks go to the log
            time.sleep(DUMP)
            return False
        finally:
            self.kill()

    def kill(self) -> None:
        """End it now; harmless if it has ended."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Crew:
    """The client processes of a run, by their numbers.

    Args:
        start: starts the process of a number, given how many have been in its place before.
        processes: how many there are.

    Attributes:
        lost: the names of those that were killed, as their clients' names begin.
    """

    def __init__(self, start: Callable[[int, int], Child], processes: int) -> None:
        self._start = start
        self._children = [start(number, 0) for number in range(processes)]
        self._lives = [0] * processes
        self.lost: set[str] = set()

    def __getitem__(self, number: int) -> Child:
        return self._children[number]

    def __iter__(self) -> Iterator[Child]:
        return iter(self._children)

    def kill(self, number: int) -> None:
        """End one by SIGKILL."""
        self._children[number].kill()
        self.lost.add(client_name(number, self._lives[number]))

    def replace(self, number: int) -> None:
        """Have a new one at work in the place of one that was killed; raises ChildFailed."""
        self._lives[number] += 1
        child = self._children[number] = self._start(number, self._lives[number])
        child.wait_ready()
        child.begin()


def client_name(number: int, life: int) -> str:
    """The name of a client process: its number, and which in that place it is."""
    return f"{number}-{life}" if life else str(number)


def environment(config: Path) -> dict[str, str]:
    """Of a process of the run; whatever settings module the caller uses is not for it."""
    return {
        **os.environ,
        "CHAOS_CONFIG": str(config),
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
    }


def run_to_end(module: str, config: Path) -> None:
    """Run a process that does one thing; ChildFailed with its output if it fails."""
    answer = subprocess.run(
        [sys.executable, "-m", f"tests.chaos.{module}"],
        cwd=ROOT,
        env=environment(config),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=READY,
        check=False,
    )
    if answer.returncode:
        raise ChildFailed(f"{module} failed:\n{answer.stdout[-2000:]}")


def end_all(children: Sequence[Child], seconds: float, say: Callable[[str], None]) -> list[str]:
    """End them all; a complaint for each that did not within ``seconds``, or not well."""
    for child in children:
        child.close()
    deadline = time.monotonic() + seconds
    found = []
    for child in children:
        if not child.end(deadline):
            found.append(f"hung or broken: {child.name} did not end well, see {child.log}")
            say(found[-1])
    return found

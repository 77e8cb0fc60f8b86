"""Try a checker on a mutant: in a copy of the project whose router is changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.checkers import CHECKERS
from tests.mutants.mutants import Mutant

ROOT = Path(__file__).parents[2]
COPIED = ("galera_router", "tests", "example_project", "pyproject.toml", "setup.cfg")
FOUND, NOT_FOUND = 1, 0  # exit statuses of a checker; all others mean that it has failed
GRACE = 60.0  # seconds beyond its own that a checker may take to start and to end
TOLD = 2000  # characters of a checker's output that are kept


_running: set[subprocess.Popen[bytes]] = set()
_over = threading.Event()


class CheckerFailed(Exception):
    """A checker has come to no result."""


@dataclass(frozen=True)
class Trial:
    """One run of one checker on one mutant.

    ``seconds`` is how long it took, its start included; ``said`` the end of what it printed.
    """

    mutant: str
    checker: str
    seed: int
    found: bool
    seconds: float
    said: str


@contextlib.contextmanager
def copied(mutant: Mutant) -> Iterator[Path]:
    """Give a folder with a copy of the project, changed by ``mutant``."""
    with tempfile.TemporaryDirectory(prefix="galera_router-mutant-") as name:
        folder = Path(name)
        for part in COPIED:
            source = ROOT / part
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / part)
        mutant.apply(folder / "galera_router")
        yield folder


def attempt(mutant: Mutant, folder: Path, checker: str, seed: int, seconds: float) -> Trial:
    """Run ``checker`` for at most ``seconds`` on ``mutant``, which is in ``folder``.

    Raises CheckerFailed if it neither finds something nor ends well, such as one that hangs; and
    behind :func:`end_running`.
    """
    if _over.is_set():
        raise CheckerFailed(f"{checker} on {mutant.name} was not begun")
    begin = time.monotonic()
    status, said = _run(CHECKERS[checker](seed, seconds), folder, seconds + GRACE)
    if status not in (FOUND, NOT_FOUND):
        raise CheckerFailed(f"{checker} on {mutant.name} ended with {status}:\n{said}")
    return Trial(mutant.name, checker, seed, status == FOUND, time.monotonic() - begin, said)


def _run(command: list[str], folder: Path, limit: float) -> tuple[int, str]:
    with (folder / "output").open("w+") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _running.add(child)
        try:
            status = child.wait(limit)
        except subprocess.TimeoutExpired:
            # Its children have a way of their own to end with it, see galera_router.testing.
            child.send_signal(signal.SIGTERM)
            status = child.wait(GRACE)
        finally:
            child.kill()
            child.wait()
            _running.discard(child)
    return status, (folder / "output").read_text()[-TOLD:]


def end_running() -> None:
    """End the runs that are under way in other threads; none is begun any more."""
    _over.set()
    for child in list(_running):
        child.send_signal(signal.SIGTERM)

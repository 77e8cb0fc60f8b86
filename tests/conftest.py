"""What all tests need: the fixtures of galera_router.testing come with the installed package."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

# What the tests start is not a part of pytest-xdist's run, even where this process is one.
for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
    del os.environ[name]


@pytest.fixture
def background() -> Iterator[None]:
    """This program ignores the signals that it would as a background job or under nohup."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)}
    for number in kept:
        signal.signal(number, signal.SIG_IGN)
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)

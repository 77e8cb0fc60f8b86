"""How long something may take, and which errors it may not end in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import Error, connections


@contextmanager
def spared(*numbers: int) -> Iterator[None]:
    """The application must not be told of the server's errors ``numbers``; any other goes on."""
    try:
        yield
    except Error as error:
        if error.args and error.args[0] in numbers:
            pytest.fail(f"the application was told: {error}")
        raise


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The block, however it ends, may not take longer than ``seconds``."""
    began = time.monotonic()
    try:
        yield
    finally:
        taken = time.monotonic() - began
        if taken > seconds:
            pytest.fail(f"it took {taken:.1f} s, more than {seconds:g} s")


def in_time(seconds: float, work: Callable[[], Any], rescue: Callable[[], Any]) -> Any:
    """Run ``work`` in a thread of its own, as another client; it may take ``seconds``.

    Args:
        seconds: after which the test fails.
        work: what may hang.
        rescue: ends what it hangs on; called where it has taken too long.

    Returns:
        What ``work`` has returned; what it has raised is raised here.
    """
    outcome: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            outcome.append((True, work()))
        except Exception as error:
            outcome.append((False, error))
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        rescue()
        thread.join(10)
        assert not thread.is_alive(), "it hangs whatever is done"
        pytest.fail(f"it took more than {seconds:g} s")
    good, value = outcome[0]
    if not good:
        raise value
    return value

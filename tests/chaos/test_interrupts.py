"""A thread can be interrupted at any point of its work, and at no other time."""

from __future__ import annotations

import threading
import time

import pytest

from tests.chaos import clock
from tests.chaos.interrupts import Interruptible, TimeLimit, came_of_one

ENOUGH = 10  # interruptions that have met work


class Worker(threading.Thread):
    """Works, and is interrupted; then rests."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.interruptible = Interruptible()
        self.working, self.resting, self.end = (threading.Event() for _ in range(3))

    def run(self) -> None:
        try:
            with self.interruptible.at_work():
                self.working.set()
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline:
                    time.sleep(0.001)
        except TimeLimit:
            self.resting.set()
        self.end.wait(10)


def test_a_thread_is_interrupted_at_its_work_only() -> None:
    """Once; who rests is left alone."""
    worker = Worker()
    assert not worker.interruptible.interrupt()
    worker.start()
    assert worker.working.wait(5)
    assert worker.interruptible.interrupt()
    assert worker.resting.wait(5)
    assert not worker.interruptible.interrupt()
    worker.end.set()
    worker.join(5)


def test_work_that_is_over_was_not_interrupted_later() -> None:
    """However close they come: the exception never leaves the block and comes after it."""
    interruptible, caught, stop = Interruptible(), 0, threading.Event()

    def disturb() -> None:
        while not stop.wait(0.0005):
            interruptible.interrupt()

    other = threading.Thread(target=disturb, daemon=True)
    other.start()
    began = time.monotonic()
    try:
        while (taken := time.monotonic() - began) < 0.5 or (caught <= ENOUGH and taken < 20):
            try:
                with interruptible.at_work():
                    sum(range(200))
            except TimeLimit:
                caught += 1
    finally:
        stop.set()
        other.join(5)
    assert caught > ENOUGH


def test_what_came_of_an_interrupt() -> None:
    """An error that has it as its cause, or that was raised while it was handled."""
    with pytest.raises(KeyError) as caught:
        try:
            raise TimeLimit
        except TimeLimit as error:
            raise KeyError(1) from error
    assert came_of_one(caught.value)
    assert came_of_one(TimeLimit())
    assert not came_of_one(KeyError(1))


def test_a_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and back; seconds go by as they do."""
    monkeypatch.setattr(time, "time", time.time)
    monkeypatch.setattr(time, "time_ns", time.time_ns)
    clock.install()
    before, steady = time.time(), time.monotonic()
    clock.shift(3600)
    assert 3600 <= time.time() - before < 3605
    assert time.time_ns() // 1_000_000_000 - int(time.time()) in {0, 1}
    clock.shift(-30)
    assert time.time() < before
    clock.shift(0)
    assert 0 <= time.time() - before < 5
    assert time.monotonic() - steady < 5

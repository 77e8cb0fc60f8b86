"""The points at which a signal handler can raise."""

from __future__ import annotations

import threading

import pytest

from tests.differential.interrupts import Interrupted, Interrupts


def work(done: list[str]) -> None:
    done.append("one")
    done.append("two")


def points() -> int:
    with Interrupts() as counted:
        work([])
    return counted.count


def test_points_are_the_same_each_time() -> None:
    """One call of a function, two returns of append(), and the C call that ends the block."""
    assert points() == points() >= 3


@pytest.mark.parametrize(("at", "done"), [(1, []), (2, ["one"]), (3, ["one", "two"])])
def test_raises_at_the_point(at: int, done: list[str]) -> None:
    """On entry nothing is done; after a C function has returned its work is."""
    seen: list[str] = []
    with pytest.raises(Interrupted), Interrupts(at) as interrupts:
        work(seen)
    assert (seen, interrupts.raised) == (done, True)


def test_is_raised_at_the_next_point_elsewhere() -> None:
    """The first point is the entry of ``work``, the second is still in it, the last is not."""
    seen: list[str] = []
    inside = work.__code__
    with pytest.raises(Interrupted), Interrupts(1, but_in=lambda f: f.f_code is inside):
        work(seen)
        work([])
        repr(seen)
    assert seen == ["one", "two"]


def test_no_lock_is_held_for_ever() -> None:
    """Whatever the point: the lock can be taken afterwards."""
    lock = threading.Lock()

    def locked() -> None:
        with lock:
            repr(lock)

    with Interrupts() as counted:
        locked()
    for at in range(1, counted.count + 1):
        with pytest.raises(Interrupted), Interrupts(at):
            locked()
        assert lock.acquire(timeout=1), at
        lock.release()


def test_beyond_the_last_point_nothing_is_raised() -> None:
    """The block ends as without it."""
    with Interrupts(points() + 1) as interrupts:
        work([])
    assert not interrupts.raised

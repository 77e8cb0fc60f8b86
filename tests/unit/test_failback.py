"""A change of the primary goes on while transactions are in its way."""

from __future__ import annotations

import pytest
from MySQLdb import OperationalError

from galera_router.cluster import failback


class Attempt:
    """Meets ``times`` errors of one number, and then none."""

    def __init__(self, number: int, times: int) -> None:
        self.number, self.times, self.made = number, times, 0

    def __call__(self) -> None:
        self.made += 1
        if self.made <= self.times:
            raise OperationalError(self.number, "in the way")


@pytest.mark.parametrize("number", [1213, 1205])
def test_it_is_tried_for_some_seconds_however_often(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(failback, "PAUSE", 0.0)
    attempt = Attempt(number, failback.TRIES + 10)
    assert failback._insist(attempt) >= 0.0
    assert attempt.made == failback.TRIES + 11


def test_it_is_tried_some_times_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failback, "INSIST", 0.0)
    attempt = Attempt(1205, failback.TRIES - 1)
    failback._insist(attempt)
    assert attempt.made == failback.TRIES


def test_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failback, "INSIST", 0.0)
    attempt = Attempt(1213, 1000)
    with pytest.raises(OperationalError):
        failback._insist(attempt)
    assert attempt.made == failback.TRIES


def test_what_is_not_in_its_way_ends_it_at_once() -> None:
    attempt = Attempt(1142, 1)
    with pytest.raises(OperationalError):
        failback._insist(attempt)
    assert attempt.made == 1

"""No complaint where all is right; what is planted in a large history is found there."""

from __future__ import annotations

import pytest

from tests.history.check import complaints
from tests.history.history import Transaction
from tests.history.randomly import planted, small


@pytest.mark.parametrize("first", range(0, 500, 100))
def test_a_serializable_history_is_no_complaint(first: int) -> None:
    """``python -m tests.history`` tries 10,000."""
    for seed in range(first, first + 100):
        assert complaints(small(seed)) == [], f"seed {seed}"


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_a_planted_anomaly_is_found_in_a_large_history(first: int) -> None:
    for seed in range(first, first + 20):
        kind, history = planted(seed)
        found = complaints(history)
        assert {one.kind for one in found} == {kind}, f"seed {seed}"


def test_the_histories_are_not_trivial() -> None:
    """They have each outcome, tokens, and transactions that run at the same time."""
    histories = [small(seed) for seed in range(100)]
    transactions = [one for history in histories for one in history.transactions]
    assert {one.outcome for one in transactions} == {"committed", "aborted", "unknown"}
    assert sum(bool(one.after) for one in transactions) > 100
    assert sum(map(_overlaps, (history.transactions for history in histories))) > 100


def _overlaps(transactions: tuple[Transaction, ...]) -> int:
    return sum(a.begin < b.begin < a.end for a in transactions for b in transactions)

"""What a transfer and an audit are; they run in whatever transaction the caller has open."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from django.db.models import F, Sum

from tests.chaos.config import OPENING, TOTAL
from tests.chaos.models import Account, Change, Counter, Transfer

How = Literal["relative", "locked", "read"]


class WrongAnswer(Exception):
    """The database has said what cannot be."""


@dataclass(frozen=True)
class Move:
    """Some money from one account to another.

    ``how``: by ``F()``; on rows that are locked; or, where the router guards against lost
    updates, on what has merely been read.
    """

    source: int
    target: int
    amount: int
    how: How
    token: str

    @classmethod
    def random(
        cls, rng: random.Random, hows: tuple[How, ...], token: str, accounts: Sequence[int]
    ) -> Move:
        """One between two of ``accounts``."""
        source, target = rng.sample(accounts, 2)
        return cls(source, target, rng.randint(1, 100), rng.choice(hows), token)

    @property
    def expect(self) -> list[tuple[str, str]]:
        """The rows that it leaves: its note, and two changes of accounts."""
        changes = [("change", f"{self.token}/out"), ("change", f"{self.token}/in")]
        return [("transfer", self.token), *changes]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def make(self) -> int:
        """Read both balances, change both rows, note the transfer; returns the note's key."""
        accounts = Account.objects.in_bulk([self.source, self.target])
        if self.how == "locked":
            rows = Account.objects.select_for_update().order_by("pk")
            accounts = {row.pk: row for row in rows.filter(pk__in=accounts)}
        for key, amount, (_, last) in zip(
            (self.source, self.target), (-self.amount, self.amount), self.expect[1:], strict=True
        ):
            if self.how == "relative":
                row = Account.objects.filter(pk=key)
                changed = row.update(balance=F("balance") + amount, last=last)
                expect_equal("rows updated", changed, 1)
            else:
                accounts[key].balance += amount
                accounts[key].last = last
                accounts[key].save(update_fields=["balance", "last"])
        note = Transfer.objects.create(
            token=self.token, source_id=self.source, target_id=self.target, amount=self.amount
        )
        return int(note.pk)


def audit(account: int, counter: int) -> None:
    """Look at the money from several sides, all of one snapshot; WrongAnswer if they differ."""
    first = _sum(Account.objects, "balance")
    balances = dict(Account.objects.values_list("pk", "balance"))
    expect_equal("sum of all accounts", first, TOTAL)
    expect_equal("sum of the rows", sum(balances.values()), TOTAL)
    incoming = _sum(Transfer.objects.filter(target_id=account), "amount")
    outgoing = _sum(Transfer.objects.filter(source_id=account), "amount")
    booked = OPENING + incoming - outgoing
    expect_equal(f"account {account} and its transfers", balances[account], booked)
    value = Counter.objects.get(pk=counter).value
    changes = Change.objects.filter(what="counter", row=counter).count()
    expect_equal(f"counter {counter} and its changes", value, changes)
    expect_equal("sum at the end", _sum(Account.objects, "balance"), first)


def _sum(rows: Any, column: str) -> int:
    return int(rows.aggregate(sum=Sum(column))["sum"] or 0)


def expect_equal(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        raise WrongAnswer(f"{what}: {seen}, not {wanted}")

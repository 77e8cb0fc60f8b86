"""Do the books balance? All questions are asked of one snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.db.models import BigIntegerField, F, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce

from bank.models import Account, LedgerEntry, Transfer


@dataclass(frozen=True)
class Books:
    """The bank's sums, in cents.

    ``wrong`` lists the accounts whose balance is not their opening plus their entries.
    """

    accounts: int
    transfers: int
    openings: int
    balances: int
    entries: int
    wrong: tuple[Account, ...]

    @property
    def balanced(self) -> bool:
        """Whether no money came from, or went, nowhere."""
        return self.openings == self.balances and self.entries == 0 and not self.wrong


@transaction.atomic
def read_books() -> Books:
    """Add up the bank as it is at one moment."""
    sums = Account.objects.aggregate(openings=Sum("opening"), balances=Sum("balance"))
    return Books(
        accounts=Account.objects.count(),
        transfers=Transfer.objects.count(),
        openings=sums["openings"] or 0,
        balances=sums["balances"] or 0,
        entries=LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"] or 0,
        wrong=tuple(wrong_accounts()),
    )


def wrong_accounts() -> list[Account]:
    """The accounts whose balance is not their opening plus their ledger entries."""
    entries = LedgerEntry.objects.filter(account=OuterRef("pk")).order_by().values("account")
    booked = Subquery(entries.annotate(sum=Sum("amount")).values("sum"))
    total = F("opening") + Coalesce(booked, 0, output_field=BigIntegerField())
    return list(Account.objects.annotate(expected=total).exclude(balance=F("expected")))

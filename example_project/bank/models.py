"""Accounts, transfers and the ledger. All amounts are whole cents."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q


class Account(models.Model):
    """Somebody's money: what it was opened with, and what it holds now."""

    owner = models.CharField(max_length=100)
    opening = models.PositiveBigIntegerField(help_text="Cents paid in when the account was opened.")
    balance = models.BigIntegerField(help_text="Cents: the opening plus all ledger entries.")

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.CheckConstraint(condition=Q(balance__gte=0), name="account_never_overdrawn"),
        )

    def __str__(self) -> str:
        return self.owner


class Transfer(models.Model):
    """One payment. Its reference is the client's: sent twice, it is still one payment."""

    reference = models.CharField(max_length=64, unique=True)
    source = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="outgoing")
    target = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="incoming")
    amount = models.PositiveBigIntegerField(help_text="Cents.")
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.CheckConstraint(condition=Q(amount__gt=0), name="transfer_of_something"),
            models.CheckConstraint(
                condition=~Q(source=F("target")), name="transfer_between_two_accounts"
            ),
        )

    def __str__(self) -> str:
        return self.reference


class LedgerEntry(models.Model):
    """One side of a transfer; the two sides of each add up to nothing."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="entries")
    transfer = models.ForeignKey(Transfer, on_delete=models.PROTECT, related_name="entries")
    amount = models.BigIntegerField(help_text="Cents: negative where money leaves the account.")

    class Meta:
        ordering = ("-pk",)
        verbose_name_plural = "ledger entries"
        constraints = (
            models.UniqueConstraint(
                fields=("transfer", "account"), name="one_entry_per_transfer_and_account"
            ),
        )

    def __str__(self) -> str:
        return f"{self.transfer_id}: {self.amount:+d}"

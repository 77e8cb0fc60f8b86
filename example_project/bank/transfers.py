"""Moving money: one transaction, once per reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F

from bank.models import Account, LedgerEntry, Transfer

if TYPE_CHECKING:
    from collections.abc import Iterable


class TransferRefused(Exception):
    """The transfer cannot be made; the text says why, in words for the customer."""


@transaction.atomic
def make_transfer(reference: str, source: Account, target: Account, amount: int) -> Transfer:
    """Move ``amount`` cents from ``source`` to ``target``, once for each ``reference``.

    Called again with the reference of a transfer that was made, it returns that transfer and
    moves nothing: a client that did not hear the answer may simply ask again.

    Raises :class:`TransferRefused` if the source has too little, or if the reference belongs to
    another transfer.
    """
    balances = _lock((source, target))
    known = Transfer.objects.filter(reference=reference).first()
    if known is not None:
        return _same(known, source, target, amount)
    if balances[source.pk] < amount:
        raise TransferRefused(f"{source} has too little for this transfer.")
    transfer = Transfer.objects.create(
        reference=reference, source=source, target=target, amount=amount
    )
    _book(transfer, source, -amount)
    _book(transfer, target, amount)
    return transfer


def _lock(accounts: Iterable[Account]) -> dict[int, int]:
    """Lock the rows, always in the same order, so that two transfers never wait for each other."""
    rows = Account.objects.select_for_update().order_by("pk")
    keys = [account.pk for account in accounts]
    return dict(rows.filter(pk__in=keys).values_list("pk", "balance"))


def _book(transfer: Transfer, account: Account, amount: int) -> None:
    LedgerEntry.objects.create(transfer=transfer, account=account, amount=amount)
    Account.objects.filter(pk=account.pk).update(balance=F("balance") + amount)


def _same(transfer: Transfer, source: Account, target: Account, amount: int) -> Transfer:
    known = (transfer.source_id, transfer.target_id, transfer.amount)
    if known != (source.pk, target.pk, amount):
        raise TransferRefused("This reference belongs to another transfer.")
    return transfer

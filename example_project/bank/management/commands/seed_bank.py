"""Opens the accounts that the bank starts with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.db import transaction

from bank.models import Account

if TYPE_CHECKING:
    from argparse import ArgumentParser

OWNERS = (
    "Bakery", "Bookshop", "Brewery", "Cinema", "Dairy", "Ferry", "Florist", "Forge",
    "Garage", "Harbour", "Library", "Mill", "Museum", "Observatory", "Pharmacy", "Theatre",
)  # fmt: skip


class Command(BaseCommand):
    """``seed_bank --accounts N``: run again, it only opens what is missing."""

    help = "Open accounts until there are as many as asked for."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How many accounts, and what each is opened with."""
        parser.add_argument("--accounts", type=int, default=16, help="accounts there should be")
        parser.add_argument("--opening", type=int, default=100_000, help="cents paid into each")

    def handle(self, *args: Any, accounts: int, opening: int, **options: Any) -> None:
        """Open the missing accounts in one transaction."""
        with transaction.atomic():
            there = Account.objects.count()
            for number in range(there, accounts):
                Account.objects.create(owner=owner(number), opening=opening, balance=opening)
        self.stdout.write(f"{max(accounts - there, 0)} accounts opened, {there} were there")


def owner(number: int) -> str:
    """The owner of the account with this number, from 0: Bakery ... Theatre, Bakery 2, ..."""
    turn, index = divmod(number, len(OWNERS))
    return OWNERS[index] if turn == 0 else f"{OWNERS[index]} {turn + 1}"

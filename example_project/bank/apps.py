"""The bank application."""

from __future__ import annotations

from django.apps import AppConfig


class BankConfig(AppConfig):
    """Accounts, transfers between them, and a ledger with two entries for each transfer."""

    name = "bank"
    default_auto_field = "django.db.models.BigAutoField"

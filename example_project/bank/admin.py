"""The bank in Django's admin: accounts can be edited, what happened can only be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from bank.models import Account, LedgerEntry, Transfer

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest

    AccountAdminBase = admin.ModelAdmin[Account]
    TransferAdminBase = admin.ModelAdmin[Transfer]
    EntryInlineBase = admin.TabularInline[LedgerEntry, Transfer]
else:
    AccountAdminBase = TransferAdminBase = admin.ModelAdmin
    EntryInlineBase = admin.TabularInline


class ReadOnly:
    """History is looked at, never edited."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody adds history by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes it."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody takes it away."""
        return False


@admin.register(Account)
class AccountAdmin(AccountAdminBase):
    """Owners can be renamed here; money moves by transfers alone."""

    list_display = ("owner", "balance", "opening")
    search_fields = ("owner",)
    readonly_fields = ("balance",)

    def save_model(self, request: HttpRequest, obj: Account, form: object, change: bool) -> None:
        """A new account holds what it was opened with."""
        if not change:
            obj.balance = obj.opening
        obj.save()

    def get_readonly_fields(
        self, request: HttpRequest, obj: Account | None = None
    ) -> tuple[str, ...]:
        """The opening is fixed once the account exists."""
        return ("balance",) if obj is None else ("balance", "opening")


class EntryInline(ReadOnly, EntryInlineBase):
    """The two sides of a transfer, on its page."""

    model = LedgerEntry


@admin.register(Transfer)
class TransferAdmin(ReadOnly, TransferAdminBase):
    """Transfers, newest first."""

    list_display = ("reference", "source", "target", "amount", "created")
    list_select_related = ("source", "target")
    search_fields = ("reference", "source__owner", "target__owner")
    inlines = (EntryInline,)

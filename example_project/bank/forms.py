"""The one form of the bank."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms

from bank.models import Account


def new_reference() -> str:
    """A reference for a transfer that is about to be asked for."""
    return uuid4().hex


class TransferForm(forms.Form):
    """From whom, to whom, how much; the reference travels along unseen."""

    reference = forms.CharField(
        max_length=64, widget=forms.HiddenInput, initial=new_reference, strip=True
    )
    source = forms.ModelChoiceField(Account.objects.all(), label="From", empty_label=None)
    # From the other end, so that the form begins with two accounts that differ.
    target = forms.ModelChoiceField(Account.objects.order_by("-pk"), label="To", empty_label=None)
    amount = forms.DecimalField(
        min_value=Decimal("0.01"), max_digits=12, decimal_places=2, label="Amount"
    )

    def clean(self) -> dict[str, Any]:
        """A transfer needs two different accounts."""
        data = super().clean() or self.cleaned_data
        if data.get("source") and data.get("source") == data.get("target"):
            self.add_error("target", "Choose another account than the one the money comes from.")
        return data

    def cents(self) -> int:
        """The amount in cents; only of a valid form."""
        return int(self.cleaned_data["amount"] * 100)

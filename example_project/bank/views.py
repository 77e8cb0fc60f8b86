"""The bank's pages. Only one of them writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from bank.books import read_books
from bank.forms import TransferForm
from bank.models import Account, Transfer
from bank.transfers import TransferRefused, make_transfer

if TYPE_CHECKING:
    from django.http import HttpRequest

ENTRIES_SHOWN = 25


@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    """All accounts, and what the bank holds."""
    accounts = list(Account.objects.all())
    context = {
        "accounts": accounts,
        "total": sum(account.balance for account in accounts),
        "latest": list(Transfer.objects.select_related("source", "target")[:5]),
    }
    return render(request, "bank/overview.html", context)


@require_GET
def account(request: HttpRequest, pk: int) -> HttpResponse:
    """One account with the latest entries of its ledger."""
    shown = get_object_or_404(Account, pk=pk)
    entries = shown.entries.select_related("transfer__source", "transfer__target")
    context = {"account": shown, "entries": entries[:ENTRIES_SHOWN], "shown": ENTRIES_SHOWN}
    return render(request, "bank/account.html", context)


@require_http_methods(["GET", "POST"])
def transfer(request: HttpRequest) -> HttpResponse:
    """The transfer form; a transfer that was made leads to its receipt."""
    form = TransferForm(request.POST or None, initial={"source": request.GET.get("source")})
    if request.method == "POST" and form.is_valid():
        try:
            made = _make(form)
        except TransferRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect("receipt", reference=made.reference)
    return render(request, "bank/transfer.html", {"form": form})


@require_GET
def receipt(request: HttpRequest, reference: str) -> HttpResponse:
    """What was transferred, for the one who asked for it a moment ago."""
    # Read on a secondary, which the visitor's cookie has wait for the transfer if it must.
    made = Transfer.objects.filter(reference=reference).first()
    if made is None:
        return render(request, "bank/no_receipt.html", {"reference": reference}, status=404)
    return render(request, "bank/receipt.html", {"transfer": made})


@require_GET
def books(request: HttpRequest) -> HttpResponse:
    """The sums over all accounts, from one snapshot."""
    return render(request, "bank/books.html", {"books": read_books()})


@require_GET
def health(request: HttpRequest) -> HttpResponse:
    """Whether the site runs; asks no database."""
    return HttpResponse("ok\n", content_type="text/plain")


def _make(form: TransferForm) -> Transfer:
    data = form.cleaned_data
    return make_transfer(data["reference"], data["source"], data["target"], form.cents())

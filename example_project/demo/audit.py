"""What the visitors were told, against what the nodes hold. Pure: rows in, complaints out."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from demo.tally import Asked
    from galera_router.testing import GaleraNode


@dataclass(frozen=True)
class Ledger:
    """The bank as one node holds it; all amounts in cents.

    ``accounts``: (id, opening, balance). ``transfers``: (id, reference, source, target, amount).
    ``entries``: (account, transfer, amount).
    """

    accounts: tuple[tuple[int, int, int], ...]
    transfers: tuple[tuple[int, str, int, int, int], ...]
    entries: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, node: GaleraNode, database: str) -> Ledger:
        """Read the three tables of one node."""

        def rows(columns: str, table: str) -> tuple[Any, ...]:
            return tuple(node.query(f"SELECT {columns} FROM `{database}`.bank_{table} ORDER BY id"))

        return cls(
            accounts=rows("id, opening, balance", "account"),
            transfers=rows("id, reference, source_id, target_id, amount", "transfer"),
            entries=rows("account_id, transfer_id, amount", "ledgerentry"),
        )

    def sums(self) -> dict[int, int]:
        """What each account should hold: its opening plus its entries."""
        sums = {account: opening for account, opening, _ in self.accounts}
        for account, _, amount in self.entries:
            sums[account] += amount
        return sums


def complaints(ledger: Ledger, asked: Iterable[Asked], total: int) -> list[str]:
    """Everything that is wrong with the ledger; ``total`` is all the money there should be."""
    return [*_money(ledger, total), *_entries(ledger), *_promises(ledger, asked)]


def _money(ledger: Ledger, total: int) -> Iterator[str]:
    there = sum(balance for _, _, balance in ledger.accounts)
    if there != total:
        yield f"the accounts hold {there} cents together, not {total}"
    expected = ledger.sums()
    for account, _, balance in ledger.accounts:
        if balance != expected[account]:
            yield f"account {account} holds {balance} cents; its ledger says {expected[account]}"


def _entries(ledger: Ledger) -> Iterator[str]:
    booked = defaultdict(list)
    for account, transfer, amount in ledger.entries:
        booked[transfer].append((account, amount))
    for key, reference, source, target, amount in ledger.transfers:
        if sorted(booked.pop(key, [])) != sorted([(source, -amount), (target, amount)]):
            yield f"transfer {reference} is not booked as it should be"
    for key in booked:
        yield f"there are entries for transfer number {key}, but not the transfer"


def _promises(ledger: Ledger, asked: Iterable[Asked]) -> Iterator[str]:
    there = {row[1]: row[2:] for row in ledger.transfers}
    for reference, times in Counter(row[1] for row in ledger.transfers).items():
        if times > 1:
            yield f"transfer {reference} was made {times} times"
    for one in asked:
        found = there.pop(one.reference, None)
        yield from _promise(one, found)
    for reference in there:
        yield f"transfer {reference} was asked for by nobody"


def _promise(one: Asked, found: tuple[int, int, int] | None) -> Iterator[str]:
    if one.outcome == "made" and found is None:
        yield f"transfer {one.reference} was acknowledged and is lost"
    if one.outcome in ("refused", "failed") and found is not None:
        yield f"transfer {one.reference} was answered as {one.outcome} and is there"
    if found not in (None, (one.source, one.target, one.amount)):
        yield f"transfer {one.reference} is not what was asked for"

"""Money, rows, counters and pages. Each operation is chosen first, and then run, as often as
it takes; `operations` has more."""

from __future__ import annotations

import contextlib
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from tests.chaos import requests, views
from tests.chaos.bank import Move, audit, expect_equal
from tests.chaos.config import ACCOUNTS
from tests.chaos.jobs import SAFE, Client, Job, in_block, in_function, kind
from tests.chaos.models import Counter, Entry, Page

# --- money


def _rows(move: Move) -> dict[str, Any]:
    """What a transfer depends on and changes."""
    accounts = [f"account {move.source}", f"account {move.target}"]
    return {"reads": accounts, "writes": [*accounts, "transfer"]}


def _one(row: str) -> dict[str, Any]:
    """A row that is read and changed."""
    return {"reads": [row], "writes": [row]}


def _transfer(move: Move) -> dict[str, int]:
    with transaction.atomic():
        return {f"transfer {move.token}": move.make()}


@kind("transfer", 5)
def transfer(client: Client, token: str) -> Job:
    move = Move.random(client.rng, client.hows, token, client.accounts)
    return in_function(move.expect, lambda: _transfer(move), **_rows(move))


@kind("transfer in a block", 2, block=True)
def transfer_in_block(client: Client, token: str) -> Job:
    move = Move.random(client.rng, SAFE, token, client.accounts)
    return in_block(move.expect, lambda: _transfer(move), **_rows(move))


@kind("transfer in a request", 2)
def transfer_in_request(client: Client, token: str) -> Job:
    move = Move.random(client.rng, client.hows, token, client.accounts)
    job = Job(move.expect, dict, **_rows(move))

    def run() -> dict[str, int]:
        try:
            return {f"transfer {token}": requests.transfer(move)}
        finally:
            job.runs = views.runs.count

    job.run = run
    return job


def _audit(account: int, counter: int) -> dict[str, int]:
    audit(account, counter)
    return {}


def _audited(counter: int) -> list[str]:
    return ["account", "transfer", f"counter {counter}"]


# On the primary, only the guard makes a transaction one snapshot: Django's own level does not.
@kind("audit", 2, guarded=True)
def audit_in_function(client: Client, token: str) -> Job:
    account, counter = client.rng.randint(1, ACCOUNTS), client.counter()
    return in_function([], lambda: _audit(account, counter), reads=_audited(counter))


@kind("audit in a block", 1, block=True, guarded=True)
def audit_in_block(client: Client, token: str) -> Job:
    account, counter = client.rng.randint(1, ACCOUNTS), client.counter()
    return in_block([], lambda: _audit(account, counter), reads=_audited(counter))


# --- rows with automatic keys


def _create(token: str) -> dict[str, int]:
    return {f"entry {token}": int(Entry.objects.create(token=token).pk)}


@kind("insert", 2)
def insert(client: Client, token: str) -> Job:
    """Two rows, and between them one in a savepoint that is undone."""
    tokens = [f"{token}/1", f"{token}/2"]

    def body() -> dict[str, int]:
        keys = _create(tokens[0])
        _undone(token)
        return keys | _create(tokens[1])

    return in_function([("entry", one) for one in tokens], body)


def _undone(token: str) -> None:
    """A row in a savepoint that is rolled back."""
    with contextlib.suppress(KeyError), transaction.atomic():
        Entry.objects.create(token=f"{token}/undone")
        raise KeyError(token)


@kind("insert behind one undone", 1)
def insert_behind_one_undone(client: Client, token: str) -> Job:
    """The clock brings it to the primary; its first write is undone, the second is not."""

    def body() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT NOW()")
        _undone(token)
        return _create(token)

    return in_function([("entry", token)], body)


@kind("insert several", 1)
def insert_several(client: Client, token: str) -> Job:
    tokens = [f"{token}/{n}" for n in range(client.rng.randint(2, 4))]

    def body() -> dict[str, int]:
        rows = Entry.objects.bulk_create(Entry(token=one) for one in tokens)
        return {f"entry {row.token}": row.pk for row in rows if row.pk is not None}

    return in_function([("entry", one) for one in tokens], body)


@kind("create in autocommit", 3)
def create(client: Client, token: str) -> Job:
    def run() -> dict[str, int]:
        keys = _create(token)
        client.written.append(token)
        return keys

    return Job([("entry", token)], run, runs=1)


@kind("look back", 1)
def look_back(client: Client, token: str) -> Job:
    """What this client was told it has written last is there for it to read."""

    def body() -> dict[str, int]:
        for written in client.written[-1:]:
            there = Entry.objects.filter(token=written).count()
            expect_equal(f"rows of {written}, written by this client", there, 1)
        return {}

    return in_function([], body) if client.rng.random() < 0.5 else Job([], body, runs=1)


# --- counters


def _counter(counter: int) -> dict[str, Any]:
    """By ``F()``: what it was before is not looked at."""
    return {"writes": [f"counter {counter}"]}


def increment(counter: int, token: str) -> dict[str, int]:
    changed = Counter.objects.filter(pk=counter).update(value=F("value") + 1, last=token)
    expect_equal("counters updated", changed, 1)
    return {}


@kind("count", 2)
def count(client: Client, token: str) -> Job:
    counter = client.counter()
    return in_function([("change", token)], lambda: increment(counter, token), **_counter(counter))


@kind("count in a block", 1, block=True)
def count_in_block(client: Client, token: str) -> Job:
    counter = client.counter()
    return in_block([("change", token)], lambda: increment(counter, token), **_counter(counter))


@kind("nested count", 1)
def count_nested(client: Client, token: str) -> Job:
    counter = client.counter()

    def body() -> dict[str, int]:
        keys = _create(token)
        with transaction.atomic():
            return keys | increment(counter, token)

    rows = [("change", token), ("entry", token)]
    return in_function(rows, body, **_counter(counter))


@kind("count in autocommit", 3)
def count_in_autocommit(client: Client, token: str) -> Job:
    counter = client.counter()
    return Job([("change", token)], lambda: increment(counter, token), runs=1, **_counter(counter))


@kind("raw count in autocommit", 2)
def count_raw(client: Client, token: str) -> Job:
    counter = client.counter()

    def run() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE chaos_counter SET value = value + 1, last = %s WHERE id = %s",
                [token, counter],
            )
            expect_equal("counters updated by hand", cursor.rowcount, 1)
        return {}

    return Job([("change", token)], run, runs=1, **_counter(counter))


# --- read, change, save


def edit_page(page: Page, token: str) -> dict[str, int]:
    page.version += 1
    page.last = token
    page.save()
    return {}


def _edit(key: int, token: str) -> Job:
    return in_function([("change", token)], lambda: edit_page(Page.objects.get(pk=key), token),
                       **_one(f"page {key}"))  # fmt: skip


@kind("edit with a lock", 2)
def edit_locked(client: Client, token: str) -> Job:
    key = client.page()
    rows = Page.objects.select_for_update()
    return in_function(
        [("change", token)], lambda: edit_page(rows.get(pk=key), token), **_one(f"page {key}")
    )


@kind("edit own page", 2)
def edit_own(client: Client, token: str) -> Job:
    return _edit(client.own, token)


@kind("edit", 2, guarded=True)
def edit(client: Client, token: str) -> Job:
    return _edit(client.page(), token)

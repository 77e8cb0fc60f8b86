"""The operations of the clients. Each is chosen first, and then run, as often as it takes."""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models import F

from tests.chaos import requests, views
from tests.chaos.bank import Move, audit, expect_equal
from tests.chaos.config import ACCOUNTS
from tests.chaos.jobs import KINDS, SAFE, Client, Job, in_block, in_function, kind
from tests.chaos.models import Counter, Entry, Page

# --- money


def _transfer(move: Move) -> dict[str, int]:
    with transaction.atomic():
        return {f"transfer {move.token}": move.make()}


@kind("transfer", 5)
def transfer(client: Client, token: str) -> Job:
    move = Move.random(client.rng, client.hows, token)
    return in_function(move.expect, lambda: _transfer(move))


@kind("transfer in a block", 2, block=True)
def transfer_in_block(client: Client, token: str) -> Job:
    move = Move.random(client.rng, SAFE, token)
    return in_block(move.expect, lambda: _transfer(move))


@kind("transfer in a request", 2)
def transfer_in_request(client: Client, token: str) -> Job:
    move = Move.random(client.rng, client.hows, token)
    job = Job(move.expect, dict)

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


@kind("audit", 2)
def audit_in_function(client: Client, token: str) -> Job:
    account, counter = client.rng.randint(1, ACCOUNTS), client.counter()
    return in_function([], lambda: _audit(account, counter))


@kind("audit in a block", 1, block=True)
def audit_in_block(client: Client, token: str) -> Job:
    account, counter = client.rng.randint(1, ACCOUNTS), client.counter()
    return in_block([], lambda: _audit(account, counter))


# --- rows with automatic keys


def _create(token: str) -> dict[str, int]:
    return {f"entry {token}": int(Entry.objects.create(token=token).pk)}


@kind("insert", 2)
def insert(client: Client, token: str) -> Job:
    """Two rows, and between them one in a savepoint that is undone."""
    tokens = [f"{token}/1", f"{token}/2"]

    def body() -> dict[str, int]:
        keys = _create(tokens[0])
        try:
            with transaction.atomic():
                Entry.objects.create(token=f"{token}/undone")
                raise KeyError(token)
        except KeyError:
            return keys | _create(tokens[1])

    return in_function([("entry", one) for one in tokens], body)


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


def _increment(counter: int, token: str) -> dict[str, int]:
    changed = Counter.objects.filter(pk=counter).update(value=F("value") + 1, last=token)
    expect_equal("counters updated", changed, 1)
    return {}


@kind("count", 2)
def count(client: Client, token: str) -> Job:
    counter = client.counter()
    return in_function([("change", token)], lambda: _increment(counter, token))


@kind("count in a block", 1, block=True)
def count_in_block(client: Client, token: str) -> Job:
    counter = client.counter()
    return in_block([("change", token)], lambda: _increment(counter, token))


@kind("nested count", 1)
def count_nested(client: Client, token: str) -> Job:
    counter = client.counter()

    def body() -> dict[str, int]:
        keys = _create(token)
        with transaction.atomic():
            return keys | _increment(counter, token)

    return in_function([("change", token), ("entry", token)], body)


@kind("count in autocommit", 3)
def count_in_autocommit(client: Client, token: str) -> Job:
    counter = client.counter()
    return Job([("change", token)], lambda: _increment(counter, token), runs=1)


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

    return Job([("change", token)], run, runs=1)


# --- read, change, save


def _edit(page: Page, token: str) -> dict[str, int]:
    page.version += 1
    page.last = token
    page.save()
    return {}


@kind("edit with a lock", 2)
def edit_locked(client: Client, token: str) -> Job:
    key = client.page()
    rows = Page.objects.select_for_update()
    return in_function([("change", token)], lambda: _edit(rows.get(pk=key), token))


@kind("edit own page", 2)
def edit_own(client: Client, token: str) -> Job:
    return in_function([("change", token)], lambda: _edit(Page.objects.get(pk=client.own), token))


@kind("edit", 2, guarded=True)
def edit(client: Client, token: str) -> Job:
    key = client.page()
    return in_function([("change", token)], lambda: _edit(Page.objects.get(pk=key), token))


__all__ = ["KINDS"]  # all of them, now that they have been entered

"""Unique names: who is first, and what is there already."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F

from tests.chaos.bank import expect_equal
from tests.chaos.jobs import Client, Job, in_block, in_function, kind
from tests.chaos.models import Name, Tally

A_SECOND = 3  # names that all clients go for, one after another
UPSERT = (
    "INSERT INTO chaos_tally (name, value, last) VALUES (%s, 1, %s)"
    " ON DUPLICATE KEY UPDATE value = value + 1, last = VALUES(last)"
)
TALLIES = 8


def _wanted(client: Client) -> str:
    """The name that every client wants at this moment."""
    return client.name(f"n{int(time.monotonic() * A_SECOND)}")


def _about(names: dict[str, str]) -> dict[str, Any]:
    """For a job about ``names``, each of which it may win with the token that belongs to it."""
    rows = [f"name {name}" for name in names]
    return {"may": [("name", token) for token in names.values()], "reads": rows, "writes": rows}


def _create(job: Job, name: str, token: str) -> dict[str, int]:
    """Create it; won, unless that raises."""
    row = Name.objects.create(name=name, token=token)
    job.won.append(("name", token))
    return {f"name {token}": int(row.pk)}


def _winner(name: str, token: str) -> dict[str, int]:
    """Somebody else has it, and it is there to be seen."""
    winner = Name.objects.get(name=name)
    expect_equal(f"{winner.token} has {name}, and was told of", winner.token != token, True)
    return {}


@kind("unique race", 1.0)
def unique_race(client: Client, token: str) -> Job:
    """Create in a savepoint; else read who was first."""
    name = _wanted(client)

    def body() -> dict[str, int]:
        try:
            with transaction.atomic():
                return _create(job, name, token)
        except IntegrityError:
            job.won.clear()
            return _winner(name, token)

    job = in_function([], body, **_about({name: token}))
    return job


@kind("unique race in a block", 0.5, block=True)
def unique_race_in_block(client: Client, token: str) -> Job:
    """The error ends the block."""
    name = _wanted(client)
    job = Job([], dict, runs=1, **_about({name: token}))

    def run() -> dict[str, int]:
        try:
            with transaction.atomic():
                return _create(job, name, token)
        except IntegrityError:
            job.won.clear()
            return {}

    job.run = run
    return job


@kind("unique race in autocommit", 1.0)
def unique_race_in_autocommit(client: Client, token: str) -> Job:
    name = _wanted(client)
    job = Job([], dict, runs=1, **_about({name: token}))

    def run() -> dict[str, int]:
        try:
            return _create(job, name, token)
        except IntegrityError:
            return {}

    job.run = run
    return job


def _get_or_create(job: Job, name: str, token: str) -> dict[str, int]:
    row, created = Name.objects.get_or_create(name=name, defaults={"token": token})
    expect_equal(f"{name} is mine", row.token == token, created)
    if not created:
        return {}
    job.won.append(("name", token))
    return {f"name {token}": int(row.pk)}


def _get_or_create_in(make: Callable[..., Job], client: Client, token: str) -> Job:
    """Under the guard it runs at REPEATABLE READ, where the second look is as old as the first.

    So it may end as it does in Django at that level: the name is another's, and not seen.
    """
    name = _wanted(client)

    def body() -> dict[str, int]:
        try:
            return _get_or_create(job, name, token)
        except IntegrityError:
            if not client.guarded:
                raise
            return {}

    job = make([], body, **_about({name: token}))
    return job


@kind("get_or_create", 1.0)
def get_or_create(client: Client, token: str) -> Job:
    return _get_or_create_in(in_function, client, token)


@kind("get_or_create in a block", 0.5, block=True)
def get_or_create_in_block(client: Client, token: str) -> Job:
    return _get_or_create_in(in_block, client, token)


@kind("get_or_create in autocommit", 0.5, block=True)
def get_or_create_in_autocommit(client: Client, token: str) -> Job:
    """Django inserts in a block of its own."""
    name = _wanted(client)
    job = Job([], dict, runs=1, **_about({name: token}))
    job.run = lambda: _get_or_create(job, name, token)
    return job


@kind("insert what is new", 0.5)
def ignore_conflicts(client: Client, token: str) -> Job:
    """`bulk_create(ignore_conflicts=True)` of names that others insert too; then read whose."""
    base = _wanted(client)
    tokens = {f"{base}/{n}": f"{token}/{n}" for n in range(3)}

    def body() -> dict[str, int]:
        rows = [Name(name=name, token=mine) for name, mine in tokens.items()]
        Name.objects.bulk_create(rows, ignore_conflicts=True)
        there = Name.objects.filter(name__in=tokens)
        expect_equal(f"names of {base}", len(there), len(tokens))
        won = {row.token: int(row.pk) for row in there if row.token == tokens[row.name]}
        job.won.extend(("name", mine) for mine in won)
        return {f"name {mine}": key for mine, key in won.items()}

    job = in_function([], body, **_about(tokens))
    return job


# --- a counter that is made when it is first needed


def _tally(client: Client) -> str:
    return client.name(f"tally {client.rng.randint(1, TALLIES)}")


def _upsert(name: str, token: str) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(UPSERT, [name, token])
    return {}


@kind("upsert", 0.5)
def upsert(client: Client, token: str) -> Job:
    """``INSERT … ON DUPLICATE KEY UPDATE``."""
    name = _tally(client)
    rows = [f"tally {name}"]
    return in_function([("change", token)], lambda: _upsert(name, token), writes=rows)


@kind("upsert in a block", 0.5, block=True)
def upsert_in_block(client: Client, token: str) -> Job:
    name = _tally(client)
    rows = [f"tally {name}"]
    return in_block([("change", token)], lambda: _upsert(name, token), writes=rows)


@kind("upsert in autocommit", 0.5)
def upsert_in_autocommit(client: Client, token: str) -> Job:
    name = _tally(client)
    rows = [f"tally {name}"]
    return Job([("change", token)], lambda: _upsert(name, token), runs=1, writes=rows)


@kind("upsert in bulk", 0.5)
def upsert_in_bulk(client: Client, token: str) -> Job:
    """`bulk_create(update_conflicts=True)` of two counters that only this client has."""
    names = [f"{client.number}/{n}" for n in client.rng.sample(range(4), 2)]
    tokens = [f"{token}/{n}" for n in range(2)]

    def body() -> dict[str, int]:
        before = dict(Tally.objects.filter(name__in=names).values_list("name", "value"))
        rows = [
            Tally(name=name, value=before.get(name, 0) + 1, last=last)
            for name, last in zip(names, tokens, strict=True)
        ]
        Tally.objects.bulk_create(rows, update_conflicts=True, update_fields=["value", "last"])
        return {}

    rows = [f"tally {name}" for name in names]
    return in_function([("change", one) for one in tokens], body, reads=rows, writes=rows)


@kind("update_or_create", 0.5)
def update_or_create(client: Client, token: str) -> Job:
    name = _tally(client)

    def body() -> dict[str, int]:
        Tally.objects.update_or_create(
            name=name,
            defaults={"value": F("value") + 1, "last": token},
            create_defaults={"value": 1, "last": token},
        )
        return {}

    rows = [f"tally {name}"]
    return in_function([("change", token)], body, reads=rows, writes=rows)

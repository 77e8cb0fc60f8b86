"""Large rows, and long transactions."""

from __future__ import annotations

import hashlib

from django.db import connection

from tests.chaos.bank import expect_equal
from tests.chaos.config import LABELS
from tests.chaos.jobs import Client, Job, Rows, in_block, in_function, kind
from tests.chaos.models import Entry, Paper

SIZES = (200_000, 1_200_000)  # bytes; InnoDB takes no row of more than a tenth of its log
STATEMENTS = 1_010  # more than failover_history_limit
KEPT = 2  # papers of each client


def _digest(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _write(token: str, body: bytes) -> dict[str, int]:
    row = Paper.objects.create(token=token, body=body, digest=_digest(body))
    return {f"paper {token}": int(row.pk)}


def _discard(token: str) -> None:
    old = Paper.objects.get(token=token)
    expect_equal(f"digest of {token}", _digest(bytes(old.body)), old.digest)
    old.delete()


@kind("large row", 0.3)
def large_row(client: Client, token: str) -> Job:
    """Write one; read the last but one of this client, and delete it."""
    body = client.rng.randbytes(client.rng.randint(*SIZES))
    old = client.papers[0] if len(client.papers) >= KEPT else None
    client.papers = client.papers[old is not None :]

    def run() -> dict[str, int]:
        if old is not None:
            _discard(old)
        return _write(token, body)

    def after(done: bool) -> None:
        if done:
            client.papers.append(token)
        elif old is not None:
            client.papers.insert(0, old)

    removes: Rows = [] if old is None else [("paper", old)]
    return in_function([("paper", token)], run, removes=removes, after=after)


@kind("large row in autocommit", 0.3)
def large_row_in_autocommit(client: Client, token: str) -> Job:
    body = client.rng.randbytes(SIZES[0])

    def after(done: bool) -> None:
        if done:
            client.papers.append(token)

    return Job([("paper", token)], lambda: _write(token, body), runs=1, after=after)


def _long(token: str) -> dict[str, int]:
    """A row, more statements than are kept for a replay, and another row."""
    keys = {f"entry {token}/1": int(Entry.objects.create(token=f"{token}/1").pk)}
    with connection.cursor() as cursor:
        for number in range(STATEMENTS):
            cursor.execute("SELECT id FROM chaos_label WHERE id = %s", [number % LABELS + 1])
            expect_equal("label", cursor.fetchone()[0], number % LABELS + 1)
    return keys | {f"entry {token}/2": int(Entry.objects.create(token=f"{token}/2").pk)}


@kind("many statements", 0.1, loose=True)
def many_statements(client: Client, token: str) -> Job:
    rows: Rows = [("entry", f"{token}/1"), ("entry", f"{token}/2")]
    return in_function(rows, lambda: _long(token))


@kind("many statements in a block", 0.1, block=True, loose=True)
def many_statements_in_block(client: Client, token: str) -> Job:
    rows: Rows = [("entry", f"{token}/1"), ("entry", f"{token}/2")]
    return in_block(rows, lambda: _long(token))

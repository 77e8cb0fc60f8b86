"""Rows with keys of the client's own, and inserts by hand."""

from __future__ import annotations

from django.db import connection

from tests.chaos.bank import expect_equal
from tests.chaos.jobs import Client, Job, in_block, in_function, kind
from tests.chaos.models import Card

INSERT = "INSERT INTO chaos_entry (token, text) VALUES (%s, '')"
SELECT = (
    "INSERT INTO chaos_entry (token, text)"
    " SELECT CONCAT(%s, '/', id), name FROM chaos_label WHERE id <= 3 ORDER BY id"
)


def _insert(token: str) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [token])
        expect_equal("rows inserted by hand", cursor.rowcount, 1)
        return {f"entry {token}": int(cursor.lastrowid)}


@kind("raw insert", 0.5)
def raw_insert(client: Client, token: str) -> Job:
    return in_function([("entry", token)], lambda: _insert(token))


@kind("raw insert in a block", 0.5, block=True)
def raw_insert_in_block(client: Client, token: str) -> Job:
    return in_block([("entry", token)], lambda: _insert(token))


@kind("raw insert in autocommit", 0.5)
def raw_insert_in_autocommit(client: Client, token: str) -> Job:
    return Job([("entry", token)], lambda: _insert(token), runs=1)


@kind("raw insert returning", 0.5)
def raw_insert_returning(client: Client, token: str) -> Job:
    def body() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute(f"{INSERT} RETURNING id, token", [token])
            key, returned = cursor.fetchone()
        expect_equal("token returned", returned, token)
        return {f"entry {token}": int(key)}

    return in_function([("entry", token)], body)


@kind("executemany", 0.5)
def executemany(client: Client, token: str) -> Job:
    tokens = [f"{token}/{n}" for n in range(3)]

    def body() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.executemany(INSERT, [(one,) for one in tokens])
            expect_equal("rows of executemany", cursor.rowcount, 3)
        return {}

    return in_function([("entry", one) for one in tokens], body)


@kind("insert from a select", 0.5)
def insert_select(client: Client, token: str) -> Job:
    tokens = [f"{token}/{n}" for n in (1, 2, 3)]

    def body() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute(SELECT, [token])
            expect_equal("rows inserted from a select", cursor.rowcount, 3)
        return {}

    return in_function([("entry", one) for one in tokens], body)


@kind("own key", 0.5)
def own_key(client: Client, token: str) -> Job:
    """One by ``create``, and one by ``save``, which tries an UPDATE first."""
    tokens = [f"{token}/1", f"{token}/2"]

    def body() -> dict[str, int]:
        Card.objects.create(token=tokens[0], text="created")
        Card(token=tokens[1], text="saved").save()
        return {}

    return in_function([("card", one) for one in tokens], body)


@kind("own key in autocommit", 0.5)
def own_key_in_autocommit(client: Client, token: str) -> Job:
    def run() -> dict[str, int]:
        Card.objects.create(token=token)
        return {}

    return Job([("card", token)], run, runs=1)

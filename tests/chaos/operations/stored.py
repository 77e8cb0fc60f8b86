"""Functions and procedures of the server that write, and what is set on a connection."""

from __future__ import annotations

from django.db import connection

from tests.chaos.bank import expect_equal
from tests.chaos.jobs import Client, Job, in_block, in_function, kind

#: Made by `prepare`.
ROUTINES = (
    "CREATE OR REPLACE FUNCTION chaos_note(noted VARCHAR(40)) RETURNS BIGINT MODIFIES SQL DATA"
    " BEGIN INSERT INTO chaos_entry (token, text) VALUES (noted, 'function');"
    " RETURN LAST_INSERT_ID(); END",
    "CREATE OR REPLACE PROCEDURE chaos_notes(noted VARCHAR(40)) MODIFIES SQL DATA"
    " BEGIN INSERT INTO chaos_entry (token, text) VALUES (CONCAT(noted, '/1'), 'procedure');"
    " INSERT INTO chaos_entry (token, text) VALUES (CONCAT(noted, '/2'), 'procedure'); END",
)
LENGTH = 32  # bytes that GROUP_CONCAT is cut to


def _note(token: str) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT chaos_note(%s)", [token])
        return {f"entry {token}": int(cursor.fetchone()[0])}


@kind("function that writes", 1)
def function_that_writes(client: Client, token: str) -> Job:
    return in_function([("entry", token)], lambda: _note(token))


@kind("function that writes in autocommit", 1, loose=True)
def function_in_autocommit(client: Client, token: str) -> Job:
    return Job([("entry", token)], lambda: _note(token), runs=1)


def _then_close(job: Job) -> Job:
    """``job``, and then its connection is closed, since what is set there outlives it."""
    run = job.run

    def closing() -> dict[str, int]:
        try:
            return run()
        finally:
            connection.close()

    job.run = closing
    return job


def _call(token: str, by_name: bool) -> dict[str, int]:
    with connection.cursor() as cursor:
        if by_name:
            cursor.callproc("chaos_notes", [token])
        else:
            cursor.execute("CALL chaos_notes(%s)", [token])
    return {}


@kind("procedure that writes", 1, loose=True)
def procedure(client: Client, token: str) -> Job:
    by_name = client.rng.random() < 0.5
    tokens = [f"{token}/1", f"{token}/2"]
    job = in_function([("entry", one) for one in tokens], lambda: _call(token, by_name))
    return _then_close(job)


@kind("procedure in a block", 1, block=True, loose=True)
def procedure_in_block(client: Client, token: str) -> Job:
    by_name = client.rng.random() < 0.5
    tokens = [f"{token}/1", f"{token}/2"]
    job = in_block([("entry", one) for one in tokens], lambda: _call(token, by_name))
    return _then_close(job)


# --- what is set on a connection; it goes when that is closed


@kind("user variable", 1, loose=True)
def user_variable(client: Client, token: str) -> Job:
    def body() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SET @chaos = %s", [token])
            cursor.execute("INSERT INTO chaos_entry (token, text) SELECT @chaos, 'variable'")
            cursor.execute("SELECT @chaos")
            expect_equal("user variable", cursor.fetchone()[0], token)
        return {}

    return _then_close(in_function([("entry", token)], body))


@kind("session variable", 1, loose=True)
def session_variable(client: Client, token: str) -> Job:
    """What is set holds for the reads that follow."""

    def body() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION group_concat_max_len = %s", [LENGTH])
            cursor.execute("SELECT LENGTH(GROUP_CONCAT(name)) FROM chaos_label")
            expect_equal("length of GROUP_CONCAT", cursor.fetchone()[0], LENGTH)
            cursor.execute("INSERT INTO chaos_entry (token, text) VALUES (%s, 'set')", [token])
        return {}

    return _then_close(in_function([("entry", token)], body))


@kind("temporary table", 1, block=True, loose=True)
def temporary_table(client: Client, token: str) -> Job:
    tokens = [f"{token}/1", f"{token}/2"]

    def body() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE chaos_draft (token VARCHAR(40) PRIMARY KEY)")
            for one in tokens:
                cursor.execute("INSERT INTO chaos_draft VALUES (%s)", [one])
            cursor.execute("SELECT COUNT(*) FROM chaos_draft")
            expect_equal("rows of a temporary table", cursor.fetchone()[0], 2)
            cursor.execute(
                "INSERT INTO chaos_entry (token, text) SELECT token, 'draft' FROM chaos_draft"
            )
            cursor.execute("DROP TEMPORARY TABLE chaos_draft")
        return {}

    return _then_close(in_block([("entry", one) for one in tokens], body))

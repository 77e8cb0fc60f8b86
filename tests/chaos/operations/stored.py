"""Functions and procedures of the server that write, and what is set on a connection."""

from __future__ import annotations

from django.db import connection

from tests.chaos.bank import expect_equal
from tests.chaos.jobs import Client, Job, Rows, in_block, in_function, kind

#: Made by `prepare`.
ROUTINES = (
    "CREATE OR REPLACE FUNCTION chaos_note(noted VARCHAR(40)) RETURNS BIGINT MODIFIES SQL DATA"
    " BEGIN INSERT INTO chaos_entry (token, text) VALUES (noted, 'function'); RETURN 1; END",
    "CREATE OR REPLACE FUNCTION chaos_key(noted VARCHAR(40)) RETURNS BIGINT MODIFIES SQL DATA"
    " BEGIN INSERT INTO chaos_entry (token, text) VALUES (noted, 'key');"
    " RETURN LAST_INSERT_ID(); END",
    "CREATE OR REPLACE PROCEDURE chaos_notes(noted VARCHAR(40)) MODIFIES SQL DATA"
    " BEGIN INSERT INTO chaos_entry (token, text) VALUES (CONCAT(noted, '/1'), 'procedure');"
    " INSERT INTO chaos_entry (token, text) VALUES (CONCAT(noted, '/2'), 'procedure'); END",
)
LENGTH = 32  # bytes that GROUP_CONCAT is cut to


def _select(function: str, token: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s)", [token])
        return int(cursor.fetchone()[0])


def _note(token: str) -> dict[str, int]:
    expect_equal("answer of a function", _select("chaos_note", token), 1)
    return {}


def _key(token: str) -> dict[str, int]:
    return {f"entry {token}": _select("chaos_key", token)}


# On the primary it looks like a read, and has no marker: a COMMIT that is lost is in doubt.
@kind("function that writes", 0.5, loose=True)
def function_that_writes(client: Client, token: str) -> Job:
    return in_function([("entry", token)], lambda: _note(token))


@kind("function that gives a key", 0.5, why_not="another key in each run")
def function_that_gives_a_key(client: Client, token: str) -> Job:
    return in_function([("entry", token)], lambda: _key(token))


@kind("function that writes in autocommit", 0.5, loose=True)
def function_in_autocommit(client: Client, token: str) -> Job:
    return Job([("entry", token)], lambda: _key(token), runs=1)


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


def _call(token: str) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("CALL chaos_notes(%s)", [token])
    return {}


def _callproc(token: str) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.callproc("chaos_notes", [token])
    return {}


def _noted(token: str) -> Rows:
    """What the procedure leaves."""
    return [("entry", f"{token}/1"), ("entry", f"{token}/2")]


@kind("procedure that writes", 0.5, loose=True)
def procedure(client: Client, token: str) -> Job:
    return _then_close(in_function(_noted(token), lambda: _call(token)))


@kind("procedure in a block", 0.5, block=True, loose=True)
def procedure_in_block(client: Client, token: str) -> Job:
    return _then_close(in_block(_noted(token), lambda: _call(token)))


@kind("callproc", 0.5, loose=True)
def callproc(client: Client, token: str) -> Job:
    return _then_close(in_function(_noted(token), lambda: _callproc(token)))


@kind("callproc in a block", 0.5, block=True, loose=True)
def callproc_in_block(client: Client, token: str) -> Job:
    return _then_close(in_block(_noted(token), lambda: _callproc(token)))


# --- what is set on a connection; it goes when that is closed


@kind("user variable", 0.5, loose=True)
def user_variable(client: Client, token: str) -> Job:
    def body() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SET @chaos = %s", [token])
            cursor.execute("INSERT INTO chaos_entry (token, text) SELECT @chaos, 'variable'")
            cursor.execute("SELECT @chaos")
            expect_equal("user variable", cursor.fetchone()[0], token)
        return {}

    return _then_close(in_function([("entry", token)], body))


@kind("session variable", 0.5, loose=True)
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


@kind("temporary table", 0.5, block=True, loose=True)
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

"""Raw statements: by a cursor of the moment, and by two that stay open."""

from __future__ import annotations

from typing import Any

from django.db import connection

from tests.differential.language import act
from tests.differential.run import Run

READS = (
    "SELECT 1",
    "SELECT name FROM shop_author ORDER BY name",
    "SELECT title, stock FROM shop_book WHERE stock > 0 ORDER BY title, id",
    "SELECT name FROM shop_author ORDER BY name; -- all",
    "SELECT name FROM shop_author ORDER BY name LIMIT 1; SELECT COUNT(*) FROM shop_book",
    "SELECT name FROM shop_author ORDER BY name FOR UPDATE",
    "SELECT count_tags()",
    "WITH x AS (SELECT stock FROM shop_book) SELECT SUM(stock) FROM x",
)
WRITES = (
    "INSERT INTO shop_tag (name) VALUES ('raw')",
    "INSERT INTO shop_author (name) VALUES ('a0')",
    "INSERT IGNORE INTO shop_author (name) VALUES ('a0'), ('d')",
    "INSERT INTO shop_shelf (code, room) VALUES ('s0', 9) ON DUPLICATE KEY UPDATE room = room + 1",
    "INSERT INTO shop_tag (name) SELECT name FROM shop_author ORDER BY name",
    "INSERT INTO shop_tag (name) VALUES ('x'), ('y') RETURNING id, name",
    "REPLACE INTO shop_shelf (code, room) VALUES ('s0', 5)",
    "UPDATE shop_book SET stock = stock + 1",
    "DELETE FROM shop_tag WHERE name = 't1'",
    "DELETE FROM shop_author WHERE name = 'a0'",
    "UPDATE shop_book SET stock = 5; SELECT COUNT(*) FROM shop_book WHERE stock = 5",
    "INSERT INTO shop_tag (name) VALUES ('m'); INSERT INTO shop_author (name) VALUES ('a0')",
    "SELECT add_tag('f')",
    "CALL add_tags('p')",
    "CALL commit_between()",
)
COUNTS = ("SELECT LAST_INSERT_ID()", "SELECT ROW_COUNT()", "SELECT FOUND_ROWS()")
SESSION = (
    "SET @x = 5",
    "SELECT @x",
    "SET lc_time_names = 'de_DE'",
    "SELECT DAYNAME('2024-01-01')",
    "SET SESSION sql_mode = ''",
    "SELECT @@sql_mode",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SELECT GET_LOCK(DATABASE(), 0)",
    "SELECT RELEASE_LOCK(DATABASE())",
    "SELECT IS_FREE_LOCK(DATABASE())",
)
RAW_TRANSACTIONS = ("START TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s")
# Nothing is written into them: a row in a temporary table, then a savepoint that is rolled back,
# ends MariaDB 10.11 with signal 11.
TEMPORARY = (
    "CREATE TEMPORARY TABLE shop_room (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100))",
    "DROP TEMPORARY TABLE shop_room",
    "SELECT COUNT(*) FROM shop_room",
)
LOCKS = (
    "LOCK TABLES shop_author WRITE",
    "LOCK TABLES shop_author READ, shop_book READ",
    "UNLOCK TABLES",
)
DDL = (
    "CREATE TABLE extra (n INT PRIMARY KEY)",
    "ALTER TABLE extra ADD COLUMN m INT DEFAULT 3",
    "INSERT INTO extra (n) VALUES (1)",
    "SELECT * FROM extra",
    "DROP TABLE extra",
    "TRUNCATE shop_book_tags",
)


def _all_sets(cursor: Any) -> list[Any]:
    sets = []
    while True:
        sets.append([cursor.rowcount, cursor.fetchall() if cursor.description else None])
        if not cursor.nextset():
            return sets


def _execute(run: Run, sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return _all_sets(cursor)


TEXT = "cursor().execute({0!r}).fetchall()"


def _declare(name: str, statements: tuple[str, ...], group: str) -> None:
    def execute(run: Run, sql: str) -> Any:
        return _execute(run, sql)

    execute.__name__ = name
    act(TEXT, statements, group=group)(execute)


_declare("execute_read", READS, "raw")
_declare("execute_write", WRITES, "raw")
_declare("execute_count", COUNTS, "counts")
_declare("execute_insert", WRITES[:1], "counts")
_declare("execute_session", SESSION, "session")
_declare("execute_transaction", RAW_TRANSACTIONS, "raw_transactions")
_declare("execute_temporary", TEMPORARY, "temporary")
_declare("execute_locks", LOCKS, "table_locks")
_declare("execute_ddl", DDL, "ddl")

SLOTS = (0, 1)


@act("cursors[{0}].execute({1!r})", SLOTS, (*READS, *WRITES[:4], *COUNTS), group="cursors")
def cursor_execute(run: Run, slot: int, sql: str) -> Any:
    cursor = run.cursor(slot)
    run.unread = slot if "; " in sql else None
    cursor.execute(sql)
    return cursor.rowcount


@act(
    "cursors[{0}].execute('SELECT … WHERE name = %s', [{1!r}])", SLOTS, ("a0", "c"), group="cursors"
)
def cursor_params(run: Run, slot: int, name: str) -> Any:
    cursor = run.cursor(slot)
    cursor.execute("SELECT name FROM shop_author WHERE name = %s", [name])
    return cursor.rowcount


@act("cursors[{0}].{1}()", SLOTS, ("fetchone", "fetchall", "fetchmany", "nextset"), group="cursors")
def cursor_fetch(run: Run, slot: int, method: str) -> Any:
    """On one connection ``nextset()`` takes what another cursor has left: no two are asked so."""
    if method == "nextset" and run.unread not in (None, slot):
        raise LookupError("the answers are another cursor's")
    return getattr(run.cursor(slot), method)()


@act("cursors[{0}].{1}", SLOTS, ("rowcount", "lastrowid"), group="cursors")
def cursor_asked(run: Run, slot: int, name: str) -> Any:
    return getattr(run.cursor(slot), name)


@act("cursors[{0}].close()", SLOTS, group="cursors")
def cursor_close(run: Run, slot: int) -> Any:
    run.cursor(slot).close()
    del run.cursors[slot]


@act(
    "cursors[{0}].executemany('INSERT INTO shop_tag (name) VALUES (%s)', {1} rows)",
    SLOTS,
    (1, 3),
    group="cursors",
)
def executemany(run: Run, slot: int, number: int) -> Any:
    cursor = run.cursor(slot)
    cursor.executemany(
        "INSERT INTO shop_tag (name) VALUES (%s)", [[f"e{n}"] for n in range(number)]
    )
    return [cursor.rowcount, cursor.lastrowid]


PROCEDURES = ("count_authors", "add_tags", "two_sets")


@act(
    "cursors[{0}].callproc({1!r}), all its sets, OUT parameter",
    SLOTS,
    PROCEDURES,
    group="procedures",
)
def callproc(run: Run, slot: int, name: str) -> Any:
    cursor = run.cursor(slot)
    given: dict[str, list[Any]] = {"count_authors": [0], "add_tags": ["p"], "two_sets": []}
    parameters = given[name]
    cursor.callproc(name, parameters)
    sets = _all_sets(cursor)
    if name == "count_authors":
        cursor.execute("SELECT @_count_authors_0")
        sets.append(cursor.fetchall())
    return sets


@act(
    "cursors[{0}].execute({1!r})  # answers left unread",
    SLOTS,
    ("CALL two_sets()", "SELECT 1; SELECT 2"),
    group="procedures",
)
def unread(run: Run, slot: int, sql: str) -> Any:
    run.unread = slot
    run.cursor(slot).execute(sql)

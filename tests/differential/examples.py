"""Programmes that differ, shrunk, each with the fault that it shows; see ``docs/differential.md``.

A programme that no longer differs is moved to ``MENDED``, and stays.
"""

from __future__ import annotations

from tests.differential.acts import cursors
from tests.differential.language import Programme, Step, Value


def _(op: str, *args: Value, body: tuple[Step, ...] = ()) -> Step:
    return Step(op, args, body)


def _in(scene: str, *steps: Step) -> Programme:
    return Programme(steps, scene)


def _atomic(*body: Step) -> Step:
    return Step("atomic", (True, False), body)


TEMPORARY = cursors.TEMPORARY[0]

DIFFERING: dict[str, tuple[str, Programme]] = {
    "rows that were found": (
        "D9",
        _in(
            "thread",
            _("execute_count", "SELECT LAST_INSERT_ID()"),
            _("rows", "Author"),
            _("execute_count", "SELECT FOUND_ROWS()"),
        ),
    ),
    "the driver's connection after close": (
        "D1",
        _in(
            "atomic_request",
            _("close"),
            _("driver", "SELECT name FROM shop_author ORDER BY name"),
        ),
    ),
    "a key of the driver's cursor": (
        "D7",
        _in(
            "thread",
            _("driver", "INSERT INTO shop_tag (name) VALUES ('own')"),
            _("driver", "SELECT name FROM shop_author ORDER BY name"),
        ),
    ),
}
#: Those that may differ, by the name in ``allowed.ALLOWED``.
MAY_DIFFER: dict[str, tuple[str, Programme]] = {
    "closed in a block": ("closed", _in("atomic_request", _("close"), _("exists", 0))),
    "a cursor from before the connection was closed": (
        "closed",
        _in(
            "thread",
            _("callproc", 1, "count_authors"),
            _("callproc", 0, "count_authors"),
            _("close"),
            _("callproc", 1, "count_authors"),
        ),
    ),
    "SET TRANSACTION behind a statement without a table": (
        "begun",
        _in(
            "thread",
            _atomic(
                _("execute_session", "SET @x = 5"),
                _("execute_session", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
            ),
        ),
    ),
    "connecting within a wrapper": (
        "set up",
        _in("thread", _("wrapped", "count", body=(_("cursor_execute", 0, "SELECT 1"),))),
    ),
    "connecting within a wrapper that raises": (
        "set up",
        _in("thread", _("wrapped", "raise_before", body=(_("joined"),))),
    ),
    "connecting by the driver within a wrapper": (
        "set up",
        _in(
            "thread",
            _(
                "wrapped",
                "count",
                body=(_("driver", "SELECT name FROM shop_author ORDER BY name"),),
            ),
        ),
    ),
    "connecting anew within a wrapper": (
        "set up",
        _in("thread", _("wrapped", "query", body=(_("close"), _("ensure")))),
    ),
    "an answer left unread": (
        "unread",
        _in(
            "thread",
            _("cursor_execute", 1, cursors.READS[4]),
            _("cursor_execute", 0, "SELECT 1"),
            _("cursor_fetch", 1, "nextset"),
        ),
    ),
    "usable with an answer left unread": (
        "unread",
        _in("thread", _("unread", 0, "CALL two_sets()"), _("usable"), _("close")),
    ),
    "a table made under locks": (
        "locked",
        _in(
            "thread",
            _("execute_locks", "LOCK TABLES shop_author WRITE"),
            _("execute_ddl", "CREATE TABLE extra (n INT PRIMARY KEY)"),
        ),
    ),
}
MENDED: dict[str, Programme] = {
    "tables locked in an inner block": _in(
        "atomic_request", _atomic(_("execute_locks", "LOCK TABLES shop_author WRITE"))
    ),
    "a write behind a block under locks": _in(
        "thread",
        _("execute_locks", "LOCK TABLES shop_author WRITE"),
        _atomic(_("create_shelf", "n0")),
        _("create_author", "c"),
    ),
    "rows at the beginning of a block": _in(
        "thread",
        _("execute_write", "INSERT INTO shop_tag (name) VALUES ('raw')"),
        _atomic(_("execute_count", "SELECT ROW_COUNT()")),
    ),
    "rows behind a lock": _in(
        "thread",
        _("execute_read", "SELECT name FROM shop_author ORDER BY name FOR UPDATE"),
        _("execute_count", "SELECT ROW_COUNT()"),
    ),
    "rows of the last statement": _in("thread", _("execute_count", "SELECT ROW_COUNT()")),
    "rows behind a key": _in(
        "atomic_request",
        _("execute_count", "SELECT LAST_INSERT_ID()"),
        _("execute_count", "SELECT ROW_COUNT()"),
    ),
    "rows behind a block": _in(
        "thread", _("bulk_upsert", "s0"), _("execute_count", "SELECT ROW_COUNT()")
    ),
    "a block in a raw transaction": _in(
        "thread",
        _("execute_transaction", "START TRANSACTION"),
        _("create_author", "c"),
        _atomic(_("create_author", "d"), _("fail")),
    ),
    "an empty block behind a raw transaction": _in(
        "thread",
        _("execute_transaction", "START TRANSACTION"),
        _("execute_write", "INSERT INTO shop_tag (name) VALUES ('raw')"),
        _atomic(_("state")),
    ),
    "an empty block behind a raw transaction, undone": _in(
        "thread",
        _("execute_transaction", "START TRANSACTION"),
        _("execute_write", "INSERT INTO shop_tag (name) VALUES ('raw')"),
        _atomic(_atomic(_("state")), _("fail")),
        _("create_author", "c"),
    ),
    "autocommit behind a raw transaction": _in(
        "thread",
        _("execute_transaction", "START TRANSACTION"),
        _("execute_write", "INSERT INTO shop_tag (name) VALUES ('raw')"),
        _("set_autocommit", False),
        _("set_autocommit", True),
    ),
    "a block of a queryset": _in(
        "thread", _("atomic_using", "queryset", body=(_("create_author", "c"), _("fail")))
    ),
    "a hook of a manager": _in("thread", _atomic(_("on_commit_using", "manager"), _("fail"))),
    "a temporary table": _in("thread", _("execute_temporary", TEMPORARY), _("count", "Room")),
    "locked tables": _in(
        "thread", _("execute_locks", "LOCK TABLES shop_author WRITE"), _("rows", "Tag")
    ),
    "callproc after a read": _in(
        "thread", _atomic(_("cursor_execute", 0, "SELECT 1"), _("callproc", 0, "count_authors"))
    ),
    "isolation of the next transaction": _in(
        "thread",
        _("execute_read", "SELECT 1"),
        _atomic(_("execute_session", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")),
    ),
    "DDL that fails in a block": _in(
        "atomic_request",
        _("execute_ddl", "DROP TABLE extra"),
        _("bulk_upsert", "s0"),
        _("bulk_create", "a0", False),
    ),
    "isolation of the next transaction behind savepoints": _in(
        "atomic_request",
        _("execute_transaction", "SAVEPOINT s"),
        _atomic(_("execute_session", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")),
        _("create_author", "c"),
        _("execute_transaction", "ROLLBACK TO s"),
        _("rows", "Author"),
    ),
    "DDL that fails twice, in an inner block": _in(
        "atomic_request",
        _("execute_ddl", "DROP TABLE extra"),
        _atomic(_("execute_ddl", "DROP TABLE extra")),
    ),
    "a wrapper's calls": _in(
        "failing_request",
        _("execute_session", "SET @x = 5"),
        _("create_author", "a0"),
        _("wrapped", "count", body=(_("count", "Author"),)),
    ),
    "raw with RETURNING": _in("thread", _("raw_returning")),
    "a locking subquery": _in("atomic_request", _("subquery_locking")),
    "a subquery of the alias": _in("thread", _("subquery_using", "", "default")),
    "a comment behind a semicolon": _in(
        "atomic_request",
        _("execute_read", "SELECT name FROM shop_author ORDER BY name; -- all"),
        _("delete_tags", "t0"),
    ),
    "an encrypting wrapper": _in(
        "thread", _atomic(_("wrapped", "write", body=(_("create_author", "c"),)))
    ),
    "a cursor that has executed nothing": _in("thread", _("cursor_asked", 0, "rowcount")),
    "a raw savepoint": _in("atomic_request", _("execute_transaction", "SAVEPOINT s")),
}

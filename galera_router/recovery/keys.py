"""Keys that the application has been handed stay the same when an insert is replayed.

Galera sets ``auto_increment_increment`` and ``_offset`` per node and ignores the session's,
so a replayed insert would draw other keys. A single row's key can be pinned with
``SET INSERT_ID``; for several rows that pins only the first (seen on 10.11: 1, 4, 7 came
back as 1, 2, 5), so the keys are put into the statement itself.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from django.apps import apps

from galera_router.recovery.journal import Entry

# The form of every INSERT … RETURNING that Django's compiler writes for MariaDB.
_INSERT = re.compile(
    r"\s*INSERT INTO (`[^`]+`) \(([^)]*)\) VALUES (.*) RETURNING ((?:`[^`]+`\.`[^`]+`(?:, )?)+)\s*",
    re.DOTALL,
)


def with_keys(entry: Entry) -> tuple[str, list[Any]] | None:
    """The insert of ``entry`` with the keys it was given written into it.

    Returns:
        The statement and its parameters, or None where it is not in the form that Django
        writes, or the key was the application's own from the start.
    """
    if entry.template is None or entry.answer is None or not entry.answer.rows:
        return None
    sql, params = entry.template.sql, entry.template.params or ()
    match = _INSERT.fullmatch(sql) if isinstance(sql, str) else None
    if match is None or isinstance(params, dict) or "ON DUPLICATE" in match[3]:
        return None
    table, columns, values, returning = match.groups()
    if "'" in values or '"' in values:  # a literal may hold parentheses: leave it alone
        return None
    return _rewrite(table, columns, values, returning, list(params), entry.answer.rows)


def key_returned(sql: str | bytes) -> bool:
    """Whether ``sql`` inserts one row and returns nothing but the key that the server draws."""
    match = _INSERT.fullmatch(sql) if isinstance(sql, str) else None
    if match is None or "ON DUPLICATE" in match[3] or "'" in match[3] or '"' in match[3]:
        return False
    table, columns, values, returning = match.groups()
    names = [name.strip() for name in columns.split(",")]
    returned = returning.split(".")[1]
    return (
        len(split_groups(values)) == 1
        and "," not in returning
        and returned not in names
        and is_drawn(table, returned)
    )


def is_drawn(table: str, column: str) -> bool:
    """Whether the server draws the keys of ``column``: the text of an insert cannot tell.

    A generated column and one with a default of the database are returned in the same form.
    """
    return (table, column) in _drawn()


@functools.cache
def _drawn() -> frozenset[tuple[str, str]]:
    models = apps.get_models(include_auto_created=True, include_swapped=True)
    fields = [(model._meta.db_table, model._meta.auto_field) for model in models]
    return frozenset((f"`{table}`", f"`{field.column}`") for table, field in fields if field)


def _rewrite(
    table: str, columns: str, values: str, returning: str, params: list[Any], rows: Sequence[Any]
) -> tuple[str, list[Any]] | None:
    names = [name.strip() for name in columns.split(",")]
    returned = [column.split(".")[1] for column in returning.split(", ")]
    groups = split_groups(values)
    if len(groups) != len(rows):
        return None
    # A key that is the model's only column is written as NULL.
    if names == [returned[0]] and is_drawn(table, names[0]):
        keys = [row[0] for row in rows]
        groups, params, head = ["(%s)"] * len(rows), keys, columns
        return _statement(table, head, groups, returning), params
    missing = [
        position
        for position, name in enumerate(returned)
        if name not in names and is_drawn(table, name)
    ]
    if not missing or not isinstance(rows[0], tuple):
        return None
    key = missing[0]
    merged = _merge(groups, params, [row[key] for row in rows])
    head = f"{returned[key]}, {columns}"
    return _statement(table, head, [f"(%s, {group[1:]}" for group in groups], returning), merged


def _statement(table: str, columns: str, groups: list[str], returning: str) -> str:
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join(groups)} RETURNING {returning}"


def _merge(groups: list[str], params: list[Any], keys: list[Any]) -> list[Any]:
    merged: list[Any] = []
    rest = iter(params)
    for group, key in zip(groups, keys, strict=True):
        merged.append(key)
        merged.extend(next(rest) for _ in range(group.replace("%%", "").count("%s")))
    return merged


def split_groups(values: str) -> list[str]:
    """The parenthesised groups of a VALUES list, nested parentheses kept together."""
    groups: list[str] = []
    depth = start = 0
    for position, character in enumerate(values):
        if character == "(":
            start = position if depth == 0 else start
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                groups.append(values[start : position + 1])
    return groups


def pinned_key(entry: Entry) -> int | None:
    """The key to ``SET INSERT_ID`` to before a one-row insert is replayed, or None."""
    answer = entry.answer
    if entry.template is None or entry.template.many or answer is None or answer.rowcount != 1:
        return None
    if answer.rows is None and answer.lastrowid:
        return answer.lastrowid
    return None

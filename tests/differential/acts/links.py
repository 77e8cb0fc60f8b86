"""The connection itself: closing it, asking it, the driver's own cursor."""

from __future__ import annotations

from typing import Any

from django.db import close_old_connections, connection, transaction

from tests.differential.acts.values import ALIASES
from tests.differential.language import act
from tests.differential.run import Run


@act("connection.close()", group="connection")
def close(run: Run) -> None:
    connection.close()


@act("close_old_connections()", group="connection")
def close_old(run: Run) -> None:
    close_old_connections()


@act("connection.ensure_connection()", group="connection")
def ensure(run: Run) -> None:
    connection.ensure_connection()


@act("connection.is_usable()", group="connection")
def usable(run: Run) -> Any:
    return connection.connection is None or connection.is_usable()


@act("hasattr(connection.connection, 'cursor')", group="connection")
def has_attribute(run: Run) -> Any:
    connection.ensure_connection()
    return hasattr(connection.connection, "cursor")


@act("transaction.get_connection(alias({0!r})).in_atomic_block", ALIASES[1:], group="aliases")
def get_connection(run: Run, alias: str) -> Any:
    return transaction.get_connection(run.alias(alias)).in_atomic_block


SQL = (
    "SELECT name FROM shop_author ORDER BY name",
    "INSERT INTO shop_tag (name) VALUES ('own')",
    "UPDATE shop_book SET stock = stock + 1",
)


@act("connection.connection.cursor().execute({0!r})", SQL, group="driver")
def driver(run: Run, sql: str) -> Any:
    connection.ensure_connection()
    cursor = connection.connection.cursor()
    try:
        return [cursor.execute(sql), cursor.fetchall(), cursor.lastrowid]
    finally:
        cursor.close()

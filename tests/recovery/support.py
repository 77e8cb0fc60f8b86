"""Entries as a transaction on the first node would have made them, and their replay elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import MySQLdb
from hypothesis import strategies as st
from MySQLdb.constants import CLIENT

from galera_router.cluster.node import Node
from galera_router.connections.connection import NodeConnection
from galera_router.connections.packet import Step
from galera_router.recovery.journal import Answer, Entry
from galera_router.recovery.replay import Replay
from galera_router.transactions.statements import classify
from tests.integration.support import Shop

VALUES = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
    st.datetimes(),
)
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=6).map(tuple)


class Away:
    """A transaction on the first node that is lost, and its replay on the second one."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.first = self._link(0)
        self.second = self._link(1)
        self.entries: list[Entry] = []

    def _link(self, number: int) -> NodeConnection:
        node: Node = self.shop.session.cluster.nodes[number]
        connection = MySQLdb.connect(
            host="127.0.0.1",
            port=self.shop.galera.nodes[number].port,
            user="galera",
            password="galera",
            database="galera_router",
            charset="utf8mb4",
            client_flag=CLIENT.FOUND_ROWS,
            autocommit=True,
        )
        return NodeConnection(node, connection)

    def run(self, sql: str, *args: Any) -> Answer:
        """Send a statement to the first node, and note it."""
        if not self.entries:
            self.first.query(b"START TRANSACTION")
        with closing(self.first.connection.cursor()) as cursor:
            cursor.execute(sql, args or None)
            rows = cursor.fetchall() if cursor.description is not None else None
            answer = Answer(rows, cursor.rowcount, cursor.lastrowid, cursor.description)
            self.note(bytes(cursor._executed), answer)
        return answer

    def note(self, statement: bytes, answer: Answer) -> Entry:
        """Note a statement with an ``answer`` of the test's own."""
        found = classify(statement)
        entry = Entry(statement, answer, found.ordered, found.insert, plain=found.plain)
        entry.session = found.verb == "SET"
        self.entries.append(entry)
        return entry

    def saw(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> Entry:
        """Note a SELECT whose answer was ``rows``; only the names of its columns are asked for."""
        with closing(self.first.connection.cursor()) as cursor:
            cursor.execute(sql)
            answer = Answer(tuple(rows), len(rows), 0, cursor.description)
        return self.note(sql.encode(), answer)

    def lose(self) -> None:
        """The first node's transaction comes to nothing."""
        self.first.query(b"ROLLBACK")

    def replay(self, **options: Any) -> None:
        self.lose()
        run = Replay(
            self.second, error=MySQLdb.Error, conflict=MySQLdb.OperationalError, **options
        ).run
        run([Step(b"START TRANSACTION")], self.entries)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the second node, within the transaction that was replayed."""
        self.second.query(sql.encode())
        return list(self.second.rows())

    def close(self) -> None:
        for link in (self.first, self.second):
            link.close()


@contextmanager
def tables(shop: Shop, **definitions: str) -> Iterator[None]:
    """Have tables for the time of the block; ``x="id INT"`` is one called x."""
    node = shop.galera.nodes[0]
    for name in definitions:
        node.query(f"DROP TABLE IF EXISTS galera_router.{name}")
    for name, columns in definitions.items():
        node.query(f"CREATE TABLE galera_router.{name} ({columns})")
    shop.settle()
    try:
        yield
    finally:
        for name in definitions:
            node.query(f"DROP TABLE IF EXISTS galera_router.{name}")
        shop.settle()

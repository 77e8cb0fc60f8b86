"""What one node holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import MySQLdb

from galera_router.testing import ClusterError, GaleraCluster, GaleraNode

COLUMNS = {
    "account": "id, balance, last",
    "transfer": "id, token, source_id, target_id, amount",
    "entry": "id, token, text",
    "counter": "id, value, last",
    "page": "id, version, last",
    "change": "id, what, `row`, token, `before`, `after`",
    "basket": "id, token",
    "item": "id, token, basket_id",
    "name": "id, token, name",
    "tally": "id, value, name, last",
    "card": "token AS id, token, text",
    "task": "id, token, taker",
    "sale": "id, token, ticket",
    "paper": "id, token, MD5(body) = digest",
    "series": "id, body",
    "register": "id, value",
    "noted": "id, register, value, version",
    "floor": "id, value",
}
VIEWS = {  # what is no table of its own
    "link": "SELECT l.id, CONCAT(b.token, '/', l.label_id)"
    " FROM `{0}`.chaos_basket_labels l LEFT JOIN `{0}`.chaos_basket b ON b.id = l.basket_id",
    "taken": "SELECT id, taker FROM `{0}`.chaos_task WHERE taker <> ''",
}
#: Where a table has the token.
TOKENS = {"change": 3} | dict.fromkeys(
    ("transfer", "entry", "basket", "item", "name", "card", "task", "sale", "paper", *VIEWS), 1
)
KEYS = ("transfer", "entry", "basket", "item", "name", "task", "sale", "paper")  # automatic
TIMEOUTS = {"connect_timeout": 1, "read_timeout": 2, "write_timeout": 2}
GONE = 30.0  # seconds until the last client's connection must have ended

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Books:
    """The tables of one node, by name, their rows in the order of the key."""

    tables: dict[str, tuple[Row, ...]]

    def tokens(self) -> Counter[tuple[str, str]]:
        """How often each (table, token) is there."""
        return Counter(
            (table, row[column]) for table, column in TOKENS.items() for row in self.tables[table]
        )

    def keys(self) -> dict[str, int]:
        """The key of each "table token"; of a double one the last."""
        return {f"{table} {row[1]}": row[0] for table in KEYS for row in self.tables[table]}


Query = Callable[[str], Iterable[Row]]


def read(query: Query, database: str) -> Books:
    """The books of the node that answers ``query``, the router's own tables included."""
    tables = {
        name: tuple(query(f"SELECT {columns} FROM `{database}`.chaos_{name} ORDER BY id"))
        for name, columns in COLUMNS.items()
    }
    for name, sql in VIEWS.items():
        tables[name] = tuple(query(f"{sql.format(database)} ORDER BY 1"))
    for (name,) in query(f"SHOW TABLES IN `{database}` LIKE 'galera\\_router\\_%'"):
        tables[name] = tuple(sorted(query(f"SELECT * FROM `{database}`.`{name}`")))
    return Books(tables)


def snapshot(cluster: GaleraCluster) -> tuple[float, Books] | None:
    """The books at one moment, while clients are at work, by a node that has all until then.

    Returns the moment (monotonic seconds) as well; None if no node can tell now.
    """
    for node in reversed(cluster.nodes):  # the first is hit most often
        moment = time.monotonic()
        with suppress(MySQLdb.Error), closing(_connect(cluster, node)) as connection:
            return moment, read(partial(_rows, connection), cluster.database)
    return None


def _connect(cluster: GaleraCluster, node: GaleraNode) -> Any:
    connection = MySQLdb.connect(
        host=node.host, port=node.port, user=cluster.user, password=cluster.password, **TIMEOUTS
    )
    connection.query("SET SESSION wsrep_sync_wait = 1")
    connection.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    return connection


def _rows(connection: Any, sql: str) -> Sequence[Row]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(sql)
        rows: Sequence[Row] = cursor.fetchall()
        return rows


def settle(cluster: GaleraCluster) -> None:
    """Wait until nobody is connected, so nothing can be committed, and all is applied."""
    cluster.wait_synced(GONE)
    deadline = time.monotonic() + GONE
    while left := sum(_connected(node, cluster.user) for node in cluster.nodes):
        if time.monotonic() > deadline:
            raise ClusterError(f"{left} connections of clients are still there")
        time.sleep(0.1)
    for node in cluster.nodes:
        node.wait_applied()


def _connected(node: GaleraNode, user: str) -> int:
    sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = %s"
    return int(node.query(sql, [user])[0][0])

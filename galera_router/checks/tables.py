"""The tables of the application's database, and ours among them."""

from __future__ import annotations

from django.core.checks import CheckMessage

from galera_router.cluster import epoch
from galera_router.cluster.nodes import Cluster
from galera_router.recovery.marker import TABLE

from .messages import listed, warning
from .probe import Report, Table

MIGRATED = "django_migrations"


def check(cluster: Cluster, reports: list[Report]) -> list[CheckMessage]:
    """Tables are the same on all nodes, so the first node that has answered is looked at."""
    told = next((report for report in reports if report.error is None), None)
    if told is None or not told.database:
        return []
    place = f"in the database of {cluster.alias!r}"
    messages = [*_marker(cluster, told.tables), *_keys(place, told.tables)]
    return messages + (_engines(place, told.tables) if told.has_galera else [])


def _marker(cluster: Cluster, tables: list[Table]) -> list[CheckMessage]:
    options, names = cluster.config.options, {table.name for table in tables}
    if not options.commit_marker or not options.failover_enable:
        return []
    if MIGRATED not in names:
        return []  # in a database that has never been migrated, they are not the only ones
    if TABLE in names:
        return _epochs(cluster, names)
    return [
        warning(
            2,
            f"The table {TABLE} is missing on {cluster.alias!r}: where the answer to a COMMIT is"
            " lost, nobody can tell whether it was carried out (CommitOutcomeUnknown).",
            "Run migrate (if it is running now, it will make the table), or set the option"
            " commit_marker to False.",
        )
    ]


def _epochs(cluster: Cluster, names: set[str]) -> list[CheckMessage]:
    missing = sorted({epoch.TABLE, epoch.SLOTS} - names)
    if not missing:
        return []
    return [
        warning(
            2,
            f"Tables are missing on {cluster.alias!r}: {listed(missing)}. Processes agree by their"
            " clocks alone which node is the primary, and for seconds two of them may write to"
            " different nodes: a lock may then be held twice.",
            "Run migrate (if it is running now, it will make the tables).",
        )
    ]


def _keys(place: str, tables: list[Table]) -> list[CheckMessage]:
    without = [table.name for table in tables if not table.has_key]
    if not without:
        return []
    return [
        warning(
            10,
            f"Tables without a primary key {place}: {listed(without)}. Galera does not support"
            " DELETE there, and rows may come in another order on each node.",
            "Give each table a primary key.",
        )
    ]


def _engines(place: str, tables: list[Table]) -> list[CheckMessage]:
    others = [f"{t.name} ({t.engine or 'unknown'})" for t in tables if t.engine != "InnoDB"]
    if not others:
        return []
    return [
        warning(
            11,
            f"Tables that are not InnoDB {place}: {listed(others)}. What is written to them stays"
            " on one node, and no transaction holds it.",
            "ALTER TABLE … ENGINE=InnoDB.",
        )
    ]

"""What processes commit, each with its epoch, and whether two primaries could have done that."""

from __future__ import annotations

import time
from collections.abc import Sequence

import MySQLdb
from django.db import DatabaseError, connection, transaction

from galera_router import reads
from galera_router.connections.connection import NodeConnection
from galera_router.transactions.sessions import session_of
from tests.shop.models import Tag

EVERY = 0.01  # seconds from one transaction to the next

#: Server, epoch, and number in the cluster's order, which is -1 if it is not known.
Commit = tuple[str, int, int]


def write() -> Commit:
    """Commit one row; returns where, in which epoch, and as which of the cluster's commits."""
    with transaction.atomic():
        Tag.objects.create(name="x")
        session = session_of("default")
        assert session is not None
        assert session.transaction is not None
        marker = session.transaction.marking.marker
        assert marker is not None
        with connection.cursor() as cursor, reads("primary"):
            cursor.execute(
                "SELECT CONCAT(@@hostname, ':', @@port), epoch_slot DIV 2"
                " FROM galera_router_marker WHERE worker = %s",
                [marker.worker],
            )
            ((server, epoch),) = cursor.fetchall()
        link = session.primary
    return str(server), int(epoch), number_on(link) if link is session.primary else -1


def number_on(link: NodeConnection | None) -> int:
    """The number of the last commit of a connection; the driver itself is asked."""
    if link is None:
        return -1
    try:
        link.connection.query("SELECT WSREP_LAST_WRITTEN_GTID()")
        ((position,),) = link.connection.store_result().fetch_row(0)
    except MySQLdb.Error:
        return -1
    return int(position.rpartition(b"-")[2])


def write_for(seconds: float) -> tuple[list[Commit], list[str]]:
    """Write all the time; returns the commits, and the errors that were met."""
    until, commits, errors = time.monotonic() + seconds, list[Commit](), list[str]()
    while time.monotonic() < until:
        try:
            commits.append(write())
        except DatabaseError as error:
            errors.append(f"{type(error).__name__}: {error}")
        time.sleep(EVERY)
    return commits, errors


def two_servers(commits: Sequence[Commit]) -> list[str]:
    """Epochs in which more than one server has committed."""
    found: dict[int, set[str]] = {}
    for server, epoch, _ in commits:
        found.setdefault(epoch, set()).add(server)
    return [
        f"in epoch {epoch}: {', '.join(sorted(servers))}"
        for epoch, servers in found.items()
        if len(servers) > 1
    ]


def going_back(commits: Sequence[Commit]) -> list[str]:
    """Commits of an epoch that was over when they came, by the cluster's own order."""
    ordered = sorted((number, epoch, server) for server, epoch, number in commits if number >= 0)
    newest, found = 0, list[str]()
    for number, epoch, server in ordered:
        if epoch < newest:
            found.append(f"commit {number} on {server} is of epoch {epoch}, after {newest}")
        newest = max(newest, epoch)
    return found

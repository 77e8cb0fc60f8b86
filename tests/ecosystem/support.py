"""A project in processes of its own, and in which databases the servers saw it at work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from galera_router.testing import Statement
from tests.integration.support import Shop

REAL = "galera_router"  # the database that the project's own tests must leave alone
LIMIT = 120  # seconds for one program


def environment(
    shop: Shop, databases: dict[str, Any] | None = None, **settings: Any
) -> dict[str, str]:
    """What leads a program to the cluster, with ``settings`` over those of the tests."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.project.settings",
        "PROJECT_DATABASES": json.dumps(databases or shop.galera.databases()),
        "PROJECT_SETTINGS": json.dumps(settings),
    }


def run(environment: dict[str, str], *words: str) -> str:
    """All that ``python -m words`` prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextmanager
def watched(shop: Shop) -> Iterator[list[tuple[str, str, str]]]:
    """A list that is filled at the end: each statement's node, database and text."""
    seen: list[tuple[str, str, str]] = []
    with ExitStack() as stack:
        running = [node for node in shop.galera.nodes if node.running]
        logs = {node.name: stack.enter_context(node.statements()) for node in running}
        yield seen
    for name, log in logs.items():
        seen.extend((name, database, sql) for database, sql in placed(log))


def placed(log: Iterable[Statement]) -> Iterator[tuple[str, str]]:
    """Each statement with the database that its connection was in; that of others is REAL's."""
    current: dict[int, str] = {}
    for entry in log:
        if entry.command == "Connect":
            found = re.search(r" on (\w*) using ", entry.sql)
            current[entry.connection_id] = found[1] if found else ""
        elif entry.command == "Init DB":
            current[entry.connection_id] = entry.sql
        elif entry.command == "Query":
            yield current.get(entry.connection_id, REAL), entry.sql

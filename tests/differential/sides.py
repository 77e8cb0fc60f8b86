"""The two sides, each in a process of its own, and the tables that they leave."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from galera_router.testing import GaleraCluster
from galera_router.testing.admin import driver, open_connection
from tests.differential import seeds

STOCK, ROUTER = "stock", "router"
DEAD = frozenset({1047, 2002, 2006, 2013})
READY = 60.0  # seconds that a process may take to make its tables
SCHEMAS = {STOCK: "test_stock", ROUTER: "test_router"}
ROUTINES = (
    "CREATE FUNCTION {0}.count_tags() RETURNS INT READS SQL DATA"
    " RETURN (SELECT COUNT(*) FROM {0}.shop_tag)",
    "CREATE FUNCTION {0}.add_tag(n VARCHAR(9)) RETURNS INT MODIFIES SQL DATA"
    " BEGIN INSERT INTO {0}.shop_tag (name) VALUES (n); RETURN 1; END",
    "CREATE PROCEDURE {0}.count_authors(OUT n INT) SELECT COUNT(*) INTO n FROM {0}.shop_author",
    "CREATE PROCEDURE {0}.add_tags(n VARCHAR(9)) INSERT INTO {0}.shop_tag (name) VALUES (n), (n)",
    "CREATE PROCEDURE {0}.two_sets()"
    " BEGIN SELECT 1; SELECT name FROM {0}.shop_author ORDER BY name; END",
    "CREATE PROCEDURE {0}.commit_between() BEGIN"
    " INSERT INTO {0}.shop_tag (name) VALUES ('before'); COMMIT; START TRANSACTION;"
    " INSERT INTO {0}.shop_tag (name) VALUES ('after'); END",
)


class Hung(Exception):
    """A programme did not end within its time."""


class ServerDied(Exception):
    """A server has ended by itself, or has left the cluster."""


class Side:
    """A process that runs programmes.

    Args:
        name: STOCK or ROUTER.
        databases: Django's DATABASES before ``expand``.
    """

    def __init__(self, name: str, databases: dict[str, Any]) -> None:
        self.name = name
        self._config = json.dumps({"side": name, "databases": databases})
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - the process writes to it
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    def start(self) -> None:
        """Start the process; harmless if it runs."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.differential.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "DIFFERENTIAL": self._config},
            start_new_session=True,
        )
        self._buffer = b""

    def send(self, job: dict[str, Any]) -> None:
        """Have it begin; ``answer`` tells the outcome."""
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self, seconds: float) -> dict[str, Any]:
        """What came of it.

        Raises:
            Hung: nothing within ``seconds``; the process is ended, and a new one will do the next.
            RuntimeError: the process failed in a way that is not the programme's.
        """
        line = self._line(seconds)
        if line is None:
            self.stop()
            raise Hung(self.name)
        answer: dict[str, Any] = json.loads(line)
        if "broken" in answer:
            raise RuntimeError(f"{self.name}: {answer['broken']}")
        return answer

    def _line(self, seconds: float) -> bytes | None:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                read = os.read(self._process.stdout.fileno(), 1 << 16)
                if not read:
                    raise RuntimeError(f"{self.name} has ended:\n{self.errors()}")
                self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def errors(self) -> str:
        """The end of what the process has written to its standard error."""
        self._errors.seek(0)
        return self._errors.read()[-3000:]

    def stop(self) -> None:
        """End the process, whatever it does; harmless if there is none."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


class Tables:
    """The tables of both sides, seen and filled by the administrator on every node."""

    def __init__(self, cluster: GaleraCluster) -> None:
        self.cluster = cluster
        self._asked = 0
        self._links: list[Any] = []
        self.connect()

    def create(self) -> None:
        """Make both databases, empty."""
        for schema in SCHEMAS.values():
            self._run(0, [f"DROP DATABASE IF EXISTS {schema}", f"CREATE DATABASE {schema}"])

    def create_routines(self) -> None:
        """Make what CALL and SELECT f() need; the tables must be there."""
        for schema in SCHEMAS.values():
            for routine in ROUTINES:
                self._run(0, [routine.format(schema)])

    def connect(self) -> None:
        """Connect to the servers anew."""
        self._links = [open_connection(node.socket) for node in self.cluster.nodes]

    def close(self) -> None:
        for link in self._links:
            link.close()

    def fill(self, number: int, *, ddl: bool) -> None:
        """Have both sides begin alike on all nodes."""
        sql = ["BEGIN"]
        for schema in SCHEMAS.values():
            sql.extend(seeds.statements(number, schema))
        self._run(0, [*sql, "COMMIT"])
        if ddl:
            self._run(0, [f"DROP TABLE IF EXISTS {s}.extra" for s in SCHEMAS.values()])
        for place in range(1, len(self._links)):
            self._settle(place)

    def rows(self, number: int, *, ddl: bool) -> dict[str, list[Any]]:
        """What the tables of each side hold, by node: a list of the tables with their rows."""
        found: dict[str, list[Any]] = {side: [] for side in SCHEMAS}
        for place in range(len(self._links)):
            self._settle(place)
            for side, schema in SCHEMAS.items():
                found[side].append(self._rows_of(place, number, schema, ddl))
        return found

    def _rows_of(self, place: int, number: int, schema: str, ddl: bool) -> dict[str, Any]:
        sql = [f"SELECT * FROM {schema}.{table} ORDER BY 1" for table in seeds.TABLES]
        sets = self._run(place, sql)
        named = zip(seeds.TABLES, sets, strict=True)
        tables: dict[str, Any] = {
            table: [[_named(number, value) for value in row] for row in rows]
            for table, rows in named
        }
        if ddl:
            tables["extra"] = self._extra(place, schema)
        return tables

    def _extra(self, place: int, schema: str) -> Any:
        (found,) = self._run(place, [f"SHOW TABLES FROM {schema} LIKE 'extra'"])
        if not found:
            return None
        columns, rows = self._run(
            place, [f"SHOW COLUMNS FROM {schema}.extra", f"SELECT * FROM {schema}.extra"]
        )
        return [[column[0] for column in columns], [list(row) for row in rows]]

    def end_clients(self, schema: str) -> None:
        """End the connections to ``schema`` that a process which was killed has left."""
        for node in self.cluster.nodes:
            for (thread,) in node.query(
                "SELECT id FROM information_schema.processlist WHERE user = %s AND db = %s",
                [self.cluster.user, schema],
            ):
                _kill(node, int(thread))

    def served(self) -> int:
        """How many SELECTs the secondaries have answered, ours left out."""
        total = -self._asked
        for node in self.cluster.nodes[1:]:
            total += int(node.query("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1])
        return total

    def _settle(self, place: int) -> None:
        # With dirty reads, as the administrator has, nothing would be waited for.
        sql = "SET STATEMENT wsrep_dirty_reads = 0, wsrep_sync_wait = 1 FOR SELECT 1"
        self._run(place, [sql])

    def _run(self, place: int, sql: Sequence[str]) -> list[Any]:
        try:
            return self._sets(place, sql)
        except driver().Error as error:
            if error.args[0] in DEAD:
                raise ServerDied(self.cluster.nodes[place].name) from error
            raise

    def _sets(self, place: int, sql: Sequence[str]) -> list[Any]:
        if place:
            self._asked += sum("SELECT" in each for each in sql)
        cursor = self._links[place].cursor()
        cursor.execute(";".join(sql))
        sets = [cursor.fetchall()]
        while cursor.nextset():
            sets.append(cursor.fetchall())
        cursor.close()
        return sets


def _kill(node: Any, thread: int) -> None:
    try:
        node.query("KILL CONNECTION %s", [thread])
    except driver().Error as error:
        if error.args[0] != 1094:  # it has gone by itself
            raise


def _named(number: int, value: Any) -> Any:
    return seeds.key_name(number, value) if isinstance(value, int) else value

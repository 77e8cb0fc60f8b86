"""A programme on both sides, and what differs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from galera_router.testing import GaleraCluster, GaleraNode, Proxy
from tests.differential.acts import OPS
from tests.differential.compare import Difference, compare_keys
from tests.differential.language import Programme
from tests.differential.sides import READY, ROUTER, SCHEMAS, STOCK, Hung, Side, Tables

# Without binary logs, MariaDB 10.11 replicates what ROLLBACK TO SAVEPOINT has undone, if the
# transaction had read before the savepoint and not written; the nodes then differ, and fall out.
SERVER = ("--log-bin",)
LIMIT = 15.0  # seconds that a programme may take
READER = "db2"
# So that a lock which nobody gives back is an error, and soon.
SHORT_WAITS = {"innodb_lock_wait_timeout": 1, "lock_wait_timeout": 2}


@dataclass(frozen=True)
class Outcome:
    """What both sides saw, what their tables held, and the first difference."""

    programme: Programme
    stock: dict[str, Any]
    router: dict[str, Any]
    rows: dict[str, list[Any]]
    difference: Difference | None


class Pair:
    """Stock Django on the first node, and the router on the whole cluster."""

    def __init__(self, cluster: GaleraCluster, tables: Tables, stock: Side, router: Side) -> None:
        self.cluster, self.tables = cluster, tables
        self.sides = {STOCK: stock, ROUTER: router}
        self.number = 0
        self.limit = LIMIT
        self.deaths: list[str] = []

    def prepare(self) -> None:
        """Make the tables of both sides."""
        self.tables.create()
        for side in self.sides.values():
            side.send({"do": "prepare"})
        for side in self.sides.values():
            side.answer(READY)
        self.tables.create_routines()

    def play(self, programme: Programme) -> Outcome:
        """Run the programme on both sides, each from the same rows, and compare."""
        self.number += 1
        ddl = _changes_tables(programme)
        self.tables.fill(self.number, ddl=ddl)
        job = {"do": "run", "number": self.number, "programme": programme.to_json()}
        for side in self.sides.values():
            side.send(job)
        answers = {name: self._answer(side) for name, side in self.sides.items()}
        rows = self.tables.rows(self.number, ddl=ddl)
        stock, router = answers[STOCK], answers[ROUTER]
        return Outcome(programme, stock, router, rows, compare_keys(stock, router, rows))

    def alone(
        self, name: str, programme: Programme, **more: Any
    ) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        """Run the programme on one side; returns its answer, and the rows of both sides.

        Args:
            more: ``loss`` for a run that loses its connection; ``at`` for one that is interrupted.
        """
        self.number += 1
        ddl = _changes_tables(programme)
        self.tables.fill(self.number, ddl=ddl)
        what = "points" if "at" in more else "run"
        job = {"do": what, "number": self.number, "programme": programme.to_json(), **more}
        self.sides[name].send(job)
        answer = self._answer(self.sides[name])
        return answer, self.tables.rows(self.number, ddl=ddl)

    def _answer(self, side: Side) -> dict[str, Any]:
        try:
            return side.answer(self.limit)
        except Hung:
            self.tables.end_clients(SCHEMAS[side.name])
            return {"hung": True}

    @contextmanager
    def broken(self, name: str) -> Iterator[None]:
        """Have the router's side be broken on purpose, for the time of the block.

        Args:
            name: a key of ``broken.BREAKS``.
        """
        side = self.sides[ROUTER]
        side.send({"do": "break", "name": name})
        side.answer(READY)
        try:
            yield
        finally:
            side.stop()

    def forget_losses(self) -> None:
        """Have the router's next programme be run by a new process.

        One that has lost the first node writes to another one for a while, and draws its keys.
        """
        self.sides[ROUTER].stop()

    def recover(self, case: object) -> None:
        """After a server has died while ``case`` was run: start it, and begin with fresh processes.

        That is noted in ``deaths``, with what the servers have to say.
        """
        said = [n.errors()[-1000:] for n in self.cluster.nodes if not n.is_synced()]
        self.deaths.append("\n".join([str(case), *said]))
        self.stop()
        self.cluster.heal()
        for node in self.cluster.nodes:
            _set(node, SHORT_WAITS)
        self._forget_primary()
        self.tables.connect()

    def _forget_primary(self) -> None:
        """The router begins on the first node again, as stock does: keys are those of a node."""
        first, schema = self.cluster.nodes[0], SCHEMAS[ROUTER]
        for table in ("marker", "slot", "epoch"):
            if first.query(f"SHOW TABLES FROM {schema} LIKE 'galera_router_{table}'"):
                first.query(f"DELETE FROM {schema}.galera_router_{table}")

    def stop(self) -> None:
        for side in self.sides.values():
            side.stop()


def _changes_tables(programme: Programme) -> bool:
    return any(OPS[step.op].group == "ddl" for step, _ in programme.walk())


def databases(
    cluster: GaleraCluster, side: str, proxies: Mapping[str, Proxy] | None = None
) -> dict[str, Any]:
    """Django's DATABASES of one side; the router's reads go to a secondary.

    So do those of a block before its first write: all blocks are opened at one place in the code,
    and with ``"auto"`` each would begin on the primary.
    """
    found = cluster.databases(
        proxies=proxies, NAME=SCHEMAS[side], CONN_MAX_AGE=None, ATOMIC_REQUESTS=True
    )
    default = found["default"]
    if side == STOCK:
        first = cluster.nodes[0]
        del default["NODES"]
        default.update(HOST=first.host, PORT=first.port)
    else:
        default["HOST"] = READER
        # On a busy machine the first node must not be taken for dead: keys are those of a node.
        default["OPTIONS"] = {"optimistic_transactions": True, "watchdog_timeout": 10.0}
    return found


@contextmanager
def pair(cluster: GaleraCluster, proxies: Mapping[str, Proxy] | None = None) -> Iterator[Pair]:
    """Both sides on a running cluster, with their tables made, for the time of the block.

    Args:
        proxies: what the router reaches the nodes through.
    """
    tables = Tables(cluster)
    sides = [Side(STOCK, databases(cluster, STOCK))]
    sides.append(Side(ROUTER, databases(cluster, ROUTER, proxies)))
    both = Pair(cluster, tables, *sides)
    try:
        with _short_waits(cluster):
            both.prepare()
            yield both
    except Exception:
        _tell_of_servers(cluster)
        raise
    finally:
        both.stop()
        tables.close()


def _tell_of_servers(cluster: GaleraCluster) -> None:
    """Say which nodes are not well, and what they have written."""
    for node in cluster.nodes:
        if not node.is_synced():
            print(f"{node.name} is not well: {node.errors()}", file=sys.stderr)


@contextmanager
def _short_waits(cluster: GaleraCluster) -> Iterator[None]:
    before = {
        node: {name: node.query(f"SELECT @@GLOBAL.{name}")[0][0] for name in SHORT_WAITS}
        for node in cluster.nodes
    }
    for node in before:
        _set(node, SHORT_WAITS)
    try:
        yield
    finally:
        for node, values in before.items():
            if node.running:
                _set(node, values)


def _set(node: GaleraNode, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        node.query(f"SET GLOBAL {name} = {value}")

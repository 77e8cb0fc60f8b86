"""Ask a node, on a separate connection, for everything that the checks need."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from django.db import Error, connections

from galera_router.cluster.node import Node
from galera_router.cluster.probe import WHO
from galera_router.compat import internals

VARIABLES = (
    "version", "version_comment", "wsrep_on", "wsrep_provider", "wsrep_cluster_name",
    "wsrep_gtid_mode", "wsrep_gtid_domain_id", "log_slave_updates",
    "innodb_flush_log_at_trx_commit", "hostname", "port", "datadir",
)  # fmt: skip
STATUS = (
    "wsrep_cluster_state_uuid", "wsrep_cluster_status", "wsrep_ready", "wsrep_gcomm_uuid",
)  # fmt: skip
DATABASE = "SELECT DATABASE()"
#: MariaDB 11.1 has given two of them new names, and keeps the old ones for a while.
SESSION = (
    "tx_isolation", "transaction_isolation", "tx_read_only", "transaction_read_only", "autocommit",
    "sql_mode", "character_set_client",
)  # fmt: skip
CLOCK = "SELECT UNIX_TIMESTAMP(NOW(6))"
TABLES = (
    "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME"
)
KEYS = (
    "SELECT DISTINCT TABLE_NAME FROM information_schema.STATISTICS"
    " WHERE TABLE_SCHEMA = DATABASE() AND INDEX_NAME = 'PRIMARY'"
)


@dataclass(frozen=True)
class Table:
    """A table of the application's database."""

    name: str
    engine: str
    has_key: bool


@dataclass
class Report:
    """What one node has said.

    Attributes:
        node: which.
        error: why it could not be connected to, or has stopped answering; None if neither.
        variables: of the server, those that there are; by their names in lower case.
        status: the same.
        session: variables of a session of the node's own alias.
        role_session: variables of a session of the role's alias on this node.
        skew: seconds by which its clock is ahead of this machine's.
        doubt: seconds by which that may be wrong.
        database: the one that the connection is in; empty if in none.
        tables: of that database.
        servers: who has answered, by their own names: more than one behind a balancer.
    """

    node: Node
    error: Exception | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, str] = field(default_factory=dict)
    session: Mapping[str, str] = field(default_factory=dict)
    role_session: Mapping[str, str] = field(default_factory=dict)
    skew: float = 0.0
    doubt: float = 0.0
    database: str = ""
    tables: list[Table] = field(default_factory=list)
    servers: set[str] = field(default_factory=set)

    @property
    def version(self) -> str:
        return self.variables.get("version", "")

    @property
    def is_mariadb(self) -> bool:
        return "mariadb" in self.version.lower()

    @property
    def is_usable(self) -> bool:
        """Returns True if it answers, is a MariaDB, and takes part in its cluster, if in any."""
        takes_part = not self.has_galera or self.status.get("wsrep_ready") == "ON"
        return self.error is None and self.is_mariadb and takes_part

    @property
    def server(self) -> tuple[str, ...]:
        """What distinguishes this server from any other."""
        own = [self.variables.get(name, "") for name in ("hostname", "port", "datadir")]
        return (self.status.get("wsrep_gcomm_uuid", ""), *own)

    @property
    def has_galera(self) -> bool:
        """Returns True if it replicates its transactions to other nodes."""
        return self.variables.get("wsrep_on", "OFF") in ("ON", "1") and bool(
            self.status.get("wsrep_cluster_state_uuid")
        )


def ask(node: Node) -> Report:
    """Connect to ``node`` twice, as for a read and as for a write, and ask."""
    report = Report(node)
    wrapper = connections[node.alias]
    try:
        # At the same time: a balancer may give each new connection to the server with the fewest.
        with (
            closing(_connect(node, node.alias)) as driver,
            closing(_connect(node, node.cluster.alias)) as other,
        ):
            report.variables = _named(driver, "SHOW GLOBAL VARIABLES", VARIABLES)
            if not report.is_mariadb:
                return report  # it need not know the other questions
            _general(report, driver)
            report.role_session = _session(other)
            report.servers = {_rows(d, WHO.decode())[0][0] for d in (driver, other)}
    except (Error, wrapper.Database.Error) as error:  # type: ignore[attr-defined]
        report.error = error
    return report


def _connect(node: Node, alias: str) -> Any:
    wrapper = connections[alias]
    name = connections.settings[node.cluster.alias]["NAME"]
    configured = node.cluster.config.first.role_settings["NAME"]
    moved = {} if name == configured else {"NAME": name}  # by the test runner
    own = node.config.role_settings if alias == node.cluster.alias else {}
    driver = internals.connect(wrapper, {**own, **moved})
    level = getattr(wrapper, "isolation_level", None)
    if level:
        _rows(driver, f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
    return driver


def _general(report: Report, driver: Any) -> None:
    report.status = _named(driver, "SHOW GLOBAL STATUS", STATUS)
    _clock(report, driver)
    report.session = _session(driver)
    report.database = _rows(driver, DATABASE)[0][0] or ""
    keyed = {name for (name,) in _rows(driver, KEYS)}
    report.tables = [Table(name, kind or "", name in keyed) for name, kind in _rows(driver, TABLES)]


def _session(driver: Any) -> dict[str, str]:
    """Variables of the session, under their old names."""
    told = _named(driver, "SHOW SESSION VARIABLES", SESSION)
    return {name.replace("transaction_", "tx_"): value for name, value in told.items()}


def _clock(report: Report, driver: Any) -> None:
    before = time.time()
    ((told,),) = _rows(driver, CLOCK)
    after = time.time()
    report.skew = float(told) - (before + after) / 2
    report.doubt = (after - before) / 2


def _named(driver: Any, show: str, names: tuple[str, ...]) -> dict[str, str]:
    wanted = ", ".join(f"'{name}'" for name in names)
    rows = _rows(driver, f"{show} WHERE Variable_name IN ({wanted})")
    return {name.lower(): value for name, value in rows}


def _rows(driver: Any, statement: str) -> list[tuple[Any, ...]]:
    driver.query(statement.encode())
    result = driver.store_result()
    rows = result.fetch_row(0) if result is not None else ()
    return [tuple(v.decode() if isinstance(v, bytes) else v for v in row) for row in rows]

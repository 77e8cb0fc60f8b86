"""Ask a node how it is, in a short-lived thread and on a separate connection."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import Error, connections

from galera_router.cluster.nodes import Node
from galera_router.cluster.position import STATUS, Position, position
from galera_router.compat import internals
from galera_router.connections.errors import Verdict, errno, verdict

logger = logging.getLogger("galera_router")

#: A node out of the cluster accepts connections, and a SELECT without a table of a database.
#: One that names a table is refused with 1047 before the table is looked for; a node that is
#: well answers that there is none (1146) or that it may not be read (1142). The question must
#: not wait for the applier, nor be answered by a node that is out, whatever the session says.
QUESTION = (
    b"SET STATEMENT wsrep_sync_wait=0, wsrep_dirty_reads=0 FOR"
    b" SELECT 1 FROM galera_router_no_such_table LIMIT 0"
)
_WELL = frozenset({1146, 1142})
#: Answered by a node out of the cluster too.
_STATUS = (
    f"SHOW GLOBAL STATUS WHERE Variable_name IN {('wsrep_local_state', 'Uptime', *STATUS)}"
).encode()
WHO = b"SELECT CONCAT_WS(' ', @@hostname, @@port, @@wsrep_node_name)"
_THREADS = (
    b"SELECT ID, COMMAND FROM information_schema.PROCESSLIST WHERE ID IN (CONNECTION_ID(), %s)"
)
_SYNCED = "4"  # of wsrep_local_state

_Rows = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Answer:
    """What a node has said.

    Attributes:
        error: why it takes no statements; None if it does.
        synced: it does not say that it is out of step with the cluster.
        position: how far it has come; None if unknown.
        started: when its server started, by the time of day; None if unknown.
        server: its name for itself; empty if unknown.
        cluster_id: the cluster's wsrep_cluster_state_uuid; empty without Galera.
        commands: what each of the threads asked for is doing, by its number; a thread that has
            ended is missing. None if unknown, or if a proxy gives threads other numbers.
    """

    error: Exception | None = None
    synced: bool = True
    position: Position | None = None
    started: float | None = None
    server: str = ""
    cluster_id: str = ""
    commands: Mapping[int, str] | None = None

    @property
    def verdict(self) -> Verdict | None:
        """What the error means; None if there is none."""
        return None if self.error is None else verdict(self.error)


class Ping:
    """A question on its way to a node.

    Args:
        node: the node to ask.
        threads: the server's numbers of the threads to ask for.
        timeout: seconds for which the answer is waited for; the driver gives up some time later.

    Attributes:
        answer: None until it has come.
    """

    def __init__(self, node: Node, threads: Collection[int], timeout: float) -> None:
        self.node = node
        self.answer: Answer | None = None
        self._threads = sorted(threads)
        self._timeout = int(timeout) + 2  # whoever waits for the answer has given up by then

    def start(self) -> None:
        """Ask; raises RuntimeError if no thread is to be had."""
        name = f"galera_router: ask {self.node.alias}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self.answer = self._ask()
        except Exception as error:  # nobody else would ever see it
            logger.exception("%s: cannot ask node %s", self.node.cluster.alias, self.node.name)
            self.answer = Answer(error=error)

    def _ask(self) -> Answer:
        if self.node.alias not in connections.settings:  # they were replaced meanwhile
            return Answer()
        wrapper = connections[self.node.alias]
        errors = (Error, wrapper.Database.Error)  # type: ignore[attr-defined]
        limits = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), self._timeout)
        options = {**wrapper.settings_dict["OPTIONS"], **limits}
        try:
            driver = internals.connect(wrapper, {**self._database(), "OPTIONS": options})
        except errors as error:
            return Answer(error=error)
        try:
            return _put(driver, self._threads, errors)
        except errors as error:  # lost on the way
            return Answer(error=error)
        finally:
            driver.close()

    def _database(self) -> dict[str, Any]:
        """The database's name where it has been changed: the test runner has moved to another."""
        cluster = self.node.cluster
        name = connections.settings[cluster.alias]["NAME"]
        configured = cluster.config.first.role_settings["NAME"]
        return {} if name == configured else {"NAME": name}


def _put(driver: Any, threads: list[int], errors: tuple[type[Exception], ...]) -> Answer:
    """Put the questions; raises one of ``errors`` if the connection is lost."""
    trouble: Exception | None = None
    try:
        _rows(driver, QUESTION)
    except errors as error:
        if verdict(error) is Verdict.LOST:
            raise
        trouble = None if errno(error) in _WELL else error
    status: dict[str, str] = dict(_told(driver, _STATUS, errors))
    uptime = status.get("Uptime")
    return Answer(
        error=trouble,
        synced=status.get("wsrep_local_state", _SYNCED) == _SYNCED,
        position=position(status.items()),
        started=None if uptime is None else time.time() - float(uptime),
        server="".join(name for (name,) in _told(driver, WHO, errors)),
        cluster_id=status.get("wsrep_cluster_state_uuid", ""),
        commands=_commands(driver, threads, errors) if threads else None,
    )


def _commands(
    driver: Any, threads: list[int], errors: tuple[type[Exception], ...]
) -> Mapping[int, str] | None:
    numbers = ", ".join(map(str, threads)).encode()
    commands = {
        int(thread): command for thread, command in _told(driver, _THREADS % numbers, errors)
    }
    return commands if driver.thread_id() in commands else None


def _told(driver: Any, statement: bytes, errors: tuple[type[Exception], ...]) -> _Rows:
    """The rows, none if the server does not tell us; raises if the connection is lost."""
    try:
        return _rows(driver, statement)
    except errors as error:
        if verdict(error) is Verdict.LOST:
            raise
        logger.debug("%r: %s", statement, error)
        return ()


def _rows(driver: Any, statement: bytes) -> _Rows:
    driver.query(statement)
    result = driver.store_result()
    rows = () if result is None else result.fetch_row(0)
    return tuple(tuple(map(_text, row)) for row in rows)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value

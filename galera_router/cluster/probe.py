"""Ask a node how it is, in a short-lived thread and on a separate connection."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import Error, connections

from galera_router.cluster import names
from galera_router.cluster.epoch import ASK
from galera_router.cluster.node import Node
from galera_router.cluster.position import STATUS, Position, position
from galera_router.compat import internals
from galera_router.connections.errors import Verdict, errno, verdict
from galera_router.connections.packet import next_answer, several_statements

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
#: Also if what is written there goes to the other nodes.
_WHO = WHO + b", @@wsrep_on OR @@wsrep_provider = 'none'"
_READ_ONLY = b"SELECT @@GLOBAL.read_only"
_THREADS = (
    b"SET STATEMENT wsrep_sync_wait=0 FOR"
    b" SELECT ID, COMMAND, STATE FROM information_schema.PROCESSLIST"
    b" WHERE ID IN (CONNECTION_ID(), %s)"
)
_EPOCHS = b"SET STATEMENT wsrep_sync_wait=0 FOR " + ASK
_SYNCED = "4"  # of wsrep_local_state
_OFF = ("0", "OFF")
#: Options that would cost a round trip, for a session that nobody but us uses.
_LEFT_OUT = ("init_command", "sql_mode", "collation")

_Rows = tuple[tuple[Any, ...], ...]
_Errors = tuple[type[Exception], ...]


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
        database: the one that it was asked in.
        epochs: the rows of :data:`galera_router.cluster.epoch.ASK`; none if there is no table.
        commands: what each of the threads asked for is doing, by its number; a thread that has
            ended is missing. None if unknown, or if a proxy gives threads other numbers.
        states: what each of them waits for, as the server words it; empty where ``commands`` is
            None.
        read_only: its server refuses writes.
        replicates: what is written there goes to the other nodes; without Galera there are none.
    """

    error: Exception | None = None
    synced: bool = True
    position: Position | None = None
    started: float | None = None
    server: str = ""
    cluster_id: str = ""
    database: str = ""
    epochs: Sequence[Sequence[Any]] = ()
    commands: Mapping[int, str] | None = None
    states: Mapping[int, str] = field(default_factory=dict)
    read_only: bool = False
    replicates: bool = True

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
        ready: the node's name has been looked up; from then on the answer is waited for.
        extra: further seconds to wait for it, since the driver asks the resolver again.
    """

    def __init__(self, node: Node, threads: Collection[int], timeout: float) -> None:
        self.node = node
        self.answer: Answer | None = None
        self.extra = 0.0
        self._threads = sorted(threads)
        self._timeout = int(timeout) + 2  # whoever waits for the answer has given up by then
        self.ready = not names.is_name(_settings(node).get("HOST", ""))

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
        if not _settings(self.node):  # they were replaced meanwhile
            return Answer()
        wrapper = connections[self.node.alias]
        errors = (Error, wrapper.Database.Error)  # type: ignore[attr-defined]
        try:
            driver = self._connect(wrapper, errors)
        except errors as error:
            return Answer(error=error)
        try:
            return self._put(driver, errors)
        except errors as error:  # lost on the way
            return Answer(error=error)
        finally:
            driver.close()

    def connect(self) -> Any:
        """A connection of the driver's to the node; raises the driver's errors."""
        wrapper = connections[self.node.alias]
        return self._connect(wrapper, (Error, wrapper.Database.Error))  # type: ignore[attr-defined]

    def _connect(self, wrapper: internals.Wrapper, errors: _Errors) -> Any:
        """Connect, with as few round trips as an ENGINE's own way of connecting allows."""
        limits = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), self._timeout)
        options = {**wrapper.settings_dict["OPTIONS"], **limits}
        for name in _LEFT_OUT:
            options.pop(name, None)
        settings = {**self._database(), "OPTIONS": options}
        parameters = {**internals.parameters(wrapper, settings), "autocommit": None}
        *others, last = self._ways(parameters)
        for way in others:
            try:
                return wrapper.get_new_connection({**parameters, **way})
            except errors as error:
                if verdict(error) is not Verdict.LOST:  # somebody is there
                    raise
                logger.debug("%s: %s", way, error)
        return wrapper.get_new_connection({**parameters, **last})

    def _ways(self, parameters: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
        """The addresses to connect to, one after the other, once the name has been looked up."""
        host = parameters.get("host", "")
        try:
            if not names.is_name(host):
                return ({},)
            if not names.may_be_checked(parameters):
                return [{"host": address} for address in names.addresses(host)]
            self.extra = names.seconds_of(host)
            return ({},)
        finally:
            self.ready = True

    def _put(self, driver: Any, errors: _Errors) -> Answer:
        """Put the questions; raises one of ``errors`` if the connection is lost."""
        numbers = ", ".join(map(str, self._threads)).encode()
        threads = [_THREADS % numbers] if self._threads else []
        epochs = [] if self.node.cluster.epochs.absent else [_EPOCHS]
        statements = [_STATUS, _WHO, _READ_ONLY, *threads, *epochs, QUESTION]
        began = time.monotonic()
        answers = put(driver, statements, errors)
        self.node.distance.note(time.monotonic() - began)
        while len(answers) < len(statements):  # what stood behind an error was not carried out
            answers += put(driver, statements[len(answers) :], errors)
        *told, (_, trouble) = answers
        status, who, read_only, *more = (rows for rows, _ in told)
        shown = more.pop() if epochs else ()
        known = _threads(driver, *more)
        return replace(
            _answer(dict(status), who, trouble),
            read_only=any(str(value) not in _OFF for (value,) in read_only),
            commands=None
            if known is None
            else {thread: does for thread, (does, _) in known.items()},
            states={thread: state for thread, (_, state) in (known or {}).items()},
            epochs=shown,
            database=self._name(),
        )

    def _name(self) -> str:
        name: str = connections.settings[self.node.cluster.alias]["NAME"]
        return name

    def _database(self) -> dict[str, Any]:
        """The database's name where it has been changed: the test runner has moved to another."""
        name, configured = self._name(), self.node.cluster.config.first.role_settings["NAME"]
        return {} if name == configured else {"NAME": name}


def started(node: Node, timeout: float) -> Ping | None:
    """Ask ``node``; returns the question on its way, None if no thread is to be had."""
    ping = Ping(node, (), timeout)
    try:
        ping.start()
    except RuntimeError as error:  # the interpreter is ending, say
        logger.warning("%s: cannot ask node %s: %s", node.cluster.alias, node.name, error)
        return None
    return ping


def _settings(node: Node) -> Mapping[str, Any]:
    """The settings of a node's alias; none if DATABASES has been replaced."""
    found: Mapping[str, Any] = connections.settings.get(node.alias, {})
    return found


def _answer(status: dict[str, str], who: _Rows, trouble: Exception | None) -> Answer:
    uptime = status.get("Uptime")
    return Answer(
        error=None if trouble is None or errno(trouble) in _WELL else trouble,
        synced=status.get("wsrep_local_state", _SYNCED) == _SYNCED,
        position=position(status.items()),
        started=None if uptime is None else time.time() - float(uptime),
        server="".join(name for name, _ in who),
        cluster_id=status.get("wsrep_cluster_state_uuid", ""),
        replicates=all(str(value) not in _OFF for _, value in who),
    )


def _threads(driver: Any, rows: _Rows = ()) -> dict[int, tuple[str, str]] | None:
    """Command and state of each thread; None if a proxy gives them other numbers."""
    known = {int(thread): (command, state or "") for thread, command, state in rows}
    return known if driver.thread_id() in known else None


def put(
    driver: Any, statements: Sequence[bytes], errors: _Errors
) -> list[tuple[_Rows, Exception | None]]:
    """The rows of each statement, at least of the first, until one fails: no rows, but its error.

    Raises one of ``errors`` if the connection is lost.
    """
    if not several_statements(driver):
        statements = statements[:1]
    answers: list[tuple[_Rows, Exception | None]] = []
    try:
        driver.query(b"; ".join(statements))
        answers.append((_rows(driver), None))
        for _ in statements[1:]:
            next_answer(driver)
            answers.append((_rows(driver), None))
    except errors as error:
        if verdict(error) is Verdict.LOST:
            raise
        logger.debug("%r: %s", statements[len(answers)], error)
        answers.append(((), error))
    return answers


def _rows(driver: Any) -> _Rows:
    result = driver.store_result()
    rows = () if result is None else result.fetch_row(0)
    return tuple(tuple(map(_text, row)) for row in rows)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value

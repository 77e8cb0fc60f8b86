"""What the integration tests share: settings on the fly, and what each node was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import MySQLdb
import pytest
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections
from MySQLdb import Error as MySQLError

from galera_router import expand
from galera_router.cluster import registry
from galera_router.testing import GaleraCluster, GaleraNode, Proxy
from galera_router.testing.admin import open_connection
from galera_router.testing.generallog import Statement
from galera_router.testing.options import server_command
from galera_router.testing.process import ServerProcess
from galera_router.transactions.session import Session
from galera_router.transactions.sessions import session_of
from tests.shop.models import Author, Book

TABLES = (
    "shop_book_tags", "shop_book", "shop_author", "shop_tag", "shop_ticket", "shop_shelf",
    "shop_note", "shop_room",
    "django_session", "django_admin_log",
    "auth_user_user_permissions", "auth_user_groups", "auth_user",
)  # fmt: skip


#: A plain block begins on a secondary at once, not only when its place has proven to read.
OPTIMISTIC = {"optimistic_transactions": True}


def use_databases(databases: dict[str, Any]) -> None:
    """Have Django use ``databases`` from now on, in every thread."""
    connections.close_all()
    settings.DATABASES = databases
    connections.settings = connections.configure_settings(databases)
    for wrapper in connections.all(initialized_only=True):
        del connections[wrapper.alias]
    registry._clusters.clear()
    ContentType.objects.clear_cache()  # the keys of another database


class Shop:
    """The test project's database."""

    def __init__(self, galera: GaleraCluster) -> None:
        self.galera = galera

    def configure(self, *, proxies: Mapping[str, Proxy] | None = None, **overrides: Any) -> None:
        """Use the cluster with ``overrides`` of the default alias's settings."""
        overrides.setdefault("CONN_MAX_AGE", None)
        overrides["OPTIONS"] = {**OPTIMISTIC, **overrides.get("OPTIONS", {})}
        use_databases(expand(self.galera.databases(proxies=proxies, **overrides)))

    @contextmanager
    def proxied(self, **overrides: Any) -> Iterator[dict[str, Proxy]]:
        """Reach each node through a proxy, for the time of the block."""
        with self.galera.proxies() as proxies:
            self.configure(proxies=proxies, **overrides)
            yield proxies
            connections.close_all()

    def empty(self) -> None:
        node = self.galera.nodes[0]
        for table in TABLES:
            node.query(f"DELETE FROM galera_router.{table}")
        for table in ("slot", "epoch"):  # so that the first node is the primary
            node.query(
                "SET STATEMENT foreign_key_checks=0 FOR"
                f" DELETE FROM galera_router.galera_router_{table}"
            )
        self.settle()

    def settle(self) -> None:
        """Wait until every node that runs has applied everything."""
        for node in self.galera.nodes:
            if node.running:
                node.query("SET STATEMENT wsrep_dirty_reads=0, wsrep_sync_wait=1 FOR SELECT 1")

    def accept_queries(self) -> None:
        for node in self.galera.nodes:
            node.accept_queries()

    def stock(self, count: int = 1) -> Book:
        """An author with ``count`` books, on all nodes; nothing of it is remembered."""
        author = Author.objects.create(name="Ann")
        books = [Book.objects.create(author=author, title=f"t{n}", stock=10) for n in range(count)]
        self.settle()
        self.forget()
        return books[0]

    @contextmanager
    def without_marker_table(self) -> Iterator[None]:
        """As before migrate has made it."""
        node = self.galera.nodes[0]
        ((_, create),) = node.query("SHOW CREATE TABLE galera_router.galera_router_marker")
        node.query("DROP TABLE galera_router.galera_router_marker")
        try:
            yield
        finally:
            node.query(str(create).replace("TABLE `", "TABLE galera_router.`", 1))
            self.settle()

    @contextmanager
    def without_epochs(self) -> Iterator[None]:
        """As if the table that names the primary could not be read."""
        node, database = self.galera.nodes[0], self.galera.database
        table, hidden = f"{database}.galera_router_epoch", f"{database}.hidden_epoch"
        node.query(f"RENAME TABLE {table} TO {hidden}")
        self.settle()
        try:
            yield
        finally:
            node.query(f"RENAME TABLE {hidden} TO {table}")
            self.settle()

    def shelf(self, count: int) -> list[int]:
        """The keys of ``count`` books."""
        self.stock(count)
        return list(Book.objects.order_by("pk").values_list("pk", flat=True))

    def forget(self) -> None:
        """As if this thread had never written."""
        session = self.session
        session.new_request()
        session.following.behind.clear()

    def forget_positions(self) -> None:
        """As if nobody had asked the nodes how far they have come."""
        for node in self.session.cluster.nodes:
            node.forget_place()

    def warm(self) -> None:
        """Connect everything, as in a worker that has been running for a while."""
        connections["default"].close()
        for node in self.galera.nodes:
            with connections[f"default_{node.name}"].cursor() as cursor:
                cursor.execute("SELECT 1")
        with connection.cursor() as cursor:
            cursor.execute("DO 0")
        self.forget()

    @property
    def session(self) -> Session:
        session = session_of("default")
        assert session is not None
        return session

    @property
    def reading(self) -> GaleraNode:
        """The secondary that the open transaction reads from."""
        assert self.session.snapshot is not None
        return self.galera[self.session.snapshot.node.name]

    @property
    def writing(self) -> GaleraNode:
        """The primary that the open transaction writes to."""
        assert self.session.primary is not None
        return self.galera[self.session.primary.node.name]

    @contextmanager
    def traffic(self) -> Iterator[dict[str, list[str]]]:
        """What each node is sent: a list of statements by the node's name."""
        sent: dict[str, list[str]] = {}
        with ExitStack() as stack:
            running = [node for node in self.galera.nodes if node.running]
            logs = {node.name: stack.enter_context(node.statements()) for node in running}
            yield sent
            self.drain()
        for name, log in logs.items():
            said = without_late_farewells(log)
            sent[name] = [f"{s.command} {sql}".strip() for s in said for sql in _packet(s.sql)]

    def drain(self) -> None:
        """Wait for the answers that nobody has waited for, such as to the end of a snapshot."""
        session = session_of("default")
        if session is None:  # stock Django's
            return
        for node in session.cluster.nodes:
            link = session.reader.kept(node)
            if link is not None and link.outstanding:
                link.is_stale()  # it takes the answer, if there is one

    def everywhere(self, sql: str) -> list[Any]:
        """The answer to ``sql``, which must be the same on all nodes that run."""
        self.settle()
        answers = [node.query(sql) for node in self.galera.nodes if node.running]
        assert all(answer == answers[0] for answer in answers), answers
        return answers[0]


def without_late_farewells(log: Sequence[Statement]) -> list[Statement]:
    """Without the "Quit" of connections that did nothing else: they had been closed before."""
    busy = {statement.connection_id for statement in log if statement.command != "Quit"}
    return [statement for statement in log if statement.connection_id in busy]


@contextmanager
def durable(nodes: Iterable[GaleraNode]) -> Iterator[None]:
    """Have the servers write each commit to the disk, as they should where data matters."""
    name = "GLOBAL innodb_flush_log_at_trx_commit"
    before = [(node, node.query(f"SELECT @@{name.replace(' ', '.')}")[0][0]) for node in nodes]
    try:
        for node, _ in before:
            node.query(f"SET {name} = 1")
        yield
    finally:
        for node, value in before:
            if node.running:
                node.query(f"SET {name} = %s", [value])


#: A server takes no smaller max_connections; what it says when there are so many.
FEW, TOO_MANY = 10, 1040


@contextmanager
def full(galera: GaleraCluster, node: GaleraNode, beyond: int = 0) -> Iterator[None]:
    """The node takes no new connections for the time of the block, and keeps those that it has.

    It has ``beyond`` more than it may have: so many may be closed and nobody gets in. With any at
    all, the administrator cannot connect again either.
    """
    ((before,),) = node.query("SELECT @@GLOBAL.max_connections")
    login = {"host": node.host, "port": node.port, "user": galera.user, "passwd": galera.password}
    with ExitStack() as stack:
        stack.callback(node.query, "SET GLOBAL max_connections = %s", [before])
        for _ in range(beyond):
            stack.enter_context(closing(MySQLdb.connect(**login)))
        node.query("SET GLOBAL max_connections = %s", [FEW])
        with pytest.raises(MySQLdb.OperationalError) as refused:
            for _ in range(FEW + 1):
                stack.enter_context(closing(MySQLdb.connect(**login)))
        assert refused.value.args[0] == TOO_MANY
        yield


@contextmanager
def without_galera(node: GaleraNode, *options: str) -> Iterator[None]:
    """The node's server by itself, on its data, for the time of the block."""
    node.stop()
    place = node.place
    command = [*server_command(place.binaries, place.folder), f"--port={node.port}", *options]
    server = ServerProcess(command, place.folder, place.account)
    try:
        wait_until(lambda: _lets_in(node), 30)
        yield
    finally:
        server.kill()
        node.start()


def _lets_in(node: GaleraNode) -> bool:
    try:
        open_connection(node.socket).close()
    except MySQLError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until ``condition()``; fails if that takes longer than ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come to that"
        time.sleep(0.02)


def _packet(sql: str) -> list[str]:
    """The statements of one packet: the server logs it as one."""
    return [part.strip() for part in sql.split(";")]


def elsewhere(function: Callable[[], Any]) -> Any:
    """Run ``function`` in a thread of its own, as another client; returns its result."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((True, function()))
        except Exception as error:
            outcome.append((False, error))
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    good, value = outcome[0]
    if not good:
        raise value
    return value


def crowd(
    count: int, work: Callable[[int, Callable[[], None]], Any], strike: Callable[[], Any]
) -> list[Any]:
    """Run ``work(number, hold)`` in ``count`` threads, and ``strike`` while all are in ``hold()``.

    Returns what each has returned or raised.
    """
    ready, go = threading.Barrier(count + 1), threading.Event()

    def hold() -> None:
        ready.wait(30)
        go.wait(30)

    def run(number: int) -> Any:
        try:
            return work(number, hold)
        except Exception as error:
            if not go.is_set():
                ready.abort()
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(run, number) for number in range(count)]
        try:
            ready.wait(30)
            strike()
        except threading.BrokenBarrierError:
            pass  # somebody has raised; that is among the results
        finally:
            go.set()
        return [future.result(120) for future in futures]

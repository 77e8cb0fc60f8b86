"""One driver connection to a node. What is in flight on it is timed, so that it can be cut."""

from __future__ import annotations

import array
import fcntl
import math
import os
import re
import socket
import struct
import termios
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from MySQLdb import Error, OperationalError
from MySQLdb.connections import Connection

from galera_router.compat import internals
from galera_router.conf import Options
from galera_router.exceptions import FailoverImpossible

from .errors import Verdict, verdict
from .packet import several_statements

if TYPE_CHECKING:
    from galera_router.cluster.node import Node

#: Called, without arguments, when a connection was made; the monitor puts ``ensure`` here.
on_new: Callable[[], None] = lambda: None  # noqa: E731

# struct tcp_info of Linux: last_data_sent, last_data_recv (ms ago), bytes_acked, bytes_received.
_TCP_INFO = struct.Struct("=44xI4xI64xQQ")
_MIN_RTT = struct.Struct("=148xI")  # of the same; in microseconds
_NO_RTT = 0xFFFFFFFF


_VERSION = re.compile(r"(\d+)\.(\d+)\.\d+-MariaDB")
_TOO_LARGE = 1153
#: Seconds that a read_timeout may be over too soon.
_EARLY = 0.05
#: Verbs whose state does not keep a statement of ours from our table: GET_LOCK, variables,
#: temporary tables.
_OUT_OF_THE_WAY = frozenset(
    {"SELECT", "DO", "SET", "CREATE", "INSERT", "REPLACE", "UPDATE", "DELETE", "WITH", "VALUES"}
)


def only_inside(version: str) -> bytes:
    """Returns what goes before a write, so that the server refuses it outside a transaction.

    The variable is for transactions to come, so it does not touch one that is open. From MariaDB
    11.1 on it has another name, and the old one gives a warning.

    Args:
        version: of the server, as it tells it on connecting.
    """
    found = _VERSION.search(version)
    new = found is not None and (int(found[1]), int(found[2])) >= (11, 1)
    return b"SET STATEMENT %s_read_only=1 FOR " % (b"transaction" if new else b"tx")


class Tally:
    """How many statements of the application were answered on one connection.

    Only the connection's thread counts: so no lock is needed.

    Attributes:
        reads: plain reads.
        others: all others.
    """

    __slots__ = ("others", "reads")

    def __init__(self) -> None:
        self.reads = self.others = 0


class NodeConnection:
    """A driver connection to a node.

    Args:
        node: whose server it leads to.
        connection: the driver's connection, open; its own thread creates the link.
        options: an object with the options of this connection as attributes; it is not kept
            alive. Without, and after its end, they are the cluster's.

    Attributes:
        state: what a new connection would be without; None if nothing.
        ticket: the number of the last packet; the cursor that sent it has the same one.
        unchecked: Django has asked for a health check; it is made before the next use.
        guarded: its session is as ``lost_update_guard`` wants it.
        before: the session variables that the open transaction has set, and their values before
            it, as they are written in a statement.
        locked: it holds LOCK TABLES.
        manual: its autocommit is off.
        busy: when the statement in flight was sent (monotonic seconds); 0 while none is.
        until: when the wait that the packet in flight begins with is to be ended (monotonic
            seconds); 0 without one, or when it is over.
        spare: the same, if another node can be the primary by then; 0: as ``until``.
        outstanding: the answer to :meth:`send` has not been taken.
        overdue: it was ended because that moment had come.
        timed_out: its last statement has taken longer than the driver's read_timeout allows.
        server: the server's own name for itself; empty if it was not asked.
        takes_packets: one packet may carry several statements.
        proxied: something stands around the driver's connection and makes its cursors.
        way: how the driver writes values into a statement for it: by its character set, and with
            or without backslashes.
        tally: where its statements are counted, once somebody wants that.
    """

    tally: Tally | None = None

    def __init__(self, node: Node, connection: Any, options: Any = None) -> None:
        self.node = node
        self.connection = connection
        self._options = None if options is None else weakref.ref(options)
        self.state: str | None = None
        self._states: dict[str, str] = {}
        self.ticket = 0
        self._largest: int | None = None
        self.unchecked = False
        self.guarded = False
        self.before: dict[bytes, bytes] = {}
        self.locked = False
        self.manual = False
        self.busy = 0.0
        self.until = self.spare = 0.0
        self.outstanding = False
        self.overdue = False
        self.timed_out = False
        self.server = ""
        self.born = time.monotonic()
        self.epoch: int | None = None
        self.thread_id: int = connection.thread_id()
        self.note_way()
        # A tracer, say, that is to see the statements.
        self.proxied = getattr(type(connection), "cursor", None) is not Connection.cursor
        # A descriptor of our own: the driver gives its own to no other thread, and another
        # thread must be able to end a read that waits on it.
        self._descriptor = os.dup(connection.fileno())
        self.takes_packets = several_statements(connection)
        self._poll = internals.poll_of(connection)
        self._lock = threading.Lock()
        with _lock:
            _links.add(self)
        on_new()

    @cached_property
    def only_inside(self) -> bytes:
        """See the function of the same name; for the server of this connection."""
        return only_inside(self.connection.get_server_info())

    @property
    def allows_marker(self) -> bool:
        """Returns True unless the application's state would be in the way of our own table.

        Where there are epochs, whoever holds a lock of the server's must be fenced too.
        """
        if self.epoch is None:
            return not self._states
        return self._states.keys() <= _OUT_OF_THE_WAY

    @property
    def begun_by_hand(self) -> bool:
        """Returns True if the application has begun a transaction by a statement of its own."""
        return "BEGIN" in self._states or "START" in self._states

    def note_way(self) -> None:
        """Something may have changed how values are written; no server is asked.

        The driver knows NO_BACKSLASH_ESCAPES from the status in the server's last answer.
        """
        driver = self.connection
        self.way: tuple[str, bytes] = driver.character_set_name(), driver.escape_string(b"\\'")

    def note_state(self, verb: str, *, kind: str = "") -> None:
        """A statement that begins with ``verb`` has left something that the next ones need.

        Args:
            verb: its first word.
            kind: what to remember it by, if that is not the verb.
        """
        self._states.setdefault(kind or verb, f"{verb} left state on its connection")
        self.state = next(iter(self._states.values()))

    def end_state(self, *verbs: str) -> None:
        """What statements of ``verbs`` have left is gone."""
        if self.state is None:
            return
        for verb in verbs:
            self._states.pop(verb, None)
        self.state = next(iter(self._states.values()), None)

    @property
    def options(self) -> Options:
        """The options that hold for this connection now."""
        own = None if self._options is None else self._options()
        return self.node.cluster.config.options if own is None else own

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Note that whatever the block does on the connection has to be answered."""
        self.busy = time.monotonic()
        try:
            yield
        finally:
            self.busy = 0.0

    def note_failure(self) -> None:
        """The statement in flight has failed: note if the driver has ended it."""
        limit = self.node.config.role_settings["OPTIONS"].get("read_timeout") or math.inf
        self.timed_out = time.monotonic() - self.busy > limit - _EARLY

    def query(self, statement: bytes) -> None:
        """Send a statement; raises the driver's errors. Its rows, if any, are to be fetched."""
        self.drain()
        self.busy = time.monotonic()
        try:
            self.connection.query(statement)
        finally:
            self.busy = 0.0

    def commit(self) -> None:
        """Make final what is open; raises the driver's errors."""
        self.query(b"COMMIT")

    def roll_back(self) -> None:
        """Undo what is open; raises the driver's errors.

        Where Galera has aborted the transaction, the answer to ROLLBACK is that error (seen:
        10.11.19). All is undone then, and the connection is as it was.
        """
        try:
            self.query(b"ROLLBACK")
        except Error as error:
            if verdict(error) is not Verdict.ROLLED_BACK:
                raise

    def send(self, statement: bytes) -> None:
        """Send a statement that has no rows, and go on; raises the driver's errors.

        Its answer is taken ahead of whatever is sent next. An error in it is raised then.
        """
        self.drain()
        self.connection.send_query(statement)
        self.outstanding = True

    def _take_answer(self) -> None:
        self.outstanding = False
        self.busy = time.monotonic()
        try:
            self.connection.read_query_result()
        finally:
            self.busy = 0.0

    def check_size(self, size: int) -> None:
        """Raise the server's error for a packet that it would not take.

        It would close the connection over it, and so would each other node: nothing is to be
        learned from sending it. The limit of a connection does not change.
        """
        if self._largest is None:
            self.query(b"SELECT @@max_allowed_packet")
            self._largest = int(self.rows()[0][0])
        if size >= self._largest:
            text = f"Got a packet bigger than 'max_allowed_packet' bytes ({self._largest})"
            raise OperationalError(_TOO_LARGE, text)

    def drain(self) -> None:
        """Let go of what a cursor has not read, such as the result sets of a CALL."""
        self.ticket += 1
        if self.outstanding:
            self._take_answer()
        while self.connection.next_result() == 0:
            self.connection.discard_result()

    def is_stale(self, *, ping: bool = False) -> bool:
        """Returns True if the connection, which is idle, is of no more use.

        Args:
            ping: ask the server too.
        """
        try:
            self.drain()
        except Error:
            return True
        return internals.is_stale(self.connection, self._poll, ping=ping)

    def rows(self) -> tuple[tuple[Any, ...], ...]:
        """The rows of the last :meth:`query`."""
        result = self.connection.store_result()
        found: tuple[tuple[Any, ...], ...] = result.fetch_row(0) if result is not None else ()
        return found

    def is_spared(self, now: float) -> bool:
        """Returns True if a wait for it as primary need not go on: there is another node now."""
        return 0 < self.spare <= now and self.node.cluster.another_primary(self.node)

    def cut(self) -> None:
        """End the connection, from any thread: whoever waits on it gets error 2013 at once."""
        with self._lock:
            if self._descriptor < 0:
                return
            try:
                with socket.socket(fileno=os.dup(self._descriptor)) as end:
                    end.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                return

    def silence(self) -> tuple[int, int] | None:
        """The bytes that have been taken and sent by the other end so far, ever.

        None if it has sent something since it was last written to: that is being worked on, no
        answer is waited for. None also where that is not known, as with a unix socket.
        """
        told = self._tcp_info(_TCP_INFO)
        if told is None:
            return None
        since_sent, since_received, taken, received = told
        return None if since_received < since_sent and self._unread() else (taken, received)

    def _unread(self) -> bool:
        """Returns True if something has arrived that the client has not taken.

        Where it has taken all, it may wait in vain: behind KILL QUERY between two statements of a
        packet the server drops the rest, and tells nobody (seen: 10.11.19).
        """
        left = array.array("i", [1])
        with self._lock:
            if self._descriptor >= 0:
                fcntl.ioctl(self._descriptor, termios.FIONREAD, left)
        return bool(left[0])

    def round_trip(self) -> float | None:
        """The shortest round trip of late, in seconds; the server itself takes no part in it.

        None where that is not known, as with a unix socket.
        """
        told = self._tcp_info(_MIN_RTT)
        return None if told is None or told[0] == _NO_RTT else told[0] / 1e6

    def _tcp_info(self, fields: struct.Struct) -> tuple[int, ...] | None:
        with self._lock:
            if self._descriptor < 0:
                return None
            try:
                with socket.socket(fileno=os.dup(self._descriptor)) as end:
                    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, fields.size)
            except (OSError, AttributeError):  # no TCP; no Linux
                return None
        return None if len(info) < fields.size else fields.unpack(info)

    def drop(self) -> None:
        """Let go of a lost connection, so that its server notices too.

        It is not closed: a cursor that the application is still reading from would fail in
        its own ``close()``. The driver's connection goes with the last cursor. And the server
        may have started anew: how far it had come is not known any more.
        """
        self.ticket += 1
        self.node.forget_place()
        self.cut()
        self.release()

    def close(self) -> None:
        """Close the connection; raises the driver's errors."""
        self.release()
        self.connection.close()

    def leave(self) -> None:
        """Close a connection that is not needed any more, unless a cursor still reads from it.

        It is then closed with that cursor.
        """
        try:
            self.drain()
            self.close()
        except Error:
            self.release()

    def release(self) -> None:
        """Give up the descriptor; the connection itself is not touched."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    __del__ = release


def written_otherwise(written: NodeConnection, link: NodeConnection) -> FailoverImpossible:
    """The error for what was written for ``written`` and is to be sent to ``link``.

    With another :attr:`NodeConnection.way` a value would be read as another one, or as SQL.
    """
    return FailoverImpossible(
        f"What was written for {written.node.name} is not sent to {link.node.name}, which would"
        " read its values otherwise: NO_BACKSLASH_ESCAPES in sql_mode, or the character set, is"
        f" another one there. Give all nodes of {link.node.cluster.alias!r} the same sql_mode and"
        " character set."
    )


_links: weakref.WeakSet[NodeConnection] = weakref.WeakSet()
_lock = threading.Lock()


def links() -> list[NodeConnection]:
    """The links of all threads."""
    with _lock:
        return list(_links)


def _after_fork() -> None:
    """The parent's links are not ours; only their descriptors were copied."""
    global _lock
    _lock = threading.Lock()
    for link in list(_links):
        link._lock = threading.Lock()
        link.release()
    _links.clear()


os.register_at_fork(after_in_child=_after_fork)

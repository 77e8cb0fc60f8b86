"""What one thread has to do with one cluster: the session behind the door.

A session belongs to the wrapper of a cluster's alias, and so to one thread or async context. It
lives as long as the wrapper. What lasts for one transaction only is in its ``Transaction``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import Any, TypeVar

import MySQLdb
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from galera_router.causality import scope
from galera_router.causality.scope import Need
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.compat import internals
from galera_router.conf import Options
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import ERRORS
from galera_router.connections.packet import Step
from galera_router.recovery import failover
from galera_router.recovery.failover import CatchingUp, Loss
from galera_router.recovery.marker import Marking

from . import opening, outside
from .answers import Answers
from .connection import Connection
from .cursor import Call, is_sending
from .following import following_of
from .lane import Lane, opening_lane
from .places import Place, habits_of
from .reading import Reader
from .statements import Statement
from .transaction import OnPrimary, OnSecondary, Pending, Transaction
from .writing import note_state

T = TypeVar("T")


class PinnedAlias(str):
    """The cluster's alias, as the router returns it; pickled it is a plain ``str``.

    Attributes:
        node: the alias of the node that the read was pinned to; None if it goes to the primary.
    """

    node: str | None

    def __new__(cls, alias: str, node: str | None) -> PinnedAlias:
        made = super().__new__(cls, alias)
        made.node = node
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class Session:
    """The state of one cluster's wrapper between and across transactions.

    Args:
        wrapper: the wrapper of the cluster's alias.
        cluster: its nodes.

    Attributes:
        transaction: the one that Django has open; None in autocommit mode.
        primary: the connection to the primary, kept between transactions.
        left: a lost one, on which a transaction may still be open.
        forgotten: state of the application that was lost with a connection; to be told.
        primary_only: a second run is on the primary from its start.
        promoted: the open transaction, else the last one, has come to the primary.
        can_run_again: whoever begins the next transaction runs it again if need be.
        place: the view or function that does so.
        state_before: what was set on the connection to the primary before the run at hand.
        busy: what is under way, or was when an exception came; None if nothing is.
    """

    def __init__(self, wrapper: BaseDatabaseWrapper, cluster: Cluster) -> None:
        self.wrapper = wrapper
        #: the options as attributes, overrides of this connection included
        self.options: Options = wrapper  # type: ignore[assignment]
        self.cluster = cluster
        self.transaction: Transaction | None = None
        self.primary: NodeConnection | None = None
        self.left: NodeConnection | None = None
        self.forgotten: str | None = None
        self._pinned: dict[Node | None, PinnedAlias] = {}
        self.reader = Reader(self)
        self.following = following_of(self)
        self.primary_only = False
        self.promoted = False
        self.can_run_again = False
        self.place: Place | None = None
        self.state_before: str | None = None
        self.habits = habits_of(cluster)
        self.lane: Lane | None = None  # the fast one, while it is open
        # Set first and cleared last: see _enter. On the fast lane the statement itself.
        self.busy: FrameType | tuple[Any, Statement, bytes] | None = None
        self._call: Call | None = None  # the statement that is being executed
        self._direct: NodeConnection | None = None  # statements of a connection's set-up
        self._announcing = False  # receivers of connection_created are called, no server is known
        #: They have asked a server: what they set is to be set on each new connection.
        self.receivers_ask = False
        self.answers = Answers()
        self._held: list[Callable[[], None]] = []  # what is to be told when it is done
        self._unreported: Exception | None = None
        self._handled: BaseException | None = None  # when the transaction began
        self._closed = False
        self.reset_options()

    # Options, as attributes of the wrapper so that ``connection.<option>`` overrides them.

    def reset_options(self) -> None:
        """Give the wrapper the options of the settings again."""
        vars(self.wrapper).update(_values(self.cluster.config.options))

    @property
    def database(self) -> str:
        """The name of the database that the cluster's alias stands for now."""
        name: str = self.wrapper.settings_dict["NAME"]
        return name

    def database_now(self) -> dict[str, Any]:
        """The database's name in place of the configured one, if it was changed since.

        The test runner does so, on the settings of the cluster's alias first: nothing may then be
        sent to the database that the settings once named.
        """
        name = self.database
        return {} if name == self.cluster.database else {"NAME": name}

    # --- what the door asks

    def open(self) -> None:
        """In the place of ``DatabaseWrapper.connect``: no server is spoken to."""
        self._closed = False
        self.forget_interrupted()
        self.transaction = None
        internals.open_lazily(self.wrapper, Connection(self))
        self._announce()

    def _announce(self) -> None:
        """Send ``connection_created``, when stock Django does: ahead of the first statement.

        Whoever puts an execute wrapper into each connection needs it then. If receivers ask a
        server, one is connected to, and they are called again for each connection to a primary.
        """
        before, self._direct = self._direct, None
        self._announcing, self.receivers_ask = True, False
        try:
            internals.announce(self.wrapper)
        finally:
            self._announcing, self._direct = False, before

    def _for_set_up(self) -> NodeConnection:
        """The connection that is being set up: a block of a receiver is one of that alone."""
        return self._direct or self._for_receivers()

    def _for_receivers(self) -> NodeConnection:
        self._announcing, self.receivers_ask = False, True
        connect = functools.partial(self._connect_any, None)
        self._direct = link = connect() if self.busy is not None else self._noted(connect)
        return link

    def run(self, call: Call) -> Any:
        """Send a statement of the application to where it belongs.

        Raises:
            MySQLdb.Error: the server's error.
            ClusterError: no node can serve, or the transaction cannot go on elsewhere.
        """
        if self._direct is not None or self._announcing:
            return call.send(self._for_set_up())
        self._enter(sys._getframe(), call)
        return self._run(call, None)

    def _run(self, call: Call, failed: Exception | None) -> Any:
        try:
            if call.statement.asks:
                self.answers.fill_in(call)
            transaction = self.transaction
            if transaction is not None:
                rows = transaction.execute(call, failed)
            else:
                rows = outside.execute(self, call)
        except ERRORS:
            self.answers.failed()
            self._leave()
            raise
        except UnicodeError:  # the answer is complete, only its text cannot be read
            if call.statement.readable:
                self._leave()
            raise
        self._leave()
        return rows

    # --- the fast lane; see :mod:`galera_router.transactions.lane`

    def leave_lane(self, cursor: Any, statement: Statement, sql: bytes) -> None:
        """A statement is about to be sent: until its answer is noted, nothing is as usual."""
        lane, self.lane = self.lane, None
        self.busy = cursor, statement, sql
        if lane is not None:
            lane.transaction.touched = True

    def enter_lane(self, lane: Lane) -> None:
        """A read was answered and noted; ``lane`` is open for the next one."""
        self.answers.rows = -1
        self.busy = None
        self.lane = lane
        if self._held:
            self._tell()

    def after_lane(self, call: Call, lane: Lane, failed: Exception) -> Any:
        """A read has failed on the fast lane: go on with it on the long way."""
        self._call = call
        self.busy = sys._getframe()
        if not lane.begins:
            return self._run(call, failed)
        self.reader.lose(lane.link, failed, certain=False)  # nothing was read, nothing is open
        return self._run(call, None)

    def any_link(self, statement: Statement | None) -> NodeConnection:
        """An open connection, of any node if possible; how values are written is the same on all.

        Args:
            statement: what it is for; None for nothing that is sent.
        """
        if self._direct is not None or self._announcing:
            return self._for_set_up()
        primary, transaction = self.primary, self.transaction
        state = transaction.state if transaction is not None else None
        if primary is not None and (type(state) is OnPrimary or primary.state is not None):
            return primary
        if type(state) is OnSecondary:
            return state.link
        found = self.reader.kept() or primary
        if found is not None:
            return found
        return self._noted(lambda: self._connect_any(statement))

    def _connect_any(self, statement: Statement | None) -> NodeConnection:
        transaction = self.transaction
        if transaction is not None and transaction.broken is not None:
            transaction.refuse(statement)
        readable = statement is None or statement.readable
        if readable and self.reads_elsewhere() and self.reader.pinned() is not None:
            return self.reader.connect()
        return failover.connect_primary(self)

    def is_open(self, link: NodeConnection) -> bool:
        """Returns True if ``link`` may be spoken through."""
        if link is self._direct:
            return True
        if self.primary is not None and self.primary.state is not None:
            return link is self.primary
        return link is self.primary or link is self.reader.kept(link.node)

    def commit(self) -> None:
        """Make the transaction final.

        Raises:
            CommitOutcomeUnknown: the connection was lost before the answer came.
            Exception: the driver's error, where the server refused; it has rolled back.
        """
        if self._direct is not None or self._announcing:
            self._for_set_up().query(b"COMMIT")
            return
        transaction = self.transaction
        if transaction is not None and self._is_blank(transaction):
            transaction.begin_anew()
            self.answers.rows = 0
            return
        self._enter(sys._getframe())
        try:
            self._commit()
        except ERRORS:
            self._leave()
            raise
        self._leave()

    def _commit(self) -> None:
        transaction = self.transaction
        if transaction is None:
            self._end_by_hand(NodeConnection.commit)
            return
        transaction.commit()
        self.answers.rows = 0
        self.transaction = Transaction(self)

    def rollback(self) -> None:
        """Undo the transaction; a lost connection has done so by itself."""
        if self._direct is not None or self._announcing:
            self._for_set_up().query(b"ROLLBACK")
            return
        self._noted(self._rollback)

    def _rollback(self) -> None:
        transaction = self.transaction
        if transaction is None:
            self._end_by_hand(NodeConnection.roll_back)
            return
        try:
            transaction.rollback()
        finally:
            self.answers.ended()
            self._unreported = transaction.broken if transaction.swallowed else None
            self.transaction = Transaction(self)

    def _end_by_hand(self, end: Callable[[NodeConnection], None]) -> None:
        """A transaction that the application has begun by a statement of its own."""
        if self.primary is not None and self.primary.state is not None:
            end(self.primary)
            self.primary.end_state("BEGIN", "START")

    def set_autocommit(self, flag: bool) -> None:
        """Turn autocommit on or off; the server's own stays on, transactions are explicit."""
        if self._direct is not None or self._announcing:
            self._for_set_up().connection.autocommit(flag)
            return
        if self.busy is not None:
            self.forget_interrupted()
        handled = self._handled
        if flag and self.transaction is not None:
            self._handled = None
            if not self._is_blank(self.transaction):
                self._end_for_good(self.transaction)
            self.transaction = None
        elif not flag and self.transaction is None:
            self.answers.rows = 0  # SET autocommit = 0, with stock Django
            self.transaction = Transaction(self, first=True)
            self._handled = sys.exc_info()[1]
        if self._unreported is not None:
            self._report(flag, handled)

    def _is_blank(self, transaction: Transaction) -> bool:
        """Returns True if nothing is to be ended: no server has heard of the transaction."""
        primary = self.primary
        return (
            type(transaction.state) is Pending
            and not transaction.touched
            and transaction.broken is None
            and self.busy is None
            and (primary is None or not (primary.manual or primary.state))
        )

    def _end_for_good(self, transaction: Transaction) -> None:
        """What is open is committed when autocommit is turned on, as the server does it."""
        by_hand = self.primary is not None and self.primary.begun_by_hand
        if by_hand or not transaction.is_untouched:
            self.commit()

    def _report(self, flag: bool, handled: BaseException | None) -> None:
        """Raise the error of a block that Django has ended as if all were well.

        Args:
            flag: autocommit as it is now.
            handled: what was being handled when the block began; that does not end the block.
        """
        error, self._unreported = self._unreported, None
        ends_it = sys.exc_info()[1]
        if error is not None and (ends_it is handled or _says_nothing(ends_it)):
            internals.note_autocommit(self.wrapper, flag)
            raise error

    def ping(self) -> None:
        """Have the connection to the primary checked when it is next used, if it is.

        Raises:
            MySQLdb.InterfaceError: it has been closed.
        """
        if self._closed:
            raise MySQLdb.InterfaceError(0, "closed")
        self.answers.ended()
        if self.primary is not None:
            self.primary.unchecked = True

    def close(self) -> None:
        """Close the connection to the primary and forget what was set on it."""
        self._closed = True
        self.lane = None
        self.forget_interrupted()
        link, self.primary = self.primary, None
        if self.transaction is not None:
            self.transaction.abandon(inside=self.wrapper.in_atomic_block)
        self.reader.unpin()
        self.reset_options()
        self.answers = Answers()
        self.forgotten = None
        if link is not None:
            link.close()

    def direct_link(self) -> NodeConnection:
        """The connection to the primary, for what only the driver's can answer."""
        if self._direct is not None or self._announcing:
            return self._for_set_up()
        return self._noted(self._for_direct_use)

    def note_left(self, link: NodeConnection, left: Statement | str) -> None:
        """Note what was done on the driver's connection; see :mod:`.direct`.

        What sets a connection up does so on each one, and is no state of a single one.
        """
        self.lane = None
        if link is self._direct:
            return
        if isinstance(left, str):
            link.note_state(left)
        else:
            note_state(left, link)

    def _for_direct_use(self) -> NodeConnection:
        self.following.note_write()
        if self.transaction is None:
            link = failover.connect_primary(self)
            self.following.note_commit()
            return link
        return self.transaction.for_direct_use()

    @contextmanager
    def question(self, own: NodeConnection | None = None) -> Iterator[Any]:
        """A cursor to ask any server with, outside the transaction and without a promotion.

        Args:
            own: a connection of the node that the question is about, if there is one.
        """
        if self._direct is not None or self._announcing:
            link = self._for_set_up()
        elif own is not None and not own.is_stale():
            link = own
        elif self.primary is None and self.reads_elsewhere() and self.reader.pinned():
            link = self.reader.connect()
        else:
            link = self.primary or failover.connect_primary(self)
        quietly = internals.uncounted(self.wrapper)
        with self.directly(link), quietly, link.in_flight(), self.wrapper.cursor() as cursor:
            yield cursor

    # --- interruptions

    def _enter(self, frame: FrameType, call: Call | None = None) -> None:
        """Begin something whose effect is not known before its end.

        From here to :meth:`_leave` an exception of any kind (a signal handler's, Ctrl-C, a time
        limit) may come between what a server did and what is noted of it here. So the note that
        something is under way is made first and taken back last; whoever finds it gives up the
        connections.
        """
        if self.busy is not None:
            self.forget_interrupted()
            if self.busy is not None:
                raise MySQLdb.InterfaceError(
                    0, "A statement was sent from within another one of the same connection."
                )
        self.lane = None
        self._call = call
        self.busy = frame

    def _noted(self, act: Callable[[], T]) -> T:
        """Do ``act`` between :meth:`_enter` and :meth:`_leave`."""
        self._enter(sys._getframe())
        try:
            done = act()
        except ERRORS:
            self._leave()
            raise
        self._leave()
        return done

    def _leave(self) -> None:
        self.busy = None
        self._call = None
        if self._held:
            self._tell()

    def hold(self, tell: Callable[[], None]) -> bool:
        """Keep what is to be told for later; returns True if something is under way.

        A handler or receiver that uses the database would come in the middle of it.
        """
        if self.busy is None:
            return False
        self._held.append(tell)
        return True

    def _tell(self) -> None:
        held, self._held = self._held, []
        for tell in held:
            tell()

    def forget_interrupted(self) -> None:
        """Nothing is known of what was interrupted: its connections are of no more use.

        To be called ahead of a run of a function or request: what was interrupted before it, and
        may be there, is no reason against running it again.
        """
        if self.busy is None or _is_running(self.busy):
            return
        call, self._call = self._call, None
        if isinstance(self.busy, tuple):
            cursor, statement, sql = self.busy
            call = Call(cursor, statement, sql, cursor._query_as_driver)
        self.lane = None
        self.reader.drop_all()
        self.lose_primary()
        if self.transaction is not None:
            self.transaction.interrupted(call)
        elif call is not None and (call.writes or not call.statement.readable):
            self.following.note_write()
            self.following.note_commit()  # it may be there
        self.busy = None

    # --- connections

    @contextmanager
    def directly(self, link: NodeConnection) -> Iterator[None]:
        """Let statements pass to ``link`` as they are: a connection is being set up."""
        self.lane = None
        before, self._direct = self._direct, link
        try:
            yield
        finally:
            self._direct = before

    def to_primary(self, node: Node, waits: CatchingUp | None = None) -> NodeConnection:
        """The connection to ``node`` as primary; see :func:`opening.to_primary`."""
        return opening.to_primary(self, node, waits or CatchingUp(self))

    def primary_at_once(self) -> NodeConnection | None:
        """The connection to the primary, if nothing is to be done; see :func:`opening.at_once`."""
        return opening.at_once(self)

    def opening_steps(self, link: NodeConnection) -> list[Step]:
        """What begins a transaction on the primary."""
        return [*opening.isolation(self, link), *opening.begin(link)]

    def isolation_steps(self, link: NodeConnection) -> list[Step]:
        """What ``lost_update_guard`` wants ahead of a transaction."""
        return opening.isolation(self, link)

    def transaction_ended(self, link: NodeConnection) -> None:
        """The transaction that was open on the primary has ended."""
        opening.ended(self, link)

    def lose_primary(self, *, idle: bool = False, told: bool = False) -> None:
        """The connection to the primary is of no more use.

        What the application has set on it has gone with it; its next statement is told so.

        Args:
            idle: nothing was under way on it.
            told: the caller sees to it that the application is told.
        """
        link, self.primary = self.primary, None
        if link is not None:
            if link.state is not None and not told:
                self.forgotten = link.state
            self.left = None if idle else link
            link.drop()
            self.following.note_loss(link.node)

    @property
    def has_new_state(self) -> bool:
        """Returns True if something is set on the connection, and only since the run has begun."""
        return bool(self.primary and self.primary.state and self.state_before is None)

    def undo_state(self) -> None:
        """Give up the connection on which the run that is undone has set something.

        The next one sets it again: a lock that is taken twice would have to be released twice.
        """
        link, self.primary = self.primary, None
        if link is None:
            return
        try:
            link.query(b"DO RELEASE_ALL_LOCKS()")  # the server may be slow to see it closed
            link.leave()
        except ERRORS:
            link.drop()

    def leave_all(self) -> list[NodeConnection]:
        """Forget all connections and the transaction, as they are another process's."""
        found = [link for link in (self.primary, *self.reader.leave_all()) if link is not None]
        self.primary = self.left = None
        self.busy = self._call = self.lane = None
        if self.transaction is not None:
            self.transaction = Transaction(self)
        return found

    @property
    def snapshot(self) -> NodeConnection | None:
        """The secondary's connection on which the open transaction has its snapshot."""
        state = self.transaction.state if self.transaction is not None else None
        return state.link if type(state) is OnSecondary else None

    @property
    def transaction_begun(self) -> bool:
        """Returns True if the primary has the transaction open."""
        return self.transaction is not None and self.transaction.is_on_primary

    @property
    def marking(self) -> Marking:
        """How the open transaction stands to its marker."""
        return self.transaction.marking if self.transaction is not None else Marking()

    # --- where to read

    @property
    def mode(self) -> str:
        """Where the running block wants its reads from; see ``galera_router.reads``."""
        found = scope.mode(self.cluster.alias) if scope.current().modes else None
        return found or self.options.reads

    def reads_elsewhere(self) -> bool:
        """Returns True if a read may now go to a secondary."""
        if self.primary_only or (self.primary is not None and self.primary.state is not None):
            return False
        rules, following = scope.current(), self.following
        if rules.seen is not following.shared:
            following.shared = rules.seen
            if following.seen is not None:
                following.join(rules.seen)
        mode = (scope.mode(self.cluster.alias) if rules.modes else None) or self.options.reads
        if mode == "primary":
            if self.cluster.rested and not self.transaction_begun:
                following.doubt_primary()
            return False
        if self.forgotten is not None:
            return False
        if self.transaction is not None:
            return self.transaction.reads_elsewhere(mode)
        wrote_in = following.wrote_in
        return wrote_in is None or mode == "any" or wrote_in is not rules.writes

    def pin(self) -> PinnedAlias:
        """The cluster's alias, naming the node that a read would now go to."""
        if self.lane is not None and self.lane.is_open():
            return self.lane.answer
        node = self.reader.pinned() if self.reads_elsewhere() else None
        answer, transaction = self.pinned(node), self.transaction
        if node is not None and transaction is not None and self._is_blank(transaction):
            self.lane = opening_lane(transaction, node, answer)
        return answer

    def pinned(self, node: Node | None) -> PinnedAlias:
        """The cluster's alias, naming ``node``; None: the primary."""
        try:
            return self._pinned[node]
        except KeyError:
            alias = PinnedAlias(self.cluster.alias, node.alias if node is not None else None)
            return self._pinned.setdefault(node, alias)

    def unmet(self, node: Node) -> list[Need]:
        """What reads must include and ``node`` is not known to have."""
        needs = scope.needs(self.cluster.alias)
        if not needs or not self.options.wsrep_sync_after_write:
            return []
        return [need for need in needs if not need.is_met(node)]

    # --- what is told

    def tell(self, loss: Loss | None, node: Node, replayed: int) -> None:
        """Report that ``node`` has taken over, when all is done, if another node was lost."""
        if loss is not None and loss.node is not node:
            loss.tell(self.cluster.alias, node, replayed)

    def new_request(self) -> None:
        """A request or a task begins or has ended: its reads may go to any node again."""
        if self.busy is not None:
            self.forget_interrupted()
        if self.transaction is None:
            self.reader.pin, self.following.wrote_in = None, None
        else:
            self.reader.unpin()
        following = self.following
        following.seen = None
        following.writes_before = following.writes
        if following.turns:
            following.turns.clear()
        self.primary_only = False
        self.can_run_again = False

    @contextmanager
    def on_primary(self, wanted: bool = True) -> Iterator[None]:
        """Keep everything on the primary, as a second run does."""
        before, self.primary_only = self.primary_only, wanted
        try:
            yield
        finally:
            self.primary_only = before


@functools.lru_cache(maxsize=16)
def _values(options: Options) -> dict[str, Any]:
    """The options by their names."""
    return asdict(options)


def _says_nothing(error: BaseException | None) -> bool:
    """Returns True if a block ends as if all were well, or only tells that it is broken."""
    return error is None or isinstance(error, TransactionManagementError)


def _is_running(busy: FrameType | tuple[Any, Statement, bytes]) -> bool:
    """Returns True if the frame, or the statement's on the fast lane, is on this thread's stack."""
    found: FrameType | None = sys._getframe()
    while found is not None and found is not busy:
        if isinstance(busy, tuple) and is_sending(found, busy[0]):
            return True
        found = found.f_back
    return found is not None

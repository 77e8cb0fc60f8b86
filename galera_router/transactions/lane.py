"""The fast lane: reads of an open transaction, as long as all is usual.

A lane is opened when the router has pinned a secondary for a transaction that has done nothing
yet, or when a read has gone the long way. What decided the way is noted here; a read is sent at
once while all of that still holds. Whatever goes the long way closes the lane first, and so does
each statement while it is under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galera_router.causality import scope
from galera_router.connections.begin import BEGIN_READ_ONLY
from galera_router.connections.connection import NodeConnection
from galera_router.connections.packet import Packet, Step
from galera_router.recovery.journal import BYTES_KEPT, ROWS_KEPT

from . import waiting
from .statements import CACHED_LENGTH, CACHED_STATEMENTS, Statement, classify

if TYPE_CHECKING:
    from galera_router.cluster.node import Node

    from .cursor import Call
    from .node_alias import NodeAlias
    from .session import PinnedAlias
    from .transaction import State, Transaction

#: What has been classified as a read whose answer depends on the data alone, by its template.
_reads: dict[str, Statement] = {}


def known(template: Any) -> Statement:
    """What ``template`` is; reads are remembered."""
    if type(template) is str:
        try:
            return _reads[template]
        except KeyError:  # or another thread has just forgotten it
            pass
    statement = classify(template)
    if type(template) is str and statement.repeatable and _is_one(template):
        _reads[template] = statement
        if len(_reads) > CACHED_STATEMENTS:
            _forget_some()
    return statement


def _is_one(template: str) -> bool:
    """Returns True if it is short, and has one answer: a comment behind ``;`` may have its own."""
    return len(template) < CACHED_LENGTH and ";" not in template


def _forget_some() -> None:
    for template in list(_reads)[: CACHED_STATEMENTS // 10]:
        _reads.pop(template, None)


class Lane:
    """What holds of an open transaction, and what was looked at to know that.

    Args:
        transaction: open on a server.
        link: its connection, on which nothing is left to be read.
        kept: where that is kept if it is a secondary's; None for the primary's.
        answer: the router's, as long as the lane is open.
        record: where the writes of the running block are counted.
        begins: the server has not opened the transaction: the next read does.
    """

    __slots__ = (
        "answer", "begins", "kept", "link", "optimistic", "reads", "record", "rules", "session",
        "state", "sync", "ticket", "transaction", "writes",
    )  # fmt: skip

    def __init__(
        self,
        transaction: Transaction,
        link: NodeConnection,
        kept: NodeAlias | None,
        answer: PinnedAlias,
        record: dict[str, int] | None,
        *,
        begins: bool = False,
    ) -> None:
        self.session = session = transaction.session
        self.transaction = transaction
        self.state: State = transaction.state
        self.link, self.kept, self.ticket = link, kept, link.ticket
        self.rules, self.record = scope.raw(), record
        self.writes = session.following.followed
        options = session.options
        self.reads, self.sync = options.reads, options.wsrep_sync_after_write
        self.optimistic = options.optimistic_transactions
        self.answer, self.begins = answer, begins

    def is_stale(self) -> bool:
        """Returns True if the connection, which has been idle, is of no more use."""
        stale = self.link.is_stale()
        self.ticket = self.link.ticket  # nothing was left to be read
        return stale

    def packet(self) -> Packet:
        """What opens the snapshot ahead of the first read."""
        return Packet(self.link.connection, [Step(BEGIN_READ_ONLY, self._begun)])

    def _begun(self, rows: int) -> None:
        """The server has opened the snapshot."""
        self.begins = False
        self.transaction.to_snapshot(self.link, (), self.writes)  # with needs it is no lane
        self.session.reader.sync_until = 0.0
        self.state = self.transaction.state

    def note(self, cursor: Any, statement: Statement, sql: bytes) -> None:
        """A read was answered."""
        journal = self.transaction.journal
        journal.count += 1
        journal.rows += cursor.rowcount
        rows = cursor._rows if cursor.gives_tuples else cursor.tuples()
        answer = rows, cursor.rowcount, cursor.lastrowid, cursor.description
        journal.fresh.append((sql, *answer, statement.ordered, statement.plain))
        width = 0
        for column in cursor.description:
            width += column[2] or 0
        journal.size += width * cursor.rowcount
        if journal.rows > ROWS_KEPT or journal.size > BYTES_KEPT:
            journal.bound()
        self.session.enter_lane(self)

    def read(self, template: Any) -> Statement | None:
        """What ``template`` is if it may be sent at once; else None."""
        try:
            statement = _reads[template] if type(template) is str else None
        except KeyError:
            return None
        return statement if statement is not None and self.is_open() else None

    def is_open(self) -> bool:
        """Returns True if all still is as it was when the lane was opened.

        What is changed by a statement need not be looked at: that closes the lane.
        """
        session, transaction, record = self.session, self.transaction, self.record
        options = session.options
        link = session.primary if self.kept is None else self.kept.link
        return (
            scope.raw() is self.rules
            and session.transaction is transaction
            and transaction.state is self.state
            and transaction.broken is None
            and link is self.link
            and link.ticket == self.ticket
            and not session.primary_only
            and options.reads == self.reads
            and options.wsrep_sync_after_write == self.sync
            and options.optimistic_transactions == self.optimistic
            and options.failover_enable
            and transaction.journal.count < options.failover_history_limit
            and (not record or record.get(session.cluster.alias, 0) <= self.writes)
        )


def opening_lane(transaction: Transaction, node: Node, answer: PinnedAlias) -> Lane | None:
    """The lane for the first read, on a secondary that is connected to; None if unusual."""
    session = transaction.session
    kept = session.reader.alias(node)
    link = kept.link
    if link is None or link.proxied or not kept.is_current() or not link.takes_packets:
        return None
    rules = scope.current()
    if rules.modes or not waiting.is_unconcerned(session, link, rules):
        return None
    return Lane(transaction, link, kept, answer, rules.writes, begins=True)


def open_lane(
    transaction: Transaction, call: Call, link: NodeConnection, kept: NodeAlias | None = None
) -> Lane | None:
    """The lane for the reads to come, after ``call`` was answered on ``link``; None if unusual."""
    session, journal, rules = transaction.session, transaction.journal, scope.current()
    unusual = link.proxied or rules.modes or not call.buffered or journal.full or journal.obstacle
    if b";" in call.sql:  # a comment behind it may have an answer of its own
        return None
    if unusual or transaction.uncertain or transaction.marking.due() is not None:
        return None
    answer = session.pinned(link.node if kept is not None else None)
    return Lane(transaction, link, kept, answer, rules.writes)

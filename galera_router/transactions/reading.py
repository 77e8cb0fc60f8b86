"""Reads on a secondary: which node, on what connection, and what must go before them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from galera_router.causality import scope
from galera_router.cluster.node import Node
from galera_router.compat import internals
from galera_router.connections.begin import BEGIN_READ_ONLY
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import ERRORS, Verdict, errno, is_lost, verdict
from galera_router.connections.packet import Step
from galera_router.exceptions import ClusterError, FailoverImpossible, ReplayMismatch
from galera_router.recovery import rebuilding
from galera_router.recovery.failover import Loss, Patience, candidates

from . import waiting, writing
from .lane import open_lane
from .node_alias import NodeAlias, attach_node
from .waiting import Wait

if TYPE_CHECKING:
    from .cursor import Call
    from .session import Session
    from .transaction import Transaction

logger = logging.getLogger("galera_router")

#: Seconds after which a thread that has no requests chooses anew where to read.
PINNED = 10.0
#: A secondary does not know a table or column yet, or has changed it since the snapshot began:
#: ER_BAD_FIELD, ER_NO_SUCH_TABLE, ER_SP_DOES_NOT_EXIST, ER_TABLE_DEF_CHANGED.
_OTHER_SCHEMA = frozenset({1054, 1146, 1305, 1412})


class Reader:
    """Where one session reads.

    Args:
        session: whose.

    Attributes:
        pin: the node to read from.
        lagging: nodes whose applier was waited for in vain by the statement at hand.
        sync_until: when the waits of the statement at hand end (monotonic seconds).
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._aliases: dict[Node, NodeAlias] = {}
        self.pin: Node | None = None
        self._pinned_until = 0.0
        self._failures = 0  # the pin's failures when it was chosen
        self.lagging: set[Node] = set()
        self.sync_until = 0.0

    # --- which node

    def pinned(self) -> Node | None:
        """The node to read from, chosen when first asked for; None if none may be used."""
        snapshot = self._session.snapshot
        if snapshot is not None:
            return snapshot.node
        pin = self.pin
        if pin is None or pin.failures != self._failures or not self._is_still_good(pin):
            self._pinned_until = time.monotonic() + PINNED
            self.pin = self._choose()
        return self.pin

    def _is_still_good(self, pin: Node) -> bool:
        transaction = self._session.transaction
        if (transaction is None or transaction.is_untouched) and self._is_over(pin):
            return False
        ours, theirs = self._session.wrapper, self.alias(pin).wrapper
        if ours.settings_dict["NAME"] != theirs.settings_dict["NAME"] or internals.testing():
            return self._may_read(pin)
        return True

    def _is_over(self, pin: Node) -> bool:
        """Returns True if it is time for another one, or if the request reads elsewhere."""
        shared, cluster = self._session.following.shared, self._session.cluster
        others = shared.get(cluster.alias) if shared else None
        if others not in (None, pin) and cluster.reader(self.lagging, others) is others:
            return True
        return time.monotonic() > self._pinned_until

    def _choose(self) -> Node | None:
        cluster = self._session.cluster
        shared = self._session.following.shared
        node = cluster.reader(self.lagging, shared.get(cluster.alias) if shared else None)
        if node is None and self.lagging:
            self.lagging.clear()
            node = cluster.reader()
        if node is None or not self._may_read(node):
            return None
        self._failures = node.failures
        return node

    def _may_read(self, node: Node) -> bool:
        """Not where a test forbids the alias, nor while only one alias is on a test database."""
        session, wrapper = self._session, self.alias(node).wrapper
        if internals.testing() and internals.forbidden_to_test(wrapper):
            return False
        expected: str = session.wrapper.settings_dict["NAME"]
        if expected == session.cluster.database:
            expected = node.config.role_settings["NAME"]
        return bool(wrapper.settings_dict["NAME"] == expected)

    def unpin(self) -> None:
        """Let reads outside a transaction choose their node anew."""
        transaction = self._session.transaction
        if transaction is None or transaction.is_untouched:
            self.pin = None
            self._session.following.wrote_in = None

    # --- on what connection

    def alias(self, node: Node) -> NodeAlias:
        """The node's own alias in this thread."""
        try:
            return self._aliases[node]
        except KeyError:
            wrapper: BaseDatabaseWrapper = connections[node.alias]
            return self._aliases.setdefault(node, attach_node(wrapper, node))

    def connect(self) -> NodeConnection:
        """A connection to read from, to any node; nothing is waited for."""
        for node in candidates(self._session, self.pinned, electable=False):
            if (link := self.try_node(node)) is not None:
                return link
        raise AssertionError("the candidates end with an error")

    def try_node(self, node: Node) -> NodeConnection | None:
        """The connection to ``node``; None if it cannot be had, which is noted."""
        try:
            return self.alias(node).connect()
        except ERRORS as error:
            if isinstance(error, ClusterError):
                raise
            self.note_down(node, error)
            return None

    def kept(self, node: Node | None = None) -> NodeConnection | None:
        """The open connection to ``node``, or to the pinned node; None if there is none."""
        node = node or self.pin
        found = self._aliases.get(node) if node is not None else None
        return found.link if found is not None else None

    def drop(self, link: NodeConnection) -> None:
        """Let go of a lost connection."""
        alias = self.alias(link.node)
        if alias.link is link:
            alias.forget()
        else:
            link.drop()

    def drop_all(self) -> None:
        """Let go of all connections to read from."""
        for alias in self._aliases.values():
            alias.forget()

    def leave_all(self) -> list[NodeConnection]:
        """Forget all connections without closing them; returns them."""
        found = [alias.link for alias in self._aliases.values() if alias.link is not None]
        for alias in self._aliases.values():
            alias.link = None
        return found

    def note_down(self, node: Node, error: Exception) -> None:
        """``node`` cannot be read from."""
        self._session.cluster.mark_down(node, error)
        self.pin = None

    def in_time(self) -> None:
        """A read has been answered: the next one may wait as long again."""
        self.sync_until = 0.0
        if self.lagging:
            self.lagging.clear()

    def lose(self, link: NodeConnection, error: Exception, *, certain: bool) -> None:
        """A connection was lost: the next read connects anew, or elsewhere.

        Args:
            link: the lost connection.
            error: how it was noticed.
            certain: the node itself is at fault, not just a connection that was kept.
        """
        self.drop(link)
        if certain or verdict(error) is Verdict.OUT:
            self.note_down(link.node, error)


# --- outside a transaction ----------------------------------------------------------------


class NeedsPrimary(Exception):
    """A statement that looked like a read for a secondary has to go to the primary.

    Args:
        writes: it is known to write.
    """

    def __init__(self, *, writes: bool) -> None:
        super().__init__()
        self.writes = writes


def outside(session: Session, call: Call, pinned: Node) -> Any:
    """Run a read on the node ``pinned``, in a transaction of its own.

    Raises:
        NeedsPrimary: it has done nothing on the secondary.
    """
    loss: Loss | None = None
    patience: Patience | None = None
    first = _wait_for(session, pinned)
    while True:
        link, wait = first or _reader(session)
        first = None
        try:
            rows = call.send(link, wait.steps, until=wait.until)
        except ERRORS as error:
            if verdict(error) is Verdict.READ_ONLY or errno(error) in _OTHER_SCHEMA:
                raise NeedsPrimary(writes=verdict(error) is Verdict.READ_ONLY) from None
            patience = patience or Patience(session)
            if _waited_in_vain(session, link, wait, error, patience):
                continue
            _outside_error(session, link, error, patience)
            loss = loss or Loss(link.node, error)
        else:
            session.answers.note(call, None)
            if session.following.seen is not link.node:
                session.following.note_read(link.node, unsynced=wait.unsynced, routed=True)
            session.reader.in_time()
            if not link.node.up:
                session.cluster.mark_up(link.node)
            if loss is not None:
                session.tell(loss, link.node, 0)
            return rows


def _reader(session: Session) -> tuple[NodeConnection, Wait]:
    """A connection to read from outside a transaction, and what must go before the read."""
    for node in candidates(session, session.reader.pinned, electable=False):
        found = _wait_for(session, node)
        if found is not None:
            return found
    raise AssertionError("the candidates end with an error")


def _wait_for(session: Session, node: Node) -> tuple[NodeConnection, Wait] | None:
    """The same of ``node``; None if it is not to be read from now."""
    link = session.reader.try_node(node)
    if link is None:
        return None
    wait = waiting.before(session, link)
    if wait is None:
        waiting.leave_out(session, node)
        return None
    return link, wait


def _outside_error(
    session: Session, link: NodeConnection, error: Exception, patience: Patience
) -> None:
    """Raise ``error`` unless the read may be tried once more, elsewhere if need be."""
    if not is_lost(error):
        raise error
    session.reader.lose(link, error, certain=patience.blames(link))
    if not session.options.failover_enable:
        raise error
    patience.spend(link, error)


def _waited_in_vain(
    session: Session, link: NodeConnection, wait: Wait, error: Exception, patience: Patience
) -> bool:
    """Returns True if ``error`` ended a wait of ours: the read is sent elsewhere, or again."""
    if _is_asked_again(session, link, wait, error):
        return True
    if not waiting.is_late(link, wait, error):
        return False
    waiting.pass_by(session, link)
    patience.wait(error)
    return True


def _is_asked_again(session: Session, link: NodeConnection, wait: Wait, error: Exception) -> bool:
    """Returns True if ``error`` has told something by which the node is now asked otherwise."""
    return (
        waiting.is_another(session, link, error)
        or waiting.note_missing(link, wait, error)
        or waiting.note_void(session, wait, error)
    )


# --- in the snapshot ----------------------------------------------------------------------


def in_snapshot(transaction: Transaction, call: Call, failed: Exception | None = None) -> Any:
    """Run a read in the transaction's snapshot; move that if its node is lost.

    Args:
        transaction: whose.
        call: the read.
        failed: how it has failed, if it was sent already.
    """
    session = transaction.session
    loss: Loss | None = None
    patience: Patience | None = None
    while True:
        link, wait = _snapshot(transaction)
        try:
            rows = _sent(transaction, call, link, wait, failed)
        except ERRORS as error:
            if verdict(error) is Verdict.READ_ONLY:
                transaction.marking.wanted = call.writes = True
                return writing.execute(transaction, call)
            if errno(error) in _OTHER_SCHEMA:
                return writing.execute(transaction, call)
            failed = None
            patience = patience or Patience(session)
            if wait.steps and _waited_in_vain(session, link, wait, error, patience):
                continue
            _snapshot_error(transaction, call, link, error, patience)
            loss = loss or Loss(link.node, error)
        else:
            session.answers.note(call, None)
            if loss is not None:
                session.tell(loss, link.node, len(transaction.journal))
            transaction.journal.append_read(call.entry(), session.options.failover_history_limit)
            session.lane = open_lane(transaction, call, link, session.reader.alias(link.node))
            return rows


def _sent(
    transaction: Transaction,
    call: Call,
    link: NodeConnection,
    wait: Wait,
    failed: Exception | None,
) -> Any:
    if failed is not None:
        raise failed
    return call.send(link, _beginning(transaction, link, wait), until=wait.until)


_OPEN = Wait(over=True)


def _beginning(transaction: Transaction, link: NodeConnection, wait: Wait) -> list[Step]:
    """The steps of ``wait``, of which the last is the BEGIN."""
    if not wait.steps:
        return []
    *steps, last = wait.steps

    def done(rows: int) -> None:
        last.done(rows)
        wait.over = True
        _begun(transaction, link, wait)

    return [*steps, Step(last.statement, done)]


def _begun(transaction: Transaction, link: NodeConnection, wait: Wait) -> None:
    """The server has opened the snapshot."""
    session = transaction.session
    needs, writes = scope.needs(session.cluster.alias), session.following.followed
    transaction.to_snapshot(link, needs, writes, unsynced=wait.unsynced)
    session.reader.in_time()
    if not link.node.up:
        session.cluster.mark_up(link.node)


def _snapshot(transaction: Transaction) -> tuple[NodeConnection, Wait]:
    """The secondary's snapshot, and what must go before the next read, its BEGIN last, if any.

    Where reads have been made already, on a node since lost, they are replayed and compared.

    Raises:
        ReplayMismatch: the new node's snapshot differs from the lost one.
    """
    session = transaction.session
    link = session.snapshot
    if link is not None:
        if session.reader.kept(link.node) is link:
            return link, _OPEN
        transaction.to_pending()
        rebuilding.refuse(transaction, link, FailoverImpossible("its connection was closed"))
    for node in candidates(session, session.reader.pinned, electable=False):
        opened = _open(transaction, node)
        if opened is not None:
            return opened
    raise AssertionError("the candidates end with an error")


def _open(transaction: Transaction, node: Node) -> tuple[NodeConnection, Wait] | None:
    session = transaction.session
    link = session.reader.try_node(node)
    if link is None:
        return None
    wait = waiting.before(session, link, BEGIN_READ_ONLY)
    if wait is None:
        waiting.leave_out(session, node)
        return None
    if not any(entry.savepoint is None for entry in transaction.journal):
        return link, wait
    began = time.monotonic()
    try:
        _replay_reads(transaction, link, wait)
    except (ReplayMismatch, FailoverImpossible) as error:
        transaction.broken = error
        raise
    except ERRORS as error:
        again = _replay_failed(session, link, wait, error)
        return _open(transaction, node) if again else None
    _begun(transaction, link, wait)
    rebuilding.tell_replay(transaction, link, "failover", began)
    return link, _OPEN


def _replay_failed(session: Session, link: NodeConnection, wait: Wait, error: Exception) -> bool:
    """Returns True if the node is to be asked once more, in another way."""
    if _is_asked_again(session, link, wait, error):
        return True
    if waiting.is_late(link, wait, error) or verdict(error) is Verdict.LOCK_WAIT:
        waiting.pass_by(session, link)
        end_snapshot(session, link)  # it may have been begun, and nothing was seen of it
    else:
        session.reader.lose(link, error, certain=True)
    return False


def _replay_reads(transaction: Transaction, link: NodeConnection, wait: Wait) -> None:
    try:
        _replay_or_end(transaction, link, wait)
    except ReplayMismatch:  # the node may only lag: once more, when it has caught up
        last = waiting.last_resort(transaction.session, link, BEGIN_READ_ONLY)
        _replay_or_end(transaction, link, last)


def _replay_or_end(transaction: Transaction, link: NodeConnection, wait: Wait) -> None:
    """Replay; a snapshot that differs is not left open, where it would hold locks and undo logs.

    Nor would a BEGIN inside it wait for the applier.
    """
    # A snapshot has no use for savepoints.
    entries = [entry for entry in transaction.journal if entry.savepoint is None]
    try:
        link.until = wait.until
        rebuilding.replay(transaction, link, wait.steps, entries)
    except ReplayMismatch:
        link.roll_back()
        raise


def _snapshot_error(
    transaction: Transaction,
    call: Call,
    link: NodeConnection,
    error: Exception,
    patience: Patience,
) -> None:
    """Raise ``error`` unless the read may be tried once more, elsewhere if need be."""
    session = transaction.session
    begun = session.snapshot is link
    if is_lost(error):
        session.reader.lose(link, error, certain=patience.blames(link))
        if begun:
            transaction.to_pending()
            rebuilding.refuse(transaction, link, error)
        patience.spend(link, error)
    elif verdict(error) is Verdict.ROLLED_BACK:  # DDL on another node broke its locks
        transaction.to_pending()
        patience.spend(link, error)
    else:
        if begun and not (verdict(error) is Verdict.LOCK_WAIT and _stands(transaction, link)):
            writing.note_error(transaction, call, error)
            if session.snapshot is not link:
                end_snapshot(session, link)  # if the server has it open, nobody else would
        raise error


def _stands(transaction: Transaction, link: NodeConnection) -> bool:
    """Returns True if a lock wait has left the snapshot as it was; False if it is undone.

    If the server does not answer, the snapshot is lost, and what was read in it is read again.
    """
    try:
        return writing.in_transaction(link)
    except ERRORS as error:
        transaction.session.reader.lose(link, error, certain=False)
        transaction.to_pending()
        rebuilding.refuse(transaction, link, error)
        return True


def end_snapshot(session: Session, link: NodeConnection) -> None:
    """End the read-only transaction on a secondary; nobody waits for the answer."""
    if session.reader.kept(link.node) is not link:
        return
    try:
        link.send(b"COMMIT")
    except ERRORS as error:  # it had nothing to lose; the next use connects anew
        text = "%s: lost %s at the end of a snapshot: %s"
        logger.info(text, session.cluster.alias, link.node.name, error)
        session.reader.drop(link)

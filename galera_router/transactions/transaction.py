"""One transaction, from the moment at which Django opens it: its states and their legal moves.

::

            ┌────────────────────────────────────────────┐
            │                                            ▼
    Pending ──first read──▶ OnSecondary ──first write──▶ OnPrimary
       │  ▲                   │   │                       │  │
       │  └──snapshot lost────┘   │                       │  │
       │  ▲                       │                       │
       │  └────────── undone by the server, or lost ──────┘  │
       ▼                          ▼                          ▼
     Ended ◀──────────────────── commit, rollback ───────────┘

A transaction is made anew for each outermost transaction and thrown away at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import MySQLdb
from django.db.utils import InterfaceError

from galera_router.causality import scope
from galera_router.causality.scope import Need
from galera_router.compat import internals
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import ERRORS
from galera_router.exceptions import FailoverImpossible
from galera_router.recovery import outcome, rebuilding
from galera_router.recovery.failover import Conflicts
from galera_router.recovery.journal import Journal
from galera_router.recovery.marker import Marking

from . import reading, writing
from .places import Place, current_place, places_of
from .statements import Savepoint, Statement

if TYPE_CHECKING:
    from .cursor import Call
    from .session import Session


class State:
    """What is true of a transaction as long as it is in this state."""

    def execute(self, transaction: Transaction, call: Call, failed: Exception | None) -> Any:
        """Run a statement; returns the number of rows.

        Args:
            transaction: whose state it is.
            call: the statement.
            failed: how it has failed, if it was sent already.
        """
        raise NotImplementedError

    def commit(self, transaction: Transaction) -> None:
        """Make it final."""

    def rollback(self, transaction: Transaction) -> None:
        """Undo it."""


class Pending(State):
    """No server has it open."""

    def execute(self, transaction: Transaction, call: Call, failed: Exception | None) -> Any:
        savepoint = call.statement.savepoint
        if savepoint is not None and not transaction.stays:
            return transaction.note_savepoint(call, savepoint)
        if failed is not None or transaction.may_read_elsewhere(call):
            return reading.in_snapshot(transaction, call, failed)
        return writing.execute(transaction, call)

    def commit(self, transaction: Transaction) -> None:
        if transaction.stays and transaction.journal.entries:  # it was lost meanwhile
            transaction.rebuild()
            transaction.state.commit(transaction)


@dataclass(eq=False)
class OnSecondary(Pending):
    """A read-only transaction is open on a secondary: one snapshot for all reads.

    Attributes:
        link: its connection.
        needs: what it was begun to include.
        unsynced: it was begun without a wait that was due.
        writes: as many writes of this request were waited for.
    """

    link: NodeConnection
    needs: tuple[Need, ...] = ()
    unsynced: bool = False
    writes: int = 0

    def is_too_old(self, alias: str) -> bool:
        """Returns True if it may lack what a read must now include.

        That is what it was given a token for since, or what another thread of the request has
        written.
        """
        if self.unsynced or scope.writes(alias) > self.writes:
            return True
        needs = scope.needs(alias)
        return needs is not self.needs and any(need not in self.needs for need in needs)

    def commit(self, transaction: Transaction) -> None:
        reading.end_snapshot(transaction.session, self.link)

    def rollback(self, transaction: Transaction) -> None:
        reading.end_snapshot(transaction.session, self.link)


@dataclass(eq=False)
class OnPrimary(State):
    """The primary has it open on ``link``."""

    link: NodeConnection

    def execute(self, transaction: Transaction, call: Call, failed: Exception | None) -> Any:
        return writing.execute(transaction, call, failed)

    def commit(self, transaction: Transaction) -> None:
        if transaction.uncertain:
            writing.settle(transaction)
            if not transaction.is_on_primary:  # it has ended by itself
                return
        outcome.commit(transaction)

    def rollback(self, transaction: Transaction) -> None:
        outcome.rollback(transaction, self.link)


class Ended(State):
    """It was committed or rolled back, or its end is not known; the application was told so."""

    def execute(self, transaction: Transaction, call: Call, failed: Exception | None) -> NoReturn:
        raise MySQLdb.InterfaceError(0, "The transaction has ended.")


MOVES: Mapping[type[State], frozenset[type[State]]] = {
    Pending: frozenset({OnSecondary, OnPrimary, Ended}),
    OnSecondary: frozenset({Pending, OnPrimary, Ended}),
    OnPrimary: frozenset({Pending, Ended}),
    Ended: frozenset(),
}


class Transaction:
    """One transaction of one session.

    Args:
        session: whose.
        first: Django has just turned autocommit off.

    Attributes:
        state: where it stands.
        journal: what it has sent and was told.
        written: the last connection on which it was open: the journal's values are written for it.
        marking: how it stands to its marker.
        stays: it has come to the primary and stays there, or begins there.
        needs_primary: it has come to a statement that no secondary answers.
        broken: what every further statement is answered with.
        swallowed: Django has swallowed that error: the end of the transaction tells it.
        uncertain: its last statement may have ended it.
        probed: a savepoint was set ahead of that statement, which is gone if it did.
        partly: a part of it has been committed by a statement that commits by itself.
        committing: its COMMIT is under way.
        touched: something was to be done in it.
        done: the primary has carried out a statement of it, and has not undone it.
        place: where in the code it was opened, or what runs it again.
        can_run_again: whoever has opened it runs it again if need be.
    """

    def __init__(self, session: Session, *, first: bool = False) -> None:
        self.session = session
        self.state: State = Pending()
        self.journal = Journal()
        self.written: NodeConnection | None = None
        self.marking = Marking()
        self._conflicts: Conflicts | None = None
        self.stays = False
        self.needs_primary = False
        self.broken: Exception | None = None
        self.swallowed = False
        self.undone: Exception | None = None  # with what the server has rolled it back
        self.uncertain = False
        self.probed = False
        self.partly = False
        self.committing = False
        self._lost: tuple[Call, NodeConnection | None] | None = None
        self.touched = self.done = False
        self.place: Place | None = None
        self.can_run_again = False
        if first:
            session.promoted = False
            self.can_run_again, session.can_run_again = session.can_run_again, False
            if not session.primary_only:
                self._consider_place()

    def _consider_place(self) -> None:
        """A plain block, which nobody runs again, begins where its place in the code says.

        What is run again if need be begins on the primary only if it nearly always writes.
        """
        session = self.session
        if session.options.optimistic_transactions != "auto":
            return
        if not self.can_run_again:
            self.place = current_place()
            self.stays = places_of(session.cluster).begins_on_primary(self.place)
        elif session.place is not None:
            self.place = session.place
            if session.habits.begins_on_primary(self.place):
                self.stays = self.marking.ahead = session.cluster.usual() is not None

    @property
    def conflicts(self) -> Conflicts:
        """How often it was begun again on the spot."""
        if self._conflicts is None:
            self._conflicts = Conflicts(self.session)
        return self._conflicts

    def _note_place(self) -> None:
        session = self.session
        if self.place is None:
            return
        if not self.can_run_again:
            places_of(session.cluster).note(self.place, self.needs_primary)
        elif self.needs_primary or self.place in session.habits.points:
            session.habits.note(self.place, self.needs_primary)

    def move(self, state: State) -> None:
        """Go on in ``state``; only along :data:`MOVES`."""
        allowed = MOVES[type(self.state)]
        assert type(state) in allowed, f"{type(self.state).__name__} to {type(state).__name__}"
        self.state = state

    def to_pending(self) -> None:
        """No server has it open any more."""
        if type(self.state) is not Pending:
            self.move(Pending())

    def _end(self) -> None:
        if not isinstance(self.state, Ended):
            self.move(Ended())

    def to_snapshot(
        self, link: NodeConnection, needs: tuple[Need, ...], writes: int, *, unsynced: bool = False
    ) -> None:
        """A secondary has opened its snapshot; the arguments are those of the state."""
        self.written = link
        if self.session.following.seen is not link.node:
            self.session.following.note_read(link.node, unsynced=unsynced, routed=True)
        self.move(OnSecondary(link, needs, unsynced, writes))

    def to_primary(self, link: NodeConnection) -> None:
        """The primary has opened it, and replayed what there was to replay."""
        self.written = link
        self.marking.begun(None if self.stays else self.journal.savepoints())
        snapshot = self.session.snapshot
        self.stays = True
        self.session.following.note_read(link.node)  # however it ends
        self.move(OnPrimary(link))
        self.session.cluster.mark_up(link.node)
        if snapshot is not None:
            reading.end_snapshot(self.session, snapshot)

    @property
    def is_on_primary(self) -> bool:
        """Returns True if the primary has it open."""
        return type(self.state) is OnPrimary

    # --- what the session asks

    def execute(self, call: Call, failed: Exception | None = None) -> Any:
        """Run a statement of the application; returns the number of rows.

        Args:
            call: the statement.
            failed: how it has failed, if it was sent already.
        """
        self.touched = True
        if self.broken is not None:
            self.refuse(call.statement)
        if self._lost is not None:
            self._after_interruption(call.statement.savepoint)
        try:
            return self.state.execute(self, call, failed)
        except ERRORS:
            self._note_swallowed(call.statement.savepoint)
            raise

    def commit(self) -> None:
        """Make it final; raises what :meth:`Session.commit` does."""
        if self.broken is not None:
            raise self.broken
        if self._lost is not None:
            self._after_interruption(None)
        self.committing = True
        try:
            self.state.commit(self)
        except ERRORS:  # of any other exception it is not known what it came before
            self.committing = False
            self._start_over()
            raise
        if self.session.primary is not None:
            self._turn_autocommit_on(NodeConnection.commit)
        self.committing = False
        self.move(Ended())
        if self.place is not None:
            self._note_place()

    def _start_over(self) -> None:
        """Its COMMIT has failed. Unless it is broken, what follows is another one.

        Only without autocommit does anything follow: Django undoes its blocks.
        """
        if self.broken is not None or self.is_on_primary:
            return
        self.journal, self.marking = Journal(), Marking()
        self.stays = self.uncertain = self.partly = self.done = False

    def rollback(self) -> None:
        """Undo it."""
        following = self.session.following
        if self.uncertain:  # a part of it may be final
            following.note_write()
            following.note_commit()
        try:
            self.state.rollback(self)
            self._turn_autocommit_on(NodeConnection.roll_back)
        finally:
            self._end()
            self._note_place()

    def _turn_autocommit_on(self, end: Callable[[NodeConnection], None]) -> None:
        """Under LOCK TABLES a transaction has autocommit turned off, whatever became of it.

        What the application has begun by a statement of its own ends with the block, even if the
        block has sent nothing.
        """
        link = self.session.primary
        if link is not None and (link.manual or (link.state and link.begun_by_hand)):
            end(link)
            self.session.transaction_ended(link)

    def refuse(self, statement: Statement | None) -> NoReturn:
        """Raise the error that broke it. Django swallows it where it ends a savepoint."""
        assert self.broken is not None
        self._note_swallowed(statement.savepoint if statement is not None else None)
        raise self.broken

    def _note_swallowed(self, savepoint: Savepoint | None) -> None:
        """Django swallows the error of a savepoint; the end of the transaction tells it."""
        self.swallowed = savepoint is not None and self.broken is not None

    def abandon(self, *, inside: bool) -> None:
        """Its connection is closed by the application.

        Args:
            inside: in an atomic block, in which nothing works until it has been left.
        """
        if isinstance(self.state, OnSecondary):
            self.state.rollback(self)
        self._end()
        if inside:
            self.broken = InterfaceError(0, "The connection was closed in an atomic block.")

    def begin_anew(self) -> None:
        """It has ended, blank as it was; Django goes on in the next one."""
        if self.place is not None:
            self._note_place()
        self.place, self.stays, self.can_run_again = None, False, False

    @property
    def is_untouched(self) -> bool:
        """Returns True if no statement has been sent or noted, or if it has ended."""
        if isinstance(self.state, Ended):
            return True
        return type(self.state) is Pending and not self.stays and not self.journal.entries

    # --- an exception in the middle of a statement

    def interrupted(self, call: Call | None) -> None:
        """An exception came while ``call`` was under way; its connections are gone."""
        self.touched = True
        if isinstance(self.state, Ended):
            return
        if self.committing or call is None:
            if self.committing and self.marking.wanted:
                self.session.following.note_write()
                self.session.following.note_commit()  # it may be there
            self.marking.marker = None
            self._end()
            return
        link = self.state.link if isinstance(self.state, OnPrimary) else None
        self._lost = call, link
        self.to_pending()

    def _after_interruption(self, savepoint: Savepoint | None) -> None:
        """Go on without the statement that was interrupted, where that leaves nothing open.

        Nobody knows what it has done. If it was a read that does not matter, nor if the
        application goes back to a savepoint before it.
        """
        assert self._lost is not None
        (call, link), self._lost = self._lost, None
        back = savepoint is not None and savepoint.action == "ROLLBACK TO"
        undone = back and savepoint is not None and savepoint.name in self._savepoints()
        own = call.statement.savepoint
        harmless = call.statement.readable or (own is not None and own.action != "ROLLBACK TO")
        if not harmless and not undone:
            self.broken = FailoverImpossible(
                f"{call.statement.verb} was interrupted by an exception, and nobody knows what it"
                f" has done: the transaction cannot go on. {self.told()}",
                again=True,
            )
            self._note_swallowed(savepoint)
            raise self.broken
        if link is None or not self.done:
            return
        try:
            rebuilding.refuse(self, link, FailoverImpossible("a statement was interrupted"))
        except ERRORS:
            self._note_swallowed(savepoint)
            raise

    def _savepoints(self) -> list[str]:
        return self.marking.savepoints if self.stays else self.journal.savepoints()

    # --- what the states ask

    def may_read_elsewhere(self, call: Call) -> bool:
        """Returns True if a statement can be run in a snapshot on a secondary."""
        if self.stays or not call.statement.repeatable or not call.buffered:
            return False
        return self.session.reads_elsewhere() and self.session.reader.pinned() is not None

    def reads_elsewhere(self, mode: str) -> bool:
        """Returns True if its reads may go to a secondary.

        Args:
            mode: where the running block wants them from; see ``galera_router.reads``.
        """
        if self.stays or self.broken is not None:
            return False
        session, state = self.session, self.state
        snapshot = state if type(state) is OnSecondary and mode != "any" else None
        waits = session.options.wsrep_sync_after_write
        if snapshot is not None and waits and snapshot.is_too_old(session.cluster.alias):
            return False
        optimistic = bool(session.options.optimistic_transactions)
        return optimistic and not internals.in_testcase(session.wrapper)

    def note_savepoint(self, call: Call, savepoint: Savepoint) -> int:
        """No server knows of the transaction yet: the journal remembers its savepoints."""
        journal, name = self.journal, savepoint.name
        if savepoint.action == "SAVEPOINT":
            journal.savepoint(name, call.sql)
        elif name not in journal.savepoints():
            text = f"SAVEPOINT {name} does not exist"
            raise MySQLdb.OperationalError(writing.NO_SUCH_SAVEPOINT, text)
        elif savepoint.action == "RELEASE":
            journal.release(name)
        else:
            journal.rollback_to(name)
        return call.put_answer(None, 0)

    def rebuild(self) -> NodeConnection:
        """Begin on the primary and bring the transaction to where its journal ends."""
        return rebuilding.go_on(self, "interruption") if self.stays else rebuilding.go_live(self)

    def for_direct_use(self) -> NodeConnection:
        """The connection on which it is open; what is done there directly is not known here."""
        self.touched = True
        if self.broken is not None:
            raise self.broken
        self.marking.wanted = True
        if not isinstance(self.state, OnPrimary):
            self.rebuild()
        self.marking.direct = self.done = True
        self.journal.prevent("the driver's connection was used directly")
        assert isinstance(self.state, OnPrimary)
        return self.state.link

    def told(self) -> str:
        """What can be said of it when it is lost before its COMMIT."""
        if self.partly:
            return "A part of it had been committed before, by a statement that commits by itself."
        return "Nothing of it was committed."

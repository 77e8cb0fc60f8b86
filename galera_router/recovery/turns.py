"""Code that has failed some times because of others gets its turn: they queue for one lock.

Each run begins with a read that another one may overtake. With enough workers on one row somebody
loses every time. So from the third run on the code holds a named lock on the primary. A second run
joins the queue if there is one. So do the first runs of code that has queued just now, in every
thread of this process: whoever wins without the lock makes its holder lose.

The lock is a courtesy: nothing depends on it, and without it the run goes on.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from galera_router import signals
from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import ERRORS
from galera_router.events import NoTurn
from galera_router.recovery import failover

if TYPE_CHECKING:
    from galera_router.transactions.session import Session

#: The first run that queues, even if nobody else does.
FIRST = 3
#: Seconds that a run waits for its turn at most.
WAIT = 5.0
#: Seconds for which code that had to queue does so from its first run.
HOT = 5.0
#: Seconds of waiting that show that others are in the queue.
CROWD = 0.001
#: Names whose time is over are dropped when there are so many.
NAMES = 1000

_hot: dict[str, float] = {}


def is_hot(name: str) -> bool:
    """Returns True if the code ``name`` had to queue just now, and is to do so at once."""
    until = _hot.get(name)
    return until is not None and until > time.monotonic()


def some_are_hot() -> bool:
    """Returns True if some code had to queue not long ago."""
    return bool(_hot)


def _note_hot(name: str) -> None:
    now = time.monotonic()
    if len(_hot) >= NAMES:
        for old in [known for known, until in list(_hot.items()) if until < now]:
            _hot.pop(old, None)
    _hot[name] = now + HOT


class Turn:
    """A place in the queue of one database, to be left at the end of the block.

    Args:
        name: of the code, the same for all who run it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._held: list[tuple[Session, NodeConnection, bytes]] = []

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()

    @property
    def held(self) -> bool:
        """Returns True if there is something to leave."""
        return bool(self._held)

    def take(self, run: int, *sessions: Session) -> None:
        """Where the run is to queue, wait until it is its turn, or for :data:`WAIT` seconds.

        Between transactions only. What is held already, on a connection that is still there, is
        kept.

        Args:
            run: the number of the run that is about to begin, from 1.
            sessions: of the clusters that it will write to.
        """
        if run == 1 and not is_hot(self.name):
            return
        for session, link, _ in list(self._held):
            if session.primary is not link:
                self._drop(session)
        kept = {session for session, _, _ in self._held}
        for session in sorted(sessions, key=_alias):  # all in the same order
            if session not in kept and session.transaction is None:
                self._take(run, session)

    def _take(self, run: int, session: Session) -> None:
        """Take the lock; anew, where another node has become the primary meanwhile."""
        until = time.monotonic() + _patience(session)
        try:
            link = _connection(session)
            if (
                link is not None
                and run < FIRST
                and not is_hot(self.name)
                and _is_free(session, link)
            ):
                return
            while link is not None and self._get_lock(session, link, until):
                moved, link = link, failover.connect_primary(session)
                if moved is link:
                    return
                self._drop(session)
        except ERRORS as error:
            self._drop(session)
            _failed(session, error)

    def _get_lock(self, session: Session, link: NodeConnection, until: float) -> bool:
        began = time.monotonic()
        lock, patience = _lock(session, link), max(0.0, until - began)
        self._held.append((session, link, lock))  # it may be ours from the first byte on
        link.query(b"SELECT GET_LOCK(%s, %.3f)" % (lock, patience))
        if link.rows() != ((1,),):
            self._drop(session)
            _failed(session, f"it has not come within {patience:.1f} s")
            return False
        if not is_hot(self.name) or time.monotonic() - began > CROWD:
            _note_hot(self.name)
        return True

    def _drop(self, session: Session) -> None:
        """Release the lock that is held for ``session``, if there is one."""
        for held in [held for held in self._held if held[0] is session]:
            self._held.remove(held)
            _release(*held)

    def leave(self) -> None:
        """Let the next one have its turn; a connection that is gone has done so by itself.

        Within a transaction nothing is done: to be called again at its end.
        """
        for session in [session for session, _, _ in self._held if not session.transaction_begun]:
            self._drop(session)


def _alias(session: Session) -> str:
    return session.cluster.alias


def _connection(session: Session) -> NodeConnection | None:
    """Returns the connection to hold the lock on; None if it must be left alone.

    State that was lost with a connection is told to the application's next statement, not to us.
    """
    kept = session.primary
    if session.forgotten is not None or (kept is not None and kept.state is not None):
        return None
    if not any(node.up for node in session.cluster.nodes):  # the run waits for one itself
        return None
    return failover.connect_primary(session)


def _lock(session: Session, link: NodeConnection) -> bytes:
    """Returns the lock's name as a literal: one for each database of a server."""
    name = f"galera_router {session.database}"[:64]  # the server takes no longer one
    literal: bytes = link.connection.literal(name)
    return literal


def _is_free(session: Session, link: NodeConnection) -> bool:
    link.query(b"SELECT IS_FREE_LOCK(%s)" % _lock(session, link))
    return link.rows() == ((1,),)


def _patience(session: Session) -> float:
    """Returns the seconds to wait; not so long that the driver takes the server for dead."""
    timeout = session.wrapper.settings_dict["OPTIONS"].get("read_timeout")
    return WAIT if not timeout else min(WAIT, timeout / 2)


def _release(session: Session, link: NodeConnection, lock: bytes) -> None:
    """Release a lock; one on a node that is not the primary any more may be waited for as well."""
    try:
        link.query(b"DO RELEASE_LOCK(%s)" % lock)
    except ERRORS as error:
        if session.primary is link:
            session.lose_primary(idle=True)
        _failed(session, error)


def _failed(session: Session, reason: Exception | str) -> None:
    signals.send(NoTurn, session.cluster.alias, str(reason))

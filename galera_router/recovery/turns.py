"""Code that has failed some times because of others gets its turn: they queue for one lock.

Each run begins with a read that another one may overtake. With enough workers on one row somebody
loses every time. So from the third run on the code holds a named lock on the primary, and so do
the first runs of code that has needed that just now, in every thread of this process.

The lock is a courtesy: nothing depends on it, and without it the run goes on.
"""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import TYPE_CHECKING

from galera_router.connections.connection import NodeConnection
from galera_router.connections.errors import ERRORS, is_lost
from galera_router.recovery import failover

if TYPE_CHECKING:
    from galera_router.transactions.session import Session

logger = logging.getLogger("galera_router")

#: The first run that queues.
FIRST = 3
#: Seconds that a run waits for its turn at most.
WAIT = 5.0
#: Seconds for which code that had to queue does so from its first run.
HOT = 2.0
#: Seconds of waiting that show that others are in the queue.
CROWD = 0.001
#: Names whose time is over are dropped when there are so many.
NAMES = 1000

_hot: dict[str, float] = {}


def is_hot(name: str) -> bool:
    """Return True if the code ``name`` had to queue just now, and is to do so at once."""
    until = _hot.get(name)
    return until is not None and until > time.monotonic()


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
        """Whether there is something to leave."""
        return bool(self._held)

    def is_due(self, run: int) -> bool:
        """Return True if the run of this number is to queue."""
        return run >= FIRST or is_hot(self.name)

    def take(self, *sessions: Session) -> None:
        """Wait until it is our turn on each cluster, or for :data:`WAIT` seconds.

        Between transactions only. What is held already, on a connection that is still there, is
        kept.
        """
        self._held = [held for held in self._held if held[0].primary is held[1]]
        kept = {session for session, _, _ in self._held}
        for session in sorted(sessions, key=_alias):  # all in the same order
            if session not in kept and session.transaction is None:
                self._take(session)

    def _take(self, session: Session) -> None:
        began = time.monotonic()
        try:
            link = _connection(session)
            if link is None:
                return
            lock = _lock(session, link)
            link.query(b"SELECT GET_LOCK(%s, %.1f)" % (lock, _patience(session)))
            ((got,),) = link.rows()
        except ERRORS as error:
            _failed(session, error)
            return
        waited = time.monotonic() - began
        if not got:
            text = "%s: no turn within %.1f s; going on without"
            logger.info(text, session.cluster.alias, waited)
            return
        self._held.append((session, link, lock))
        if not is_hot(self.name) or waited > CROWD:
            _note_hot(self.name)

    def leave(self) -> None:
        """Let the next one have its turn; a connection that is gone has done so by itself.

        Within a transaction nothing is done: to be called again at its end.
        """
        for held in list(self._held):
            session, link, lock = held
            if session.transaction_begun:
                continue
            self._held.remove(held)
            if session.primary is link:
                _release(session, link, lock)


def _alias(session: Session) -> str:
    return session.cluster.alias


def _connection(session: Session) -> NodeConnection | None:
    """Return the connection to hold the lock on; None if it must be left alone.

    State that was lost with a connection is told to the application's next statement, not to us.
    """
    kept = session.primary
    if session.forgotten is not None or (kept is not None and kept.state is not None):
        return None
    return failover.connect_primary(session)


def _lock(session: Session, link: NodeConnection) -> bytes:
    """Return the lock's name as a literal: one for each database of a server."""
    name = f"galera_router {session.database}"[:64]  # the server takes no longer one
    literal: bytes = link.connection.literal(name)
    return literal


def _patience(session: Session) -> float:
    """Return the seconds to wait; not so long that the driver takes the server for dead."""
    timeout = session.wrapper.settings_dict["OPTIONS"].get("read_timeout")
    return WAIT if not timeout else min(WAIT, timeout / 2)


def _release(session: Session, link: NodeConnection, lock: bytes) -> None:
    try:
        link.query(b"DO RELEASE_LOCK(%s)" % lock)
    except ERRORS as error:
        _failed(session, error)


def _failed(session: Session, error: Exception) -> None:
    logger.info("%s: no turn: %s", session.cluster.alias, error)
    if is_lost(error) and session.primary is not None:
        session.lose_primary(idle=True)

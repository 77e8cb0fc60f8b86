"""Code that has failed some times because of others gets its turn: they queue for one lock.

Each run begins with a read that another one may overtake. With enough workers on one row somebody
loses every time. So from the third run on the code holds a named lock on the primary. A second run
joins the queue if there is one. So do the first runs of code that has queued just now, in every
thread of this process: whoever wins without the lock makes its holder lose.

The lock is a courtesy: nothing depends on it, and without it the run goes on.
"""

from __future__ import annotations

import logging
import time
from types import TracebackType

from galera_router.connections.connection import Link
from galera_router.recovery import failover
from galera_router.transactions import links
from galera_router.transactions.context import Context

logger = logging.getLogger("galera_router")

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
        self._held: list[tuple[Context, Link, bytes]] = []

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

    def take(self, run: int, *contexts: Context) -> None:
        """Where the run is to queue, wait until it is its turn, or for :data:`WAIT` seconds.

        Between transactions only. What is held already, on a connection that is still there, is
        kept.

        Args:
            run: the number of the run that is about to begin, from 1.
            contexts: of the clusters that it will write to.
        """
        if run == 1 and not is_hot(self.name):
            return
        for context, link, _ in list(self._held):
            if context.primary is not link:
                self._drop(context)
        kept = {context for context, _, _ in self._held}
        for context in sorted(contexts, key=_alias):  # all in the same order
            if context not in kept and context.autocommit:
                self._take(run, context)

    def _take(self, run: int, context: Context) -> None:
        """Take the lock; anew, where another node has become the primary meanwhile."""
        until = time.monotonic() + _patience(context)
        try:
            link = _connection(context)
            if (
                link is not None
                and run < FIRST
                and not is_hot(self.name)
                and _is_free(context, link)
            ):
                return
            while link is not None and self._get_lock(context, link, until):
                moved, link = link, failover.connect_primary(context)
                if moved is link:
                    return
                self._drop(context)
        except links.errors(context) as error:
            self._drop(context)
            _failed(context, error)

    def _get_lock(self, context: Context, link: Link, until: float) -> bool:
        began = time.monotonic()
        lock, patience = _lock(context, link), max(0.0, until - began)
        self._held.append((context, link, lock))  # it may be ours from the first byte on
        link.query(b"SELECT GET_LOCK(%s, %.3f)" % (lock, patience))
        if link.rows() != ((1,),):
            self._drop(context)
            text = "%s: no turn within %.1f s; going on without"
            logger.info(text, context.cluster.alias, patience)
            return False
        if not is_hot(self.name) or time.monotonic() - began > CROWD:
            _note_hot(self.name)
        return True

    def _drop(self, context: Context) -> None:
        """Release the lock that is held for ``context``, if there is one."""
        for held in [held for held in self._held if held[0] is context]:
            self._held.remove(held)
            _release(*held)

    def leave(self) -> None:
        """Let the next one have its turn; a connection that is gone has done so by itself.

        Within a transaction nothing is done: to be called again at its end.
        """
        for context in [context for context, _, _ in self._held if not context.begun]:
            self._drop(context)


def _alias(context: Context) -> str:
    return context.cluster.alias


def _connection(context: Context) -> Link | None:
    """Return the connection to hold the lock on; None if it must be left alone.

    State that was lost with a connection is told to the application's next statement, not to us.
    """
    kept = context.primary
    if context.forgotten is not None or (kept is not None and kept.state is not None):
        return None
    if not any(node.up for node in context.cluster.nodes):  # the run waits for one itself
        return None
    return failover.connect_primary(context)


def _lock(context: Context, link: Link) -> bytes:
    """Return the lock's name as a literal: one for each database of a server."""
    name = f"galera_router {context.database}"[:64]  # the server takes no longer one
    literal: bytes = link.connection.literal(name)
    return literal


def _is_free(context: Context, link: Link) -> bool:
    link.query(b"SELECT IS_FREE_LOCK(%s)" % _lock(context, link))
    return link.rows() == ((1,),)


def _patience(context: Context) -> float:
    """Return the seconds to wait; not so long that the driver takes the server for dead."""
    timeout = context.wrapper.settings_dict["OPTIONS"].get("read_timeout")
    return WAIT if not timeout else min(WAIT, timeout / 2)


def _release(context: Context, link: Link, lock: bytes) -> None:
    """Release a lock; one on a node that is not the primary any more may be waited for as well."""
    try:
        link.query(b"DO RELEASE_LOCK(%s)" % lock)
    except links.errors(context) as error:
        _failed(context, error)
        if context.primary is link:
            context.lose_primary(idle=True)


def _failed(context: Context, error: Exception) -> None:
    logger.info("%s: no turn: %s", context.cluster.alias, error)

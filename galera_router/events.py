"""What galera_router tells of: one frozen dataclass for each kind of event.

:mod:`galera_router.signals` has a signal for each of them. The log's lines are made from them, too.
Durations are in seconds, with fractions. No event has the values of rows, parameters of statements
or passwords in it.

An event that this process has met in a statement is sent when that statement is done, in its
thread. What the watchdog finds out about nodes is sent in the watchdog's thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Event:
    """What all events have."""

    LINE: ClassVar[str] = ""
    #: Of that line, at most; NOTSET if there is none.
    LEVEL: ClassVar[int] = logging.WARNING
    #: Seconds between two lines about the same :attr:`subject`; 0: each event has its line.
    PAUSE: ClassVar[float] = 0.0

    alias: str
    """The cluster's alias; empty if the event belongs to none."""

    @property
    def line(self) -> str:
        """The line of the log, with places for the fields."""
        return self.LINE

    @property
    def level(self) -> int:
        """The level of that line."""
        return self.LEVEL

    @property
    def subject(self) -> object:
        """What a line that is not to be repeated at once is about."""
        return self.alias

    def values(self) -> dict[str, Any]:
        """The fields and their values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


# --- nodes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeDown(Event):
    """A node cannot be used any more, as this process has found out."""

    LINE: ClassVar[str] = "%(alias)s: node %(node)s is down: %(reason)s"

    node: str
    """The node's name in NODES."""
    reason: str
    """The error that says so."""
    error: int
    """The number of that error; -1 if it has none."""


@dataclass(frozen=True, slots=True)
class NodeUp(Event):
    """A node that was down can be used again."""

    LINE: ClassVar[str] = "%(alias)s: node %(node)s is up again"

    node: str
    """The node's name in NODES."""
    seconds: float
    """For how long it was down."""


@dataclass(frozen=True, slots=True)
class NodeOutOfStep(Event):
    """A node answers, but says that it is not in step with its cluster (not *Synced*)."""

    LINE: ClassVar[str] = "%(alias)s: node %(node)s is no longer in step"

    node: str
    """The node's name in NODES."""


@dataclass(frozen=True, slots=True)
class NodeInStep(Event):
    """A node that was out of step is in step."""

    LINE: ClassVar[str] = "%(alias)s: node %(node)s is again in step"

    node: str
    """The node's name in NODES."""


@dataclass(frozen=True, slots=True)
class NodeLagging(Event):
    """A node lacks too much of what the others have, and is not used while another one can be."""

    LINE: ClassVar[str] = "%(alias)s: node %(node)s lags by %(seconds).1f s"
    _AS_PRIMARY: ClassVar[str] = (
        "%(alias)s: node %(node)s lags: it has not caught up in %(seconds).1f s"
    )

    node: str
    """The node's name in NODES."""
    seconds: float
    """For how long it has lacked what another one has; or for how long it was waited for."""
    as_primary: bool = False
    """It was to be the primary, and has not caught up in that time."""

    @property
    def line(self) -> str:
        """The line of the log, with places for the fields."""
        return self._AS_PRIMARY if self.as_primary else self.LINE


@dataclass(frozen=True, slots=True)
class NodeCaughtUp(Event):
    """A node that was lagging has what the others have."""

    LINE: ClassVar[str] = "%(alias)s: node %(node)s has caught up"

    node: str
    """The node's name in NODES."""


@dataclass(frozen=True, slots=True)
class NodeRefusing(Event):
    """A node takes no writes; it is still read from."""

    LINE: ClassVar[str] = "%(alias)s: node %(node)s %(refusal)s: %(reason)s"
    _FOUND: ClassVar[str] = "%(alias)s: node %(node)s %(refusal)s"

    node: str
    """The node's name in NODES."""
    refusal: str
    """``is read-only``, ``has no connection left`` or ``has a full disk``."""
    reason: str = ""
    """The error that says so; empty if the watchdog has found it in the server's variables."""

    @property
    def line(self) -> str:
        """The line of the log, with places for the fields."""
        return self.LINE if self.reason else self._FOUND


@dataclass(frozen=True, slots=True)
class NodeAccepting(Event):
    """A node that took no writes takes them again."""

    LINE: ClassVar[str] = "%(alias)s: node %(node)s takes writes again"

    node: str
    """The node's name in NODES."""


@dataclass(frozen=True, slots=True)
class PrimaryChanged(Event):
    """This process has learned that another node is the primary.

    Each process tells so for itself, also of what another one has done.
    """

    LINE: ClassVar[str] = "%(alias)s: node %(node)s is the primary now: %(reason)s"

    node: str
    """The primary's name in NODES; what its server calls itself if it is none of these."""
    before: str
    """The primary before; empty if this process had not heard of any."""
    reason: str
    """Why, as whoever has made the change has written it into the table of epochs."""
    by: str
    """Host and process that have made the change, ``web1:4711``; empty if that is not known."""
    held: bool
    """An operator has put it there (``galera_switchover``), and there it stays."""
    epoch: int
    """The number of the epoch; 0 if there are no tables for them."""

    @property
    def level(self) -> int:
        """Only a change is worth a warning, not what a process learns at its beginning."""
        return logging.WARNING if self.before else logging.INFO


# --- transactions -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failover(Event):
    """One node was lost and another took over an open transaction or a statement."""

    LINE: ClassVar[str] = (
        "%(alias)s: failover from %(lost)s to %(taken_over_by)s in %(seconds).3f s,"
        " %(replayed)d statements replayed: %(reason)s"
    )

    lost: str
    """Name of the node that was lost."""
    taken_over_by: str
    """Name of the node that goes on."""
    reason: str
    """What the driver said of the loss."""
    seconds: float
    """From the error to the moment the replay was done: the pause that the application sees."""
    replayed: int
    """Statements replayed and compared."""


@dataclass(frozen=True, slots=True)
class Promotion(Event):
    """A transaction has moved from its secondary to the primary, what it had read being the same.

    The log has no line for it.
    """

    LEVEL: ClassVar[int] = logging.NOTSET

    node: str
    """The primary's name."""
    replayed: int
    """Statements of the transaction that were sent to the primary and compared."""
    seconds: float
    """From the first statement for the primary to the moment the comparison was done."""


@dataclass(frozen=True, slots=True)
class Replay(Event):
    """The statements of a transaction were sent again, and all answers were the same."""

    LEVEL: ClassVar[int] = logging.DEBUG
    LINE: ClassVar[str] = (
        "%(alias)s: %(replayed)d statements replayed on %(node)s in %(seconds).3f s: %(cause)s"
    )

    node: str
    """Where they were sent to."""
    cause: str
    """``failover``: a connection was lost. ``conflict``: the server has undone it. ``primary``:
    another node is the primary. ``marker``: its marker's row was not there. ``commit``: the answer
    to its COMMIT was lost, and it was not committed. ``interruption``: an exception came in the
    middle of a statement."""
    replayed: int
    """Statements replayed and compared."""
    seconds: float
    """For how long that took."""


@dataclass(frozen=True, slots=True)
class Conflict(Event):
    """Another transaction was in the way: a deadlock, a certification failure, a lock wait."""

    LEVEL: ClassVar[int] = logging.DEBUG
    LINE: ClassVar[str] = "%(alias)s: conflict on %(node)s: error %(error)d"

    node: str
    """The node that said so; empty if its connection is gone."""
    error: int
    """The server's number for it: 1213, 1205, 1020, 1180."""
    again: bool
    """It is tried again on the spot. Else the error goes on, and ``galera_atomic`` or the
    middleware may run the code again."""


@dataclass(frozen=True, slots=True)
class Rerun(Event):
    """A function or a request is run again."""

    LEVEL: ClassVar[int] = logging.INFO
    LINE: ClassVar[str] = (
        "running %(what)s again (run %(run)d of at most %(limit)d): %(error)s: %(reason)s"
    )

    what: str
    """The function's name with its module, or the request's method and path."""
    run: int
    """The number of the run that begins now; the first repetition is run 2."""
    limit: int
    """How many runs there are at most."""
    error: str
    """The type of the error that has ended the run before."""
    reason: str
    """What that error says."""


@dataclass(frozen=True, slots=True)
class RerunRefused(Event):
    """A function or a request is not run again, for it has already done something."""

    LEVEL: ClassVar[int] = logging.INFO
    LINE: ClassVar[str] = (
        "not running %(what)s again after %(error)s, because %(obstacle)s: %(reason)s"
    )

    what: str
    """The function's name with its module, or the request's method and path."""
    error: str
    """The type of the error that has ended it; it goes to the application."""
    obstacle: str
    """What keeps it from being run again."""
    reason: str
    """What that error says."""


@dataclass(frozen=True, slots=True)
class OutcomeSettled(Event):
    """The answer to a COMMIT, or to a write outside a transaction, was lost, and was found out."""

    LEVEL: ClassVar[int] = logging.INFO
    LINE: ClassVar[str] = (
        "%(alias)s: the answer to a change was lost with %(lost)s; it is there, as %(node)s has"
        " told %(seconds).3f s later"
    )
    _NOT: ClassVar[str] = (
        "%(alias)s: the answer to a change was lost with %(lost)s; it is not there, as %(node)s has"
        " told %(seconds).3f s later"
    )

    lost: str
    """Name of the node whose answer was lost."""
    node: str
    """Name of the node that was asked."""
    committed: bool
    """The change is there. If not, it is sent again, or the application gets an error."""
    seconds: float
    """From the loss to the answer."""

    @property
    def line(self) -> str:
        """The line of the log, with places for the fields."""
        return self.LINE if self.committed else self._NOT


@dataclass(frozen=True, slots=True)
class OutcomeUnknown(Event):
    """What became of a change cannot be found out: the application gets `CommitOutcomeUnknown`."""

    LINE: ClassVar[str] = (
        "%(alias)s: nobody knows what became of a change: connection %(connection_id)d to"
        " %(lost)s was lost: %(reason)s"
    )

    lost: str
    """Name of the node whose answer was lost."""
    connection_id: int
    """The server's number of the lost connection, as in its logs."""
    writes: tuple[str, ...]
    """Verb and table of each write, ``UPDATE shop_book``; empty if they were not recorded."""
    reason: str
    """Why it cannot be found out."""


# --- waits and the rest -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waited(Event):
    """A statement has had to wait for a node.

    Not told is a read that waited for own writes and has got its answer in time.
    """

    LEVEL: ClassVar[int] = logging.INFO
    LINE: ClassVar[str] = "%(alias)s: waited for %(seconds).3f s %(why)s (%(node)s)"

    node: str
    """The node that was waited for, or tried last; empty if there was none to try."""
    why: str
    """``for a node``: none could serve. ``for a new primary``: it had to catch up. ``for a read``:
    a secondary has not caught up in time, and the read goes elsewhere."""
    seconds: float
    """How long."""


@dataclass(frozen=True, slots=True)
class NoTurn(Event):
    """Code that has failed some times because of others could not queue; it goes on without."""

    LEVEL: ClassVar[int] = logging.INFO
    LINE: ClassVar[str] = "%(alias)s: no turn: %(reason)s"
    PAUSE: ClassVar[float] = 60.0

    reason: str
    """Why: an error, or that the time was over."""


@dataclass(frozen=True, slots=True)
class TokenIgnored(Event):
    """A causal token that came with a request or a message was not used."""

    LINE: ClassVar[str] = "a causal token was ignored: %(reason)s"
    PAUSE: ClassVar[float] = 60.0

    reason: str
    """Why."""
    usual: bool = False
    """It is nothing to look into: the token has expired."""

    @property
    def level(self) -> int:
        """Nothing is wrong where a token has expired."""
        return logging.INFO if self.usual else logging.WARNING

    @property
    def subject(self) -> object:
        """What a line that is not to be repeated at once is about."""
        return self.reason

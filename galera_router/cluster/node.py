"""One node as this process knows it: one record, shared by all threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from galera_router.cluster.distance import Distance
from galera_router.cluster.epoch import Epoch
from galera_router.cluster.lag import Track
from galera_router.cluster.position import Position
from galera_router.conf import NodeConfig

if TYPE_CHECKING:
    from galera_router.cluster.nodes import Cluster

#: With these a server says that it cannot serve anybody now: it is full, it takes no part in the
#: cluster, it is shutting down.
_REFUSALS = frozenset({1040, 1047, 1053, 1077, 1079})
#: Seconds of a lag that is worth a closer look.
SUSPICIOUS = 1.0


@dataclass(eq=False)
class Node:
    """One server, as this process knows it. Only its :class:`Cluster` changes it.

    Attributes:
        up: it can be used.
        fit: it is in step with the cluster; one that is not is used if no other can be.
        refusal: why it takes no writes, such as "is read-only"; empty if it does.
        behind_since: since when it has not been used because its applier stands still, or is far
            behind (by the clock); None if it is not.
        lag: seconds for which it has lacked what another node has, when it was last asked.
        track: where it has been.
        settled_at: from when on it may be primary (seconds of the time of day).
        failures: how often it was found to be down, or behind, ever.
        position: how far it is known to have come.
        marks: the last transaction of each worker that it is known to have.
        lags_until: until when it is not worth waiting for, by the clock.
        epoch: the newest one that it has itself shown; None if that has to be asked.
        distance: how long a round trip to it takes.
        server: which one answered at its address last, by its own name; empty if unknown.
        turn: how often that was another one: what was known of the one before holds no more.
        several: one of those before has soon answered again: the address is that of several.
        servers: those that have answered, and when they last did or were replaced (by the clock).
    """

    config: NodeConfig
    cluster: Cluster = field(repr=False)
    up: bool = True
    fit: bool = True
    doubted: bool = False  # it was out of step, or full, when last asked, for the first time
    refusal: str = ""
    refused_until: float = 0.0
    behind_since: float | None = None
    lag: float = 0.0
    track: Track = field(default_factory=Track, repr=False)
    settled_at: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    reason: str = field(default="", repr=False)
    permanent: bool = False
    lost_at: float = float("-inf")  # since when it is down, by the clock
    lost_with: int = 0  # the number of the error with which it was last found to be down
    tried: bool = False  # a caller has been sent to it although it is down
    attempts: int = 0  # times that it was tried in vain since it was up
    losses: list[float] = field(default_factory=list, repr=False)
    started: float | None = None  # when its server did, by the time of day
    heard: float = float("-inf")  # when it was last known whether it is up, by the clock
    position: Position | None = None
    marks: dict[str, int] = field(default_factory=dict, repr=False)
    lags_until: float = 0.0
    epoch: Epoch | None = field(default=None, repr=False)
    distance: Distance = field(default_factory=Distance, repr=False)
    server: str = ""
    turn: int = 0
    several: bool = False
    servers: dict[str, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.name = self.config.name
        self.alias = self.config.alias

    def forget_place(self) -> None:
        """Its server may be another one now: how far it had come is not known any more."""
        self.position, self.marks = None, {}

    @property
    def writable(self) -> bool:
        """Returns True unless it refuses writes."""
        return not self.refusal

    @property
    def behind(self) -> bool:
        """Returns True if it lacks too much of what the others have."""
        return self.behind_since is not None

    @property
    def drained(self) -> bool:
        """Returns True if an operator has said that no new work is to go to it."""
        return self in self.cluster.epochs.drained

    @property
    def well(self) -> bool:
        """Returns True if nothing speaks against it as primary."""
        return self.up and self.fit and not self.refusal and self.behind_since is None

    @property
    def is_usual(self) -> bool:
        """Returns True if nothing speaks against reading from it."""
        return self.up and self.fit and self.behind_since is None

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """Returns how good a primary it would be; of two nodes the higher rank is better."""
        return self.writable, not self.behind, self.fit

    @property
    def trouble(self) -> str:
        """Returns why it cannot be the primary although it is up; empty if it can."""
        return self.refusal or ("it has not caught up" if self.behind else "")

    @property
    def doubtful(self) -> bool:
        """Returns True if something may be wrong with it: it is to be asked soon."""
        return not self.well or self.doubted or self.lag >= SUSPICIOUS

    @property
    def is_unfit(self) -> bool:
        """Returns True if it is not well by its own account, and not only out of reach."""
        return not self.well if self.up else self.lost_with in _REFUSALS

"""The anomalies, and what each isolation level allows."""

from __future__ import annotations

from enum import Enum


class Kind(str, Enum):
    """What can be wrong with a history; docs/history.md says what each one is."""

    G0 = "G0"  # dirty write
    G1A = "G1a"  # aborted read
    G1B = "G1b"  # intermediate read
    G1C = "G1c"  # circular information flow
    G_SINGLE = "G-single"  # read skew
    G_NONADJACENT = "G-nonadjacent"  # long fork
    G2_ITEM = "G2-item"  # write skew
    LOST_UPDATE = "lost update"  # P4
    LOST_WRITE = "lost write"
    TORN = "torn transaction"
    DUPLICATE = "duplicate write"
    MADE_UP = "made-up value"
    INCOMPATIBLE = "incompatible order"
    INTERNAL = "internal inconsistency"
    OWN_WRITES = "own write not seen"
    MONOTONIC = "back in time"
    SESSION = "session order"
    TOKEN = "token order"


class Level(Enum):
    """How a transaction ran."""

    AUTOCOMMIT = "autocommit"  # one statement
    SNAPSHOT = "snapshot"  # reads only, on one secondary
    READ_COMMITTED = "read committed"
    REPEATABLE_READ = "repeatable read"
    GUARDED = "lost_update_guard"
    SERIALIZABLE = "serializable"


_WEAK = frozenset({Kind.LOST_UPDATE, Kind.G_SINGLE, Kind.G_NONADJACENT, Kind.G2_ITEM})

#: What a level allows to a transaction that *reads* what somebody else then changes. The reads
#: ahead of its first write are a snapshot at each level: of them, what `SNAPSHOT` allows.
#: All other kinds are allowed nowhere.
ALLOWED: dict[Level, frozenset[Kind]] = {
    Level.AUTOCOMMIT: frozenset({Kind.G2_ITEM}),
    Level.SNAPSHOT: frozenset({Kind.G2_ITEM}),
    Level.READ_COMMITTED: _WEAK,
    Level.REPEATABLE_READ: _WEAK,
    Level.GUARDED: frozenset({Kind.G2_ITEM}),
    Level.SERIALIZABLE: frozenset(),
}

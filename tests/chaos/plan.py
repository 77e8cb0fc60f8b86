"""What strikes when: a schedule that depends on nothing but the seed.

Two tracks run side by side. Heavy faults take a node away from clients, or a client from its work,
or make one silent, for a while; one is over, and the cluster whole again, before the next. Light
ones end single connections, or do something at once, at chosen moments and go on all the time,
during the heavy ones as well.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Toward = Literal["server", "client"]


@dataclass(frozen=True)
class Strike:
    """One fault.

    Attributes:
        at: seconds after the start.
        kind: its name, a key of `HEAVY` or `LIGHT`.
        nodes: the names of those that it hits.
        seconds: how long it lasts; 0 for a light one.
        number: which packet or byte, of those that count, or by how many seconds a clock is wrong.
        toward: which bytes, of those that count bytes.
        process: the client process that it hits, of those in `OF_CLIENT`.
    """

    at: float
    kind: str
    nodes: tuple[str, ...]
    seconds: float = 0.0
    number: int = 0
    toward: Toward = "server"
    process: int = 0

    def __str__(self) -> str:
        words = [self.kind]
        if self.nodes:
            words.append(" and ".join(self.nodes))
        if self.kind in OF_CLIENT:
            words.append(f"of client {self.process}")
        if self.seconds:
            words.append(f"for {self.seconds:.1f} s")
        if self.kind == "cut-at":
            words.append(f"at packet {self.number}")
        elif self.kind == "cut-byte":
            words.append(f"at byte {self.number} toward the {self.toward}")
        elif self.kind in LASTING:
            words.append(f"of {ALTERED[self.number]}")
        elif self.kind == "clock":
            words.append(f"by {self.number} s")
        return f"{self.at:6.1f} s  {' '.join(words)}"


@dataclass(frozen=True)
class Heavy:
    """How long a heavy fault lasts, and how long it may take until the cluster is whole again.

    Attributes:
        shortest, longest, recovery: seconds.
        both: seconds at most if it hits two nodes at once; 0: it never does, since the one that
            is left would have lost the quorum for longer than a moment.
        hits: which nodes: one, mostly the first; always the first; all; none, but a client.
        long: seconds at most in a run of `LONG_RUN` or more, if that is more than ``longest``.
    """

    shortest: float
    longest: float
    recovery: float
    both: float = 0.0
    hits: Literal["one", "first", "all", "none"] = "one"
    long: float = 0.0


HEAVY: dict[str, Heavy] = {
    "kill": Heavy(0.2, 3.0, 6.0),
    "freeze": Heavy(0.5, 6.0, 3.0, both=2.5),
    "stop": Heavy(1.0, 3.0, 7.0),
    "isolate": Heavy(0.5, 4.0, 4.0, both=1.5),
    "reject": Heavy(0.5, 4.0, 0.5, both=3.0),
    "hold-applier": Heavy(1.0, 2.0, 1.0),
    "black-hole": Heavy(1.0, 5.0, 0.5, both=3.0),
    "refuse": Heavy(0.5, 4.0, 0.5, both=3.0),
    "swallow-and-hang": Heavy(1.0, 3.0, 0.5),
    "late-commit": Heavy(2.0, 4.0, 0.5, hits="first"),
    "stall": Heavy(1.0, 4.0, 1.0),
    "stall-all": Heavy(1.0, 4.0, 1.0),
    "stall-desynced": Heavy(1.0, 4.0, 1.0),
    "read-only": Heavy(1.0, 4.0, 0.5, hits="first"),
    "full": Heavy(1.0, 4.0, 0.5, hits="first"),
    "cut-off": Heavy(1.0, 4.0, 0.5, hits="first"),
    "cut-off-silent": Heavy(1.0, 4.0, 0.5, hits="first"),
    "stop-all": Heavy(0.5, 1.5, 12.0, hits="all"),
    "client-kill": Heavy(0.2, 1.0, 3.0, hits="none"),
    "client-freeze": Heavy(1.0, 6.0, 0.5, hits="none", long=60.0),
    "clock": Heavy(1.0, 5.0, 0.5, hits="none"),
}
LIGHT = (
    "cut", "cut-at", "swallow-commit", "swallow-write", "drop-commit",
    "cut-byte", "interrupt", "lose-markers", "alter-index", "alter-column", "lag",
)  # fmt: skip

#: They strike only where they are asked for: with others beside them, not all can be well.
HARSH = frozenset({
    "lose-markers",  # the outcome of a COMMIT whose answer is lost then is not known
    "stall-all",  # a server that leaves as inconsistent lets wsrep_sync_wait pass (seen: 10.11.19)
    "stall-desynced",  # once a write was lost when its node then left the cluster
    "alter-index", "alter-column",  # 1213 is not run again where a SELECT or a CALL writes
})  # fmt: skip
DEFAULT = tuple(kind for kind in (*HEAVY, *LIGHT) if kind not in HARSH)

#: They hit one client process, on its way to a node or itself.
OF_CLIENT = frozenset({
    "cut-at", "swallow-commit", "swallow-write", "drop-commit", "cut-byte", "interrupt",
    "full", "cut-off", "cut-off-silent", "client-kill", "client-freeze", "clock",
})  # fmt: skip

LASTING = frozenset({"alter-index", "alter-column"})  # light ones that take their time

BOTH = 0.2  # the part of the faults that may hit two nodes which does
FIRST = 1.5  # seconds before anything strikes
CALM = (0.5, 2.5)  # seconds between two heavy faults
BETWEEN = (0.1, 1.0)  # seconds between two light ones
LONG_RUN = 300.0  # seconds
ALTERED = ("chaos_entry", "chaos_page", "chaos_counter", "chaos_transfer")
PACKETS = 60
BYTES = 6000
WRONG_BY = (-86_400, -3_600, -30, 30, 3_600, 86_400)  # seconds


def schedule(
    seed: int, seconds: float, nodes: Sequence[str], kinds: Sequence[str], processes: int = 1
) -> list[Strike]:
    """Everything that strikes, in order of time.

    Args:
        seed: the same seed and arguments, the same schedule.
        seconds: nothing lasts longer than that, recovery included.
        nodes: names; the first is hit most often.
        kinds: of `HEAVY` and `LIGHT`.
        processes: how many client processes there are.
    """
    heavy = [kind for kind in HEAVY if kind in kinds]
    light = [kind for kind in LIGHT if kind in kinds]
    strikes = list(_heavy(random.Random(f"heavy {seed}"), seconds, nodes, heavy))
    strikes += _light(random.Random(f"light {seed}"), seconds, nodes, light)
    clients = random.Random(f"clients {seed}")
    return [
        replace(strike, process=clients.randrange(processes))
        for strike in sorted(strikes, key=lambda strike: strike.at)
    ]


def _heavy(
    rng: random.Random, seconds: float, nodes: Sequence[str], kinds: Sequence[str]
) -> Iterator[Strike]:
    at = FIRST
    for kind in _deck(rng, kinds):
        limits = HEAVY[kind]
        hit = _hit(rng, nodes, limits)
        longest = limits.both if limits.hits == "one" and len(hit) > 1 else limits.longest
        if seconds >= LONG_RUN:
            longest = max(longest, limits.long)
        lasts = round(rng.uniform(min(limits.shortest, longest), longest), 2)
        if at + lasts + limits.recovery > seconds:
            return
        number = rng.choice(WRONG_BY) if kind == "clock" else 0
        yield Strike(round(at, 2), kind, hit, lasts, number)
        at += lasts + limits.recovery + rng.uniform(*CALM)


def _hit(rng: random.Random, nodes: Sequence[str], limits: Heavy) -> tuple[str, ...]:
    """The nodes that a heavy fault hits."""
    if limits.hits != "one":
        return tuple(nodes[: {"none": 0, "first": 1, "all": len(nodes)}[limits.hits]])
    return _choose(rng, nodes, 2 if limits.both and rng.random() < BOTH else 1)


def _light(
    rng: random.Random, seconds: float, nodes: Sequence[str], kinds: Sequence[str]
) -> Iterator[Strike]:
    at = FIRST
    for kind in _deck(rng, kinds):
        if at > seconds:
            return
        number, toward = _where(rng, kind)
        hit = () if kind == "interrupt" else _choose(rng, nodes[kind == "lag" :], 1)
        yield Strike(round(at, 2), kind, hit, number=number, toward=toward)
        at += rng.uniform(*BETWEEN)


def _where(rng: random.Random, kind: str) -> tuple[int, Toward]:
    """The packet or the byte that a light fault waits for, and in which direction."""
    if kind == "cut-at":
        return rng.randint(1, PACKETS), "server"
    if kind == "cut-byte":
        toward: Toward = "server" if rng.random() < 0.5 else "client"
        return rng.randint(1, BYTES), toward
    if kind in LASTING:
        return rng.randrange(len(ALTERED)), "server"
    return 0, "server"


def _deck(rng: random.Random, kinds: Sequence[str]) -> Iterator[str]:
    """Every kind once in random order, and again, for ever; nothing if there is none."""
    while kinds:
        yield from rng.sample(kinds, len(kinds))


def _choose(rng: random.Random, nodes: Sequence[str], count: int) -> tuple[str, ...]:
    """Different nodes; each has half the chance of the one before."""
    left, chosen = list(nodes), []
    for _ in range(count):
        weights = [0.5**position for position in range(len(left))]
        chosen.append(rng.choices(left, weights)[0])
        left.remove(chosen[-1])
    return tuple(sorted(chosen))

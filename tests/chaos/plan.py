"""What strikes when: a schedule that depends on nothing but the seed.

Two tracks run side by side. Heavy faults take a node away, or make it silent, for a while; one is
over, and the cluster whole again, before the next. Light ones end single connections at chosen
moments and go on all the time, during the heavy ones as well.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Strike:
    """One fault.

    Attributes:
        at: seconds after the start.
        kind: its name, a key of `HEAVY` or `LIGHT`.
        nodes: the names of those that it hits.
        seconds: how long it lasts; 0 for a light one.
        number: which packet, of those that count packets.
    """

    at: float
    kind: str
    nodes: tuple[str, ...]
    seconds: float = 0.0
    number: int = 0

    def __str__(self) -> str:
        lasts = f" for {self.seconds:.1f} s" if self.seconds else ""
        packet = f" at packet {self.number}" if self.number else ""
        return f"{self.at:6.1f} s  {self.kind} {' and '.join(self.nodes)}{lasts}{packet}"


@dataclass(frozen=True)
class Heavy:
    """How long a heavy fault lasts, and how long it may take until the cluster is whole again.

    ``both``: seconds at most if it hits two nodes at once; 0: it never does, since the one that
    is left would have lost the quorum for longer than a moment.
    """

    shortest: float
    longest: float
    recovery: float
    both: float = 0.0


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
}
LIGHT = ("cut", "cut-at", "swallow-commit", "swallow-write", "drop-commit")

BOTH = 0.2  # the part of the faults that may hit two nodes which does
FIRST = 1.5  # seconds before anything strikes
CALM = (0.5, 2.5)  # seconds between two heavy faults
BETWEEN = (0.1, 1.0)  # seconds between two light ones
PACKETS = 60


def schedule(seed: int, seconds: float, nodes: Sequence[str], kinds: Sequence[str]) -> list[Strike]:
    """Everything that strikes, in order of time.

    Args:
        seed: the same seed and arguments, the same schedule.
        seconds: nothing lasts longer than that, recovery included.
        nodes: names; the first is hit most often.
        kinds: of `HEAVY` and `LIGHT`.
    """
    heavy = [kind for kind in HEAVY if kind in kinds]
    light = [kind for kind in LIGHT if kind in kinds]
    strikes = list(_heavy(random.Random(f"heavy {seed}"), seconds, nodes, heavy))
    strikes += _light(random.Random(f"light {seed}"), seconds, nodes, light)
    return sorted(strikes, key=lambda strike: strike.at)


def _heavy(
    rng: random.Random, seconds: float, nodes: Sequence[str], kinds: Sequence[str]
) -> Iterator[Strike]:
    at = FIRST
    for kind in _deck(rng, kinds):
        limits = HEAVY[kind]
        hit = _choose(rng, nodes, 2 if limits.both and rng.random() < BOTH else 1)
        longest = limits.longest if len(hit) == 1 else limits.both
        lasts = round(rng.uniform(min(limits.shortest, longest), longest), 2)
        if at + lasts + limits.recovery > seconds:
            return
        yield Strike(round(at, 2), kind, hit, lasts)
        at += lasts + limits.recovery + rng.uniform(*CALM)


def _light(
    rng: random.Random, seconds: float, nodes: Sequence[str], kinds: Sequence[str]
) -> Iterator[Strike]:
    at = FIRST
    for kind in _deck(rng, kinds):
        if at > seconds:
            return
        number = rng.randint(1, PACKETS) if kind == "cut-at" else 0
        yield Strike(round(at, 2), kind, _choose(rng, nodes, 1), number=number)
        at += rng.uniform(*BETWEEN)


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

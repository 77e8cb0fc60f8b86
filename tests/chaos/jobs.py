"""What an operation is; `workloads` enters each kind into the table `KINDS`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db import transaction

from galera_router import galera_atomic
from tests.chaos.bank import How
from tests.chaos.config import SHARED

SAFE: tuple[How, ...] = ("relative", "locked")
_GUARDED: tuple[How, ...] = (*SAFE, "read")


@dataclass
class Job:
    """One operation, chosen.

    Attributes:
        expect: (table, token) of each row that it leaves if it is done, and not otherwise.
        run: does it; returns "table token" and the key that it was told.
        runs: how often it ran, counted by itself.
    """

    expect: list[tuple[str, str]]
    run: Callable[[], dict[str, int]]
    runs: int = 0


@dataclass
class Client:
    """What one thread has of its own: its dice, its rows, what it has written last."""

    number: int
    rng: random.Random
    guarded: bool
    written: list[str] = field(default_factory=list)

    @property
    def hows(self) -> tuple[How, ...]:
        """The ways to make a transfer that lose nothing."""
        return _GUARDED if self.guarded else SAFE

    @property
    def own(self) -> int:
        """The key of the counter and of the page that no other client changes."""
        return SHARED + 1 + self.number

    def counter(self) -> int:
        return self.rng.choice((self.own, self.rng.randint(1, SHARED)))

    def page(self) -> int:
        return self.rng.randint(1, SHARED)


Maker = Callable[[Client, str], Job]


@dataclass(frozen=True)
class Kind:
    """A kind of operation.

    ``block``: a plain with block, in which a conflict may reach the application.
    ``guarded``: it loses updates unless the router guards against that.
    """

    make: Maker
    weight: int
    block: bool
    guarded: bool


KINDS: dict[str, Kind] = {}


def kind(
    name: str, weight: int, *, block: bool = False, guarded: bool = False
) -> Callable[[Maker], Maker]:
    """Enter a kind of operation into the table."""

    def enter(make: Maker) -> Maker:
        KINDS[name] = Kind(make, weight, block, guarded)
        return make

    return enter


def in_function(expect: list[tuple[str, str]], body: Callable[[], dict[str, int]]) -> Job:
    """``body`` as a function under `galera_atomic`, which may run again."""
    job = Job(expect, dict)

    @galera_atomic
    def function() -> dict[str, int]:
        job.runs += 1
        return body()

    job.run = function
    return job


def in_block(expect: list[tuple[str, str]], body: Callable[[], dict[str, int]]) -> Job:
    """``body`` in a plain ``with transaction.atomic()``, which runs once."""

    def run() -> dict[str, int]:
        with transaction.atomic():
            return body()

    return Job(expect, run, runs=1)


def choose(client: Client, wanted: tuple[str, ...]) -> str:
    """A kind by weight; where some are ``wanted``, one of these."""
    names = [
        name
        for name, kind in KINDS.items()
        if (name in wanted or not wanted) and (client.guarded or not kind.guarded)
    ]
    return client.rng.choices(names, [KINDS[name].weight for name in names])[0]

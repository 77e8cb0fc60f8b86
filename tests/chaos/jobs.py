"""What an operation is; `workloads` enters each kind into the table `KINDS`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from galera_router import galera_atomic
from tests.chaos.bank import How
from tests.chaos.config import ACCOUNTS, SHARED

SAFE: tuple[How, ...] = ("relative", "locked")
_GUARDED: tuple[How, ...] = (*SAFE, "read")

#: (table, token) of rows.
Rows = list[tuple[str, str]]
Body = Callable[[], dict[str, int]]


@dataclass
class Job:
    """One operation, chosen.

    Attributes:
        expect: of each row that it leaves if it is done, and not otherwise.
        run: does it; returns "table token" and the key that it was told.
        runs: how often it ran, counted by itself.
        may: of each row that it leaves if it is done and has won it.
        won: those that it was told to have won, known when it has run.
        removes: of each row, of this client, that is gone if it is done, and not otherwise.
        reads: what its answers depend on: a table, or "table row".
        writes: what it changes, in the same words.
        after: called when it is known whether it was done.
        atomic: it is one transaction, so all of its rows are there or none.
    """

    expect: Rows
    run: Body
    runs: int = 0
    may: Rows = field(default_factory=list)
    won: Rows = field(default_factory=list)
    removes: Rows = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    after: Callable[[bool], None] = lambda done: None
    atomic: bool = False


@dataclass
class Basket:
    """A basket of this client's, as it was told: its links and items by what they hold."""

    token: str
    labels: set[int] = field(default_factory=set)
    used: set[int] = field(default_factory=set)
    items: list[str] = field(default_factory=list)

    def links(self, labels: set[int]) -> Rows:
        """Their names; a label is put into a basket once only, so that each is found once."""
        return [("link", f"{self.token}/{label}") for label in sorted(labels)]


@dataclass
class Client:
    """What one thread has of its own: its dice, its rows, what it has written last.

    ``alone``: it works on rows of its own only.
    """

    number: int
    rng: random.Random
    guarded: bool
    alone: bool = False
    accounts: range = range(1, ACCOUNTS + 1)
    written: list[str] = field(default_factory=list)
    baskets: list[Basket] = field(default_factory=list)
    papers: list[str] = field(default_factory=list)
    row: str = ""  # that it has written last, see `operations.histories`
    sessions: int = 0  # how often its reads were allowed to begin anew, as there

    @property
    def hows(self) -> tuple[How, ...]:
        """The ways to make a transfer that lose nothing."""
        return _GUARDED if self.guarded else SAFE

    @property
    def own(self) -> int:
        """The key of the counter and of the page that no other client changes."""
        return SHARED + 1 + self.number

    def shared(self, highest: int = SHARED) -> int:
        """The key of a counter or a page that all clients change, unless each is to be alone."""
        return self.own if self.alone else self.rng.randint(1, highest)

    def counter(self) -> int:
        return self.rng.choice((self.own, self.shared()))

    def page(self) -> int:
        return self.shared()

    def name(self, shared: str) -> str:
        """A unique name that others may use at the same time, unless each is to be alone."""
        return f"{self.number}:{shared}" if self.alone else shared


Maker = Callable[[Client, str], Job]


@dataclass(frozen=True)
class Kind:
    """A kind of operation.

    Attributes:
        block: a plain with block, in which a conflict may reach the application.
        guarded: it loses updates unless the router guards against that.
        loose: it has what no failover can move, so FailoverImpossible is an answer, and so is the
            error of a server that takes no writes, and CommitOutcomeUnknown to a COMMIT that is
            lost.
        why_not: why it is run only if it is asked for. "": it is run.
    """

    make: Maker
    weight: float
    block: bool = False
    guarded: bool = False
    loose: bool = False
    why_not: str = ""


KINDS: dict[str, Kind] = {}


def kind(name: str, weight: float, **more: Any) -> Callable[[Maker], Maker]:
    """Enter a kind of operation into the table; ``more`` is for `Kind`."""

    def enter(make: Maker) -> Maker:
        KINDS[name] = Kind(make, weight, **more)
        return make

    return enter


def in_function(expect: Rows, body: Body, **more: Any) -> Job:
    """``body`` as a function under `galera_atomic`, which may run again; ``more`` is for `Job`."""
    job = Job(expect, dict, atomic=True, **more)

    @galera_atomic
    def function() -> dict[str, int]:
        job.runs += 1
        job.won.clear()
        return body()

    job.run = function
    return job


def in_block(expect: Rows, body: Body, **more: Any) -> Job:
    """``body`` in a plain ``with transaction.atomic()``, which runs once."""

    def run() -> dict[str, int]:
        with transaction.atomic():
            return body()

    return Job(expect, run, runs=1, atomic=True, **more)


def choose(client: Client, wanted: tuple[str, ...], hard: bool = False) -> str:
    """A kind by weight; where some are ``wanted``, one of these, else also the ``hard`` ones."""
    names = [
        name
        for name, kind in KINDS.items()
        if (name in wanted or not (wanted or kind.why_not) or (hard and not wanted))
        and (client.guarded or not kind.guarded)
    ]
    return client.rng.choices(names, [KINDS[name].weight for name in names])[0]

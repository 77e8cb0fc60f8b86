"""Random histories: serializable ones, and the same with one anomaly planted in them.

A serial execution is simulated, in which each transaction takes effect at one moment between its
begin and its end. Readers may be behind, as on a secondary, but never behind what their session
has seen or their token names.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from tests.history.history import (
    Append,
    History,
    Op,
    Outcome,
    ReadList,
    ReadValue,
    Transaction,
    Write,
)
from tests.history.levels import Kind, Level
from tests.history.planted import PLANTED
from tests.history.written import parse

State = dict[str, tuple[str, ...]]  # a register is the list of all that it has been

OUTCOMES: tuple[Outcome, ...] = ("committed", "aborted", "unknown")


@dataclass
class _Simulation:
    rng: random.Random
    sessions: int
    lists: list[str]
    registers: list[str]
    states: list[State] = field(default_factory=lambda: [{}])
    clock: list[float] = field(default_factory=list)  # by session: the end of its last one
    floor: list[int] = field(default_factory=list)  # by session: the state that it has seen
    effects: dict[str, int] = field(default_factory=dict)  # the state that each has left
    transactions: list[Transaction] = field(default_factory=list)
    values: int = 0

    def __post_init__(self) -> None:
        self.clock = [0.0] * self.sessions
        self.floor = [0] * self.sessions

    def step(self, now: float) -> None:
        """One transaction, which takes effect at ``now``, or not at all."""
        session = self.rng.randrange(self.sessions)
        only_reads = self.rng.random() < 0.4
        outcome: Outcome = self.rng.choices(OUTCOMES, (12, 1, 1))[0]
        done = outcome == "committed" or (outcome == "unknown" and self.rng.random() < 0.5)
        after = self._tokens()
        at = len(self.states) - 1
        if only_reads:
            floor = max([self.floor[session], *(self.effects[name] for name in after)])
            at = self.rng.randint(floor, at)
        state = dict(self.states[at])
        ops = tuple(self._ops(state, only_reads))
        name = f"t{len(self.transactions)}"
        if done and not only_reads:
            self.states.append(state)
            at = len(self.states) - 1
        if outcome == "committed":
            self.effects[name] = self.floor[session] = at
        begin = self.rng.uniform(max(self.clock[session], now - 3.0), now)
        end = self.clock[session] = now + self.rng.uniform(0.0, 0.9 / 4)
        level = self.rng.choice((Level.SERIALIZABLE, Level.SERIALIZABLE, *Level))
        self.transactions.append(
            Transaction(name, f"s{session}", ops, level, outcome, begin, end, after)
        )

    def _tokens(self) -> tuple[str, ...]:
        if not self.effects or self.rng.random() < 0.8:
            return ()
        return (self.rng.choice(list(self.effects)[-6:]),)

    def _ops(self, state: State, only_reads: bool) -> list[Op]:
        ops: list[Op] = []
        for _ in range(self.rng.randint(1, 5)):
            key = self.rng.choice(self.lists + self.registers)
            if only_reads or self.rng.random() < 0.5:
                ops.append(self._read(key, state))
            else:
                if self.rng.random() < 0.5:
                    ops.append(self._read(key, state))
                ops.append(self._write(key, state))
        return ops

    def _read(self, key: str, state: State) -> Op:
        values = state.get(key, ())
        if key in self.lists:
            return ReadList(key, values)
        return ReadValue(key, values[-1] if values else None)

    def _write(self, key: str, state: State) -> Op:
        self.values += 1
        value = str(self.values)
        state[key] = (*state.get(key, ()), value)
        return Append(key, value) if key in self.lists else Write(key, value)

    def history(self) -> History:
        """What there is, with or without what the server has noted."""
        last = self.states[-1]
        told = self.rng.random() < 0.8
        noted = self.rng.random() < 0.5
        registers = {key: last.get(key, ()) for key in self.registers}
        return History(
            tuple(self.transactions),
            lists={key: last.get(key, ()) for key in self.lists} if told else {},
            registers={k: v[-1] if v else None for k, v in registers.items()} if told else {},
            orders=registers if noted else {},
        )


def serializable(seed: object, transactions: int, sessions: int = 5, keys: int = 3) -> History:
    """A history of so many transactions in which all is right; the same for the same seed."""
    rng = random.Random(f"history {seed}")
    simulation = _Simulation(
        rng, sessions, [f"x{n}" for n in range(keys)], [f"r{n}" for n in range(keys)]
    )
    for number in range(transactions):
        simulation.step(float(number))
    return simulation.history()


def small(seed: int) -> History:
    """One of up to 30 transactions."""
    rng = random.Random(f"size {seed}")
    return serializable(seed, rng.randint(3, 30), rng.randint(1, 6), rng.randint(1, 4))


def planted(seed: int, transactions: int = 300) -> tuple[Kind, History]:
    """A large serializable history with one anomaly in it, and which one."""
    rng = random.Random(f"planted {seed}")
    kind, text = PLANTED[rng.choice(list(PLANTED))]
    history = serializable(f"around {seed}", transactions, sessions=8, keys=6)
    return kind, splice(history, parse(text), rng)


def splice(history: History, other: History, rng: random.Random) -> History:
    """Put the transactions of ``other`` in between; each also reads and writes what is common.

    They keep their keys and sessions, under other names. In addition each appends to a list of
    its own, which transactions of ``history`` then read, so that all hang together.
    """
    begin = rng.uniform(0.0, max(one.end for one in history.transactions))
    mine = [_renamed(one, begin) for one in other.transactions]
    theirs = list(history.transactions)
    extra = {}
    for one in mine:
        key = f"common {one.name}"
        at = rng.randrange(len(theirs))
        reader = theirs[at]
        extra[key] = () if one.outcome == "aborted" else ("0",)
        if one.outcome == "committed" and reader.begin > one.end:
            theirs[at] = replace(reader, ops=(ReadList(key, ("0",)), *reader.ops))
    added = [
        replace(one, ops=(*one.ops, Append(f"common {one.name}", "0")))
        if one.outcome != "unknown"
        else one
        for one in mine
    ]
    return History(
        (*theirs, *added),
        lists={**history.lists, **{f"planted {k}": v for k, v in other.lists.items()},
               **{k: v for k, v in extra.items()
                  if not any(k == f"common {o.name}" and o.outcome == "unknown" for o in mine)}},
        registers={**history.registers, **{f"planted {k}": v for k, v in other.registers.items()}},
        orders={**history.orders, **{f"planted {k}": v for k, v in other.orders.items()}},
    )  # fmt: skip


def _renamed(one: Transaction, begin: float) -> Transaction:
    return replace(
        one,
        name=f"planted {one.name}",
        session=f"planted {one.session}",
        ops=tuple(replace(op, key=f"planted {op.key}") for op in one.ops),
        begin=one.begin + begin,
        end=one.end + begin,
        after=tuple(f"planted {name}" for name in one.after),
    )

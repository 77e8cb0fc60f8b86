"""Lists that are appended to, and registers: what is read and written goes into a history.

Keys are used for a few seconds, and then others, so that lists stay short and are yet shared.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Concat

import galera_router
from galera_router import galera_atomic
from galera_router.transactions.sessions import session_of
from tests.chaos import requests, views
from tests.chaos.bank import expect_equal
from tests.chaos.histories import Accounts, Token, values
from tests.chaos.jobs import Client, Job, kind
from tests.chaos.models import Register, Series
from tests.chaos.settings import CONFIG
from tests.history.history import Append, Op, ReadList, ReadValue, Write
from tests.history.levels import Level

KEYS = 10  # at a time
ROWS = 2_000
LASTS = 2.0  # seconds that a key is used
BEFORE = 0.1  # the part of the steps that look at the keys from before
BACK = 0.6  # the part of the chances to look at what was just written that are taken
HANDED = 0.4  # the part of the operations that are given a token, and of those that leave one

accounts = Accounts()


@dataclass(frozen=True)
class Step:
    """One step of a programme: ``how`` is a method of `Programme`."""

    how: str
    key: int
    value: str = ""

    @property
    def row(self) -> str:
        return f"{'series' if self.how in LISTS else 'register'} {self.key}"

    @property
    def op(self) -> Op | None:
        """What it writes, if it does."""
        if not self.value:
            return None
        return Append(f"list {self.key}", self.value) if self.how in LISTS else Write(
            f"register {self.key}", self.value
        )  # fmt: skip


LISTS = ("look", "append", "append_locked", "append_read")
GUARDED = ("append_read", "put_read")  # they lose updates without the guard
REGISTERS = ("peek", "put", "put_locked", "put_read")


def _is_on_primary() -> bool:
    """Returns True if the open transaction is there: its place writes, or nothing else is up."""
    session = session_of("default")
    return session is not None and session.transaction_begun


class Programme:
    """Runs steps, and notes what each has read and written."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.ahead: int | None = None  # what came before the first lock, or was on a secondary
        self.on_primary = False  # it has read there
        self.runs = 0

    def run(self, steps: list[Step]) -> None:
        self.ops, self.ahead, self.on_primary = [], None, False
        self.runs += 1
        for step in steps:
            before = len(self.ops)
            getattr(self, step.how)(step)
            if self.ahead is None and (step.how.endswith("locked") or _is_on_primary()):
                self.ahead, self.on_primary = before, True

    # --- lists

    def look(self, step: Step) -> None:
        self._list(Series.objects.get(pk=step.key))

    def append(self, step: Step) -> None:
        """In the server."""
        body = Concat(F("body"), Value(f",{step.value}"))
        expect_equal("lists", Series.objects.filter(pk=step.key).update(body=body), 1)
        self.ops.append(Append(f"list {step.key}", step.value))

    def append_locked(self, step: Step) -> None:
        self._extend(Series.objects.select_for_update().get(pk=step.key), step.value)

    def append_read(self, step: Step) -> None:
        """Read, extend, save: without the guard, this loses what others have appended."""
        self._extend(Series.objects.get(pk=step.key), step.value)

    def _extend(self, row: Series, value: str) -> None:
        self._list(row)
        row.body += f",{value}"
        row.save()
        self.ops.append(Append(f"list {row.pk}", value))

    def _list(self, row: Series) -> None:
        self.ops.append(ReadList(f"list {row.pk}", values(row.body)))

    # --- registers

    def peek(self, step: Step) -> None:
        self._value(Register.objects.get(pk=step.key))

    def put(self, step: Step) -> None:
        """Whatever it was."""
        changed = Register.objects.filter(pk=step.key).update(value=step.value)
        expect_equal("registers", changed, 1)
        self.ops.append(Write(f"register {step.key}", step.value))

    def put_locked(self, step: Step) -> None:
        self._set(Register.objects.select_for_update().get(pk=step.key), step.value)

    def put_read(self, step: Step) -> None:
        self._set(Register.objects.get(pk=step.key), step.value)

    def _set(self, row: Register, value: str) -> None:
        self._value(row)
        row.value = value
        row.save(update_fields=["value"])
        self.ops.append(Write(f"register {row.pk}", value))

    def _value(self, row: Register) -> None:
        self.ops.append(ReadValue(f"register {row.pk}", row.value or None))


@dataclass
class Plan:
    """One operation: its steps, in what, and with whose token.

    Attributes:
        token: the operation's name.
        session: see `tests.history.history.Transaction`.
        given: the token that it is given; None: none.
        leaves: it leaves a token for others.
    """

    client: Client
    token: str
    steps: list[Step]
    session: str
    given: Token | None
    leaves: bool
    job: Job = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.token
        self.account = accounts.of(Path(CONFIG.folder), self.token.rpartition(".")[0])
        rows = [step.row for step in self.steps]
        writes = [step.row for step in self.steps if step.value]
        self.job = Job([], dict, reads=rows, writes=writes)

    @property
    def level(self) -> Level:
        if not any(step.value or step.how.endswith("locked") for step in self.steps):
            return Level.SNAPSHOT
        return Level.GUARDED if self.client.guarded else Level.READ_COMMITTED

    def in_transaction(self, run: Callable[[Callable[[], None]], None]) -> Job:
        """All steps in one transaction, which ``run`` makes of what it is given."""
        programme = Programme()

        def body() -> None:
            self.job.runs += 1
            programme.run(self.steps)

        def whole() -> dict[str, int]:
            self._begin(self.name, self.level, self.steps)
            with galera_router.after(self.given.text if self.given else None):
                run(body)
                self._end(self.name, programme)
                self._leave(self.name, self.steps)
            return {}

        self.job.run = whole
        return self.job

    def in_autocommit(self) -> Job:
        """Each step a transaction of its own."""

        def whole() -> dict[str, int]:
            with galera_router.after(self.given.text if self.given else None):
                for number, step in enumerate(self.steps):
                    programme, name = Programme(), f"{self.token}:{number}"
                    self._begin(name, Level.AUTOCOMMIT, [step])
                    programme.run([step])
                    self._end(name, programme)
                    self._leave(name, [step])
            return {}

        self.job.run, self.job.runs = whole, 1
        return self.job

    def in_request(self) -> Job:
        """All steps in a view; the tokens travel in its headers."""
        programme = Programme()

        def whole() -> dict[str, int]:
            self._begin(self.name, self.level, self.steps)
            try:
                given = "" if self.given is None else self.given.text
                left = requests.run(lambda: programme.run(self.steps), given)
            finally:
                self.job.runs = views.runs.count
            self._end(self.name, programme)
            if left:
                self.account.publish(Token(self.name, left, _written(self.steps)))
            return {}

        self.job.run = whole
        return self.job

    def _begin(self, name: str, level: Level, steps: list[Step]) -> None:
        plan = [op for step in steps if (op := step.op)]
        self.account.begin(name, self.session, level, plan, self.given)

    def _end(self, name: str, programme: Programme) -> None:
        """On the primary, and so in a second run from its first read on, there is no snapshot."""
        again = programme.runs > 1
        weak = (again or programme.on_primary) and not self.client.guarded
        level = Level.READ_COMMITTED if weak else None
        ahead = 0 if again else programme.ahead
        self.account.end(name, programme.ops, level, ahead)
        self.client.row = _written(self.steps) or self.client.row

    def _leave(self, name: str, steps: list[Step]) -> None:
        """Leave a token of a transaction that has written, to be seen by whoever takes it."""
        if not self.leaves or not any(step.value for step in steps):
            return
        if text := galera_router.causal_token():
            self.account.publish(Token(name, text, _written(steps)))


def _written(steps: list[Step]) -> str:
    """A row that they write; "" if they only read."""
    return next((step.row for step in steps if step.value), "")


def plan(client: Client, token: str, hows: tuple[str, ...], *, request: bool = False) -> Plan:
    """Choose what to do.

    Args:
        hows: how to read, and ways to write.
        request: it is run by a view.
    """
    rng = client.rng
    if not client.guarded:
        hows = tuple(how for how in hows if how not in GUARDED)
    count = rng.choice((1, 2, 2, 3))
    steps = [_step(rng, f"{token}/{number}", hows, client) for number in range(count)]
    given = _given(client, token)
    _look_back(rng, steps, client.row if given is None else given.row, hows[0])
    return Plan(client, token, steps, _session(client, token, request),
                given, rng.random() < HANDED)  # fmt: skip


def _look_back(rng: random.Random, steps: list[Step], row: str, how: str) -> None:
    """Often begin with what was written last, and read what has just been written."""
    if row.startswith(steps[0].row.split()[0]) and rng.random() < BACK:
        steps[0] = Step(how, int(row.split()[1]))
    for number, (one, other) in enumerate(pairwise(steps), start=1):
        if one.value and not other.value and rng.random() < BACK:
            steps[number] = Step(how, one.key)


def _step(rng: random.Random, value: str, hows: tuple[str, ...], client: Client) -> Step:
    window = int(time.monotonic() / LASTS) - (rng.random() < BEFORE)
    key = window * KEYS % ROWS + rng.randrange(KEYS) + 1
    if client.alone:
        key = client.number + 1
    how = hows[0] if rng.random() < 0.5 else rng.choice(hows[1:])
    return Step(how, key, "" if how == hows[0] else value)


def _session(client: Client, token: str, request: bool) -> str:
    """Threads that are no web server are one session, which a request to the site interrupts."""
    name, _, _ = token.rpartition(".")
    if request or int(name.partition(".")[2]) % 2 == 0:  # as in `client.Worker`
        client.sessions += 1
        return f"request {token}"
    return f"{name}, part {client.sessions}"


def _given(client: Client, token: str) -> Token | None:
    account = accounts.of(Path(CONFIG.folder), token.rpartition(".")[0])
    if client.alone or client.rng.random() > HANDED:
        return None
    if account.own is not None and client.rng.random() < 0.5:
        return account.own
    return account.await_token()


def _in_function(body: Callable[[], None]) -> None:
    galera_atomic(body)()


def _in_block(body: Callable[[], None]) -> None:
    with transaction.atomic():
        body()


@kind("append", 2)
def append(client: Client, token: str) -> Job:
    return plan(client, token, LISTS).in_transaction(_in_function)


@kind("append in a block", 1, block=True)
def append_in_block(client: Client, token: str) -> Job:
    return plan(client, token, LISTS).in_transaction(_in_block)


@kind("append in a request", 1)
def append_in_request(client: Client, token: str) -> Job:
    return plan(client, token, LISTS, request=True).in_request()


@kind("append in autocommit", 1)
def append_in_autocommit(client: Client, token: str) -> Job:
    return plan(client, token, LISTS[:2]).in_autocommit()


@kind("registers", 2)
def registers(client: Client, token: str) -> Job:
    return plan(client, token, REGISTERS).in_transaction(_in_function)


@kind("registers in a block", 1, block=True)
def registers_in_block(client: Client, token: str) -> Job:
    return plan(client, token, REGISTERS).in_transaction(_in_block)


@kind("registers in a request", 1)
def registers_in_request(client: Client, token: str) -> Job:
    return plan(client, token, REGISTERS, request=True).in_request()


@kind("registers in autocommit", 1)
def registers_in_autocommit(client: Client, token: str) -> Job:
    return plan(client, token, REGISTERS[:2]).in_autocommit()


@kind("both", 2)
def both(client: Client, token: str) -> Job:
    """Lists and registers in one transaction."""
    chosen = plan(client, token, LISTS)
    chosen.steps += plan(client, f"{token}/r", REGISTERS).steps
    return Plan(client, token, chosen.steps, chosen.session, chosen.given,
                chosen.leaves).in_transaction(_in_function)  # fmt: skip

"""KILL QUERY, as an operator's tool sends it, at any moment of a statement."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field

import MySQLdb
import pytest
from django.db import DatabaseError, OperationalError, transaction
from django.db.models import Func

from galera_router.connections.connection import NodeConnection
from galera_router.exceptions import CommitOutcomeUnknown
from galera_router.testing import GaleraNode
from galera_router.testing.admin import open_connection
from tests.faults.known import both
from tests.faults.server import tags
from tests.faults.support import EitherShop
from tests.shop.models import Tag

SECONDS = 10.0
SLOW = Func(2, function="SLEEP")
LIMIT = 8.0  # seconds that a statement may take


@dataclass
class Victim:
    """The thread whose statements are ended.

    Attributes:
        number: its connection's; 0 if it has none.
        since: when its work at hand has begun (monotonic seconds).
        told: what became of each of its writes.
        longest: seconds that one has taken.
    """

    number: int = 0
    since: float = float("inf")
    told: dict[str, str] = field(default_factory=dict)
    longest: float = 0.0

    def run(self, shop: EitherShop, work: Callable[[str], None]) -> None:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            name, self.since = uuid.uuid4().hex[:20], time.monotonic()
            try:
                work(name)
                self.told[name] = "done"
            except CommitOutcomeUnknown:
                self.told[name] = "unknown"
            except DatabaseError as error:
                self.told[name] = repr(error)
            self.longest = max(self.longest, time.monotonic() - self.since)
            self.number = shop.session.primary.thread_id if shop.session.primary else 0
        self.since = float("inf")


def kill(node: GaleraNode, victim: Victim, done: threading.Event) -> None:
    """End the victim's statements, not too long after it has begun one."""
    rng = random.Random(1)
    with closing(open_connection(node.socket)) as server:
        while not done.wait(rng.random() * 0.003):
            if victim.number and time.monotonic() - victim.since < 0.02:
                with suppress(MySQLdb.Error):
                    server.query(f"KILL QUERY {victim.number}")


def create(name: str) -> None:
    Tag.objects.create(name=name)


def block(name: str) -> None:
    with transaction.atomic():
        Tag.objects.create(name=name)


@both(stock=False)
@pytest.mark.parametrize("work", [create, block])
def test_what_is_told_is_true_and_nothing_hangs(
    shop: EitherShop, work: Callable[[str], None]
) -> None:
    shop.warm()
    victim, done = Victim(), threading.Event()
    killer = threading.Thread(target=kill, args=(shop.galera["db1"], victim, done))
    killer.start()
    try:
        victim.run(shop, work)
    finally:
        done.set()
        killer.join()
    there = set(tags(shop))
    assert [n for n, told in victim.told.items() if told == "done" and n not in there] == []
    wrong = {n: t for n, t in victim.told.items() if t not in {"done", "unknown"} and n in there}
    assert wrong == {}
    assert victim.longest < LIMIT


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """These statements are carried out, and answered with 1317."""
    wanted: list[bytes] = []
    original = NodeConnection.query

    def query(self: NodeConnection, statement: bytes) -> None:
        original(self, statement)
        if statement in wanted:
            wanted.remove(statement)
            raise MySQLdb.OperationalError(1317, "Query execution was interrupted")

    monkeypatch.setattr(NodeConnection, "query", query)
    return wanted


@both(stock=False)
def test_a_commit_that_was_carried_out_is_told_as_one(
    shop: EitherShop, behind: list[bytes]
) -> None:
    shop.warm()
    create("before")
    behind.append(b"COMMIT")
    block("one")
    assert behind == []
    block("two")
    assert tags(shop) == ["before", "one", "two"]


@both(stock=False)
def test_without_a_marker_nobody_knows(shop: EitherShop, behind: list[bytes]) -> None:
    shop.configure(OPTIONS={"commit_marker": False})
    shop.warm()
    behind.append(b"COMMIT")
    with pytest.raises(CommitOutcomeUnknown):
        block("one")
    assert tags(shop) == ["one"]


@both(stock=False)
def test_a_statement_that_was_not_is_told_as_interrupted(shop: EitherShop) -> None:
    shop.configure(OPTIONS={"init_command": "SET SESSION max_statement_time = 0.3"})
    shop.warm()
    create("before")
    for work in (Tag.objects.update, transaction.atomic(Tag.objects.update)):
        with pytest.raises(OperationalError) as told:
            work(name=SLOW)
        assert told.value.args[0] == 1969
    create("after")
    assert tags(shop) == ["after", "before"]

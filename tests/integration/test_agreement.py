"""Processes that know nothing of each other agree on every node's state within one question."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
from django.db import DatabaseError

from galera_router.cluster import monitor
from galera_router.cluster.failback import move
from galera_router.cluster.monitor import NodeMonitor
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.registry import cluster_of
from galera_router.testing import GaleraNode
from galera_router.transactions.sessions import session_of
from tests.faults.children import Child
from tests.integration import support
from tests.integration.support import Shop, wait_until
from tests.shop.models import Tag

ALL_WELL = {"db1": "well", "db2": "well", "db3": "well"}
LONGEST = 20.0  # seconds for all questions together
EVERY = 0.5  # seconds between two questions

#: What a question of this process has found out, and how often each node was asked.
State = tuple[dict[str, str], str | None]
_asked: Counter[str] = Counter()


# --- in a process of its own --------------------------------------------------------------


def begin() -> None:
    """Ask often, and count the questions that have been answered or given up."""
    monitor.ASK_WELL = monitor.ASK_ILL = EVERY
    judge = NodeMonitor._judge

    def counted(self: NodeMonitor, asked: Any, *args: Any) -> None:
        judge(self, asked, *args)
        if asked.at.now > _since:
            _asked[self.node.name] += 1

    NodeMonitor._judge = counted  # type: ignore[method-assign, assignment]


_since = 0.0


def state_after(questions: int, writes: bool) -> State:
    """How every node is when it has been asked so often from now on, and who is the primary."""
    global _since
    cluster = cluster_of("default")
    assert cluster is not None
    _since = time.monotonic()
    _asked.clear()
    names, until = [node.name for node in cluster.nodes], time.monotonic() + LONGEST
    while min(_asked[name] for name in names) < questions:
        assert time.monotonic() < until, f"asked: {dict(_asked)}"
        _work(writes)
        time.sleep(0.02)
    return _state(cluster)


def _work(writes: bool) -> None:
    """Nodes are asked only by processes that use them."""
    try:
        Tag.objects.exists()
        if writes:
            Tag.objects.create(name="x")
    except DatabaseError:
        pass  # how the application fares is not the question here


def _state(cluster: Cluster) -> State:
    leader = cluster.epochs.leader
    name = None if leader is None else leader.name
    return {node.name: _word(node) for node in cluster.nodes}, name


def _word(node: Node) -> str:
    if not node.up:
        return "down"
    return node.refusal or ("well" if node.well else "not in step")


# --- what is done to a node ---------------------------------------------------------------


def _has_left(other: GaleraNode) -> bool:
    """Returns True if ``other`` is a member of a component of two."""
    return other.is_synced() and other.status()["wsrep_cluster_size"] == "2"


@contextmanager
def killed(shop: Shop, node: GaleraNode) -> Iterator[None]:
    node.kill()
    wait_until(lambda: all(_has_left(other) for other in shop.galera.nodes if other is not node))
    yield


@contextmanager
def frozen(shop: Shop, node: GaleraNode) -> Iterator[None]:
    node.freeze()
    wait_until(lambda: all(_has_left(other) for other in shop.galera.nodes if other is not node))
    yield


@contextmanager
def refusing(shop: Shop, node: GaleraNode) -> Iterator[None]:
    node.reject_queries()
    yield


@contextmanager
def read_only(shop: Shop, node: GaleraNode) -> Iterator[None]:
    node.query("SET GLOBAL read_only = 1")
    yield
    node.query("SET GLOBAL read_only = 0")


@contextmanager
def desynced(shop: Shop, node: GaleraNode) -> Iterator[None]:
    node.query("SET GLOBAL wsrep_desync = 1")
    yield
    node.query("SET GLOBAL wsrep_desync = 0")


def full(shop: Shop, node: GaleraNode) -> AbstractContextManager[None]:
    """It takes no new connections, and keeps those that it has."""
    return support.full(shop.galera, node, beyond=support.FEW)


Strike = Callable[[Shop, GaleraNode], AbstractContextManager[None]]


def ask(people: list[Child], questions: int) -> list[State]:
    """What each finds out; the first one writes, the others read."""
    with ThreadPoolExecutor(len(people)) as pool:
        futures = [
            pool.submit(child.call, state_after, questions, number == 0)
            for number, child in enumerate(people)
        ]
        return [(dict(states), leader) for states, leader in (f.result(60) for f in futures)]


@pytest.mark.parametrize(
    ("strike", "name", "word", "questions"),
    [
        (killed, "db3", "down", 1),
        (frozen, "db3", "down", 1),
        (refusing, "db2", "down", 1),
        (read_only, "db2", "is read-only", 1),
        # A lock of a moment, or one refusal, proves nothing: the second question does.
        (desynced, "db2", "not in step", 2),
        (full, "db2", "has no connection left", 2),
    ],
)
def test_all_processes_say_the_same_of_every_node(
    shop: Shop, strike: Strike, name: str, word: str, questions: int
) -> None:
    """The one that writes, one that reads, and one that has begun when it had happened."""
    Tag.objects.create(name="first")  # there is a primary from now on
    databases = shop.galera.databases(CONN_MAX_AGE=None, OPTIONS={"failback_delay": 0.0})
    with ExitStack() as stack:
        people = [stack.enter_context(Child(databases)) for _ in range(2)]
        for child in people:
            child.call(begin)
        assert ask(people, 1) == [(ALL_WELL, "db1")] * 2
        with strike(shop, shop.galera[name]):
            people.append(stack.enter_context(Child(databases)))
            people[-1].call(begin)
            *old, new = ask(people, questions)
            assert old == [({**ALL_WELL, name: word}, "db1")] * 2
            # A full node is down for those who have no connection to it: at their last try, or not.
            words = (word, "down") if strike is full else (word,)
            assert new in [({**ALL_WELL, name: each}, "db1") for each in words]
        shop.galera.heal()
        assert [states for states, _ in ask(people, 1)] == [ALL_WELL] * 3
        # While a node comes back, the primary may refuse for a moment, and is moved and moved back.
        wait_until(lambda: ask(people, 1) == [(ALL_WELL, "db1")] * 3, LONGEST)


def test_a_process_that_only_reads_learns_who_is_the_primary(shop: Shop) -> None:
    """And leaves it alone, wherever it is."""
    Tag.objects.create(name="first")
    shop.galera["db2"].wait_applied()
    move(shop.session.cluster.nodes[1], "a test", held=True)
    databases = shop.galera.databases(CONN_MAX_AGE=None)
    with Child(databases) as child:
        child.call(begin)
        assert child.call(state_after, 1, False) == [ALL_WELL, "db2"]
        with shop.traffic() as sent:
            child.call(read_often)
    assert sum("shop_tag" in sql for sql in sent["db1"] + sent["db3"]) == READS
    assert not any("shop_tag" in sql for sql in sent["db2"])


READS = 20


def read_often() -> None:
    """Each time as another request."""
    for _ in range(READS):
        session = session_of("default")
        assert session is not None
        session.new_request()
        Tag.objects.exists()

"""What a transaction has seen on the primary is there for the reads behind it, committed or not."""

from __future__ import annotations

import contextlib
import random
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.signals import request_started
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from MySQLdb import MySQLError

from galera_router import causal_token, reads
from galera_router.causality import scope, tokens
from galera_router.cluster.choice import Choice
from galera_router.cluster.node import Node
from galera_router.cluster.position import Mark, Position
from tests.differential.interrupts import Interrupted
from tests.faults.server import AfterAnswer
from tests.integration.causality.test_threads import by_asgiref, in_a_job, in_thread
from tests.integration.support import Shop
from tests.shop.models import Author, Shelf, Tag

LAG = 1.0


@pytest.fixture
def lagging(shop: Shop) -> Iterator[Shop]:
    """Reads go to db2, which does not hear of what db1 is about to commit for a moment."""
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port)
    shop.warm()
    Author.objects.create(name="Ann")
    assert list(Tag.objects.all()) == []
    node.hold_applier()
    timer = threading.Timer(LAG, node.release_applier)
    timer.start()
    yield shop
    timer.join()


def test_what_was_locked_in_a_block_that_is_undone(lagging: Shop) -> None:
    lagging.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
    with contextlib.suppress(ValueError), transaction.atomic():
        assert Author.objects.select_for_update().get().name == "Bob"
        raise ValueError
    assert Author.objects.get().name == "Bob"


def look() -> None:
    """Lock the author on the primary, where the name has just been changed."""
    assert Author.objects.select_for_update().get().name == "Bob"


def undone_by_a_conflict(shop: Shop) -> None:
    connection.conflict_retries = 0  # type: ignore[attr-defined]
    look()
    shop.galera["db3"].query("UPDATE galera_router.shop_author SET name = 'Bob!'")
    shop.galera["db1"].wait_applied()
    Tag.objects.count()


def interrupted(shop: Shop) -> None:
    look()
    with AfterAnswer(1):
        Tag.objects.count()


def closed(shop: Shop) -> None:
    look()
    connection.close()


def lost(shop: Shop) -> None:
    connection.failover_enable = False  # type: ignore[attr-defined]
    look()
    shop.galera["db1"].kill_connections()
    Tag.objects.count()


@pytest.mark.parametrize("end", [undone_by_a_conflict, interrupted, closed, lost])
def test_what_was_locked_in_a_block_that_ends_otherwise(
    lagging: Shop, end: Callable[[Shop], None]
) -> None:
    lagging.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
    with contextlib.suppress(DatabaseError, MySQLError, Interrupted), transaction.atomic():
        end(lagging)
    assert Author.objects.get().name in ("Bob", "Bob!")


def test_what_was_read_in_a_block_whose_commit_is_lost(shop: Shop) -> None:
    with shop.proxied() as proxies:
        Author.objects.create(name="Ann")
        shop.warm()
        nodes = [shop.galera[name] for name in ("db2", "db3")]
        for node in nodes:
            node.hold_applier()
        shop.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
        with transaction.atomic(), reads("primary"):
            assert Author.objects.get().name == "Bob"
            rule = proxies["db1"].swallow("^COMMIT", cut=True)
        assert rule.fired
        timers = [threading.Timer(LAG, node.release_applier) for node in nodes]
        for timer in timers:
            timer.start()
        assert Author.objects.get().name == "Bob"
        for timer in timers:
            timer.join()


def test_what_was_read_in_a_snapshot_that_is_lost(shop: Shop) -> None:
    """The next read is on the node that lags, the other one is down."""
    Author.objects.create(name="Ann")
    first, second = shop.galera["db2"], shop.galera["db3"]
    shop.configure(HOST=first.host, PORT=first.port, OPTIONS={"failover_enable": False})
    shop.warm()
    shop.settle()
    shop.forget()
    second.hold_applier()
    shop.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
    first.wait_applied()
    with contextlib.suppress(DatabaseError), transaction.atomic():
        assert Author.objects.get().name == "Bob"
        first.kill()
        Tag.objects.count()
    timer = threading.Timer(LAG, second.release_applier)
    timer.start()
    assert Author.objects.get().name == "Bob"
    timer.join()


def test_a_key_that_another_client_has_just_taken(lagging: Shop) -> None:
    """The insert is refused on the primary, and the read behind it must find the row."""
    lagging.galera["db1"].query("INSERT INTO galera_router.shop_shelf VALUES ('taken', 2)")
    shelf, made = Shelf.objects.get_or_create(code="taken", defaults={"room": 1})
    assert (shelf.room, made) == (2, False)


def add() -> None:
    Author.objects.create(name="taken")


def rename() -> None:
    Author.objects.filter(name="Ann").update(name="taken")


def rename_without_marker() -> None:
    connection.commit_marker = False  # type: ignore[attr-defined]
    rename()


@pytest.mark.parametrize("write", [add, rename, rename_without_marker])
@pytest.mark.parametrize("request_", [True, False], ids=["request", "script"])
def test_a_name_that_another_client_has_just_taken(
    lagging: Shop, write: Callable[[], None], request_: bool
) -> None:
    """Outside a transaction: who is told that it is there already looks for it."""
    lagging.galera["db1"].query("INSERT INTO galera_router.shop_author (name) VALUES ('taken')")
    block = scope.needing({}, request=True) if request_ else contextlib.nullcontext()
    with block:
        with pytest.raises(IntegrityError):
            write()
        assert Author.objects.filter(name="taken").exists()


def the_name() -> str:
    return Author.objects.get().name


@pytest.mark.parametrize("block", [contextlib.nullcontext, transaction.atomic])
def test_what_was_read_ahead_of_a_read_that_waits_for_nothing(
    lagging: Shop, block: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    lagging.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
    with reads("primary"):
        assert the_name() == "Bob"
    with reads("any"), block():
        Tag.objects.count()
    assert the_name() == "Bob"


# --- the threads of a request -------------------------------------------------------------

WAYS: dict[str, Callable[[Callable[[], str]], str]] = {
    "thread": in_thread,
    "job": in_a_job,
    "asgiref": by_asgiref,
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
Way = Callable[[Callable[[], str]], str]


@pytest.fixture
def request_() -> Iterator[None]:
    with scope.needing({}, request=True):
        yield


@pytest.fixture
def parted(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A request that only reads is on db2, which is ahead; who chooses anew goes to db3."""
    Author.objects.create(name="Ann")
    shop.warm()
    shop.settle()
    shop.forget()
    _, db2, db3 = shop.session.cluster.nodes
    draw, chosen = Choice.draw, [db2]

    def drawn(self: Choice, rng: random.Random, wanted: Node | None = None) -> Node:
        return draw(self, rng, wanted or chosen[0])

    monkeypatch.setattr(Choice, "draw", drawn)
    with scope.needing({}, request=True):
        Tag.objects.count()
        chosen[:] = [db3]
        with shop.galera["db3"].hold_applier():
            shop.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
            shop.galera["db2"].wait_applied()
            yield shop


@ways
def test_a_thread_reads_no_older_than_its_request(parted: Shop, way: Way) -> None:
    assert the_name() == "Bob"
    assert way(the_name) == "Bob"


@ways
def test_a_thread_reads_no_older_than_an_open_snapshot(parted: Shop, way: Way) -> None:
    with transaction.atomic():
        assert the_name() == "Bob"
        assert way(the_name) == "Bob"


@ways
def test_a_thread_reads_no_older_than_an_open_transaction(
    lagging: Shop, request_: None, way: Way
) -> None:
    lagging.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
    with transaction.atomic():
        look()
        assert way(the_name) == "Bob"


@ways
def test_a_request_reads_no_older_than_its_thread(lagging: Shop, request_: None, way: Way) -> None:
    assert the_name() == "Ann"
    lagging.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
    assert way(reads("primary")(the_name)) == "Bob"
    assert the_name() == "Bob"


def test_a_pool_follows_each_request(parted: Shop) -> None:
    """Its thread has read elsewhere for another request."""
    with ThreadPoolExecutor(1) as pool:
        with scope.needing({}, request=True):
            pool.submit(the_name).result()
        assert the_name() == "Bob"
        assert pool.submit(the_name).result() == "Bob"
        pool.submit(connections.close_all).result()


class Racing(dict[str, Node]):
    """Another thread forgets what it holds as soon as somebody has looked."""

    def __contains__(self, key: object) -> bool:
        return self.pop(key, None) is not None  # type: ignore[call-overload]

    def get(self, key: str, default: Any = None) -> Any:
        return self.pop(key, default)


def test_threads_that_read_and_write_at_once(shop: Shop) -> None:
    Author.objects.create(name="Ann")
    shop.settle()
    with scope.needing({}, request=True):
        shared = Racing()
        scope.current().seen = shared
        for number in range(3):
            assert Author.objects.filter(name="Ann").exists()
            with transaction.atomic():
                assert Author.objects.filter(name="Ann").exists()
            shared["default"] = shop.session.cluster.nodes[number]
            Tag.objects.create(name=f"{number}")
            shared["default"] = shop.session.cluster.nodes[number]
    assert Tag.objects.count() == 3


def place_of_token() -> Position | Mark:
    loaded = tokens.load(causal_token(), None)
    assert loaded is not None
    return loaded[1]


@pytest.mark.parametrize("atomic", [True, False])
def test_the_token_of_a_write_that_was_found_is_its_marker(shop: Shop, atomic: bool) -> None:
    """The node on which it was found may not count it yet as its last transaction."""
    with shop.proxied() as proxies, scope.needing({}, request=True):
        Author.objects.create(name="Ann")
        before = place_of_token()
        rule = proxies["db1"].swallow(r"COMMIT(; END)?\Z", cut=True)
        with transaction.atomic() if atomic else contextlib.nullcontext():
            Author.objects.update(name="Bea")
        assert rule.fired == 1
        found = place_of_token()
        assert isinstance(before, Mark)
        assert found == Mark(before.worker, before.seqno + 1)
        Author.objects.update(name="Cleo")
        assert place_of_token() == Mark(before.worker, before.seqno + 2)


# --- another connection object in the place of the thread's


def replaced() -> None:
    """What code does that finds its connection in a block that an exception has left open."""
    connection.close()
    del connections["default"]


def test_what_was_written_before_the_connection_was_replaced(lagging: Shop) -> None:
    Author.objects.update(name="Bob")
    replaced()
    assert Author.objects.get().name == "Bob"


def test_what_was_seen_before_the_connection_was_replaced(lagging: Shop) -> None:
    lagging.galera["db1"].query("UPDATE galera_router.shop_author SET name = 'Bob'")
    with reads("primary"):
        assert Author.objects.get().name == "Bob"
    replaced()
    assert Author.objects.get().name == "Bob"


def test_what_was_written_on_a_second_connection(lagging: Shop) -> None:
    """A thread's two connections to a cluster know of each other's writes."""
    first = connections["default"]
    del connections["default"]
    try:
        Author.objects.update(name="Bob")
    finally:
        connections["default"].close()
        connections["default"] = first
    assert Author.objects.get().name == "Bob"


def test_another_thread_has_its_own(lagging: Shop) -> None:
    """Nothing is waited for in a thread that has not written."""
    Author.objects.update(name="Bob")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: Author.objects.get().name).result() == "Ann"
        pool.submit(connections.close_all).result()


# --- a server that may have been started anew, and lack what it had not brought to its disk


@pytest.fixture
def pinned(shop: Shop) -> Shop:
    """Reads go to db2."""
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port)
    shop.warm()
    Author.objects.create(name="Ann")
    return shop


WAIT = re.compile("wsrep_sync_wait=1|galera_router_marker")


def waits(shop: Shop) -> bool:
    """Returns True if the next read waits on db2 for what was written or seen before."""
    with shop.traffic() as sent:
        assert Author.objects.get().name == "Ann"
    return any(
        "wsrep_sync_wait=1" in text or "galera_router_marker" in text for text in sent["db2"]
    )


def test_what_was_written_before_a_connection_was_lost(pinned: Shop) -> None:
    assert waits(pinned)
    assert not waits(pinned)
    pinned.galera["db2"].kill_connections()
    assert waits(pinned)
    assert not waits(pinned)


def test_what_was_written_in_another_request(pinned: Shop, request_: None) -> None:
    assert Author.objects.get().name == "Ann"
    request_started.send(sender=None)
    assert not waits(pinned)
    pinned.galera["db2"].kill_connections()
    request_started.send(sender=None)
    assert waits(pinned)


def test_what_was_only_seen(pinned: Shop) -> None:
    with ThreadPoolExecutor(1) as pool:
        for lost in (False, True):
            assert pool.submit(waits, pinned).result() is lost
            pinned.galera["db2"].kill_connections()
        pool.submit(connections.close_all).result()


def test_what_was_written_through_a_primary_that_was_lost(pinned: Shop) -> None:
    Author.objects.update(name="Bob")
    pinned.galera["db1"].kill_connections()
    with pinned.traffic() as sent, reads("primary"):
        assert Author.objects.get().name == "Bob"
    assert any(map(WAIT.search, sent["db1"]))

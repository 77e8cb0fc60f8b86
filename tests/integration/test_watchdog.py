"""Nodes freeze, fall silent or lose one answer; statements that wait for them go on elsewhere.

The proof in each case is that a statement returns at all while its node is still frozen.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction

from galera_router import expand, reads
from galera_router.causality import scope
from galera_router.cluster import monitor as watchdog
from galera_router.cluster import names
from galera_router.cluster import nodes as registry
from galera_router.cluster.node import Node
from galera_router.cluster.probe import Ping
from galera_router.connections import connection as wire
from galera_router.connections.errors import Verdict
from galera_router.testing import GaleraNode, Proxy
from tests.integration.support import OPTIMISTIC, Shop, elsewhere, use_databases
from tests.shop.models import Author, Book, Shelf, Tag

ESTABLISHED = b"\x01"  # the first byte of Linux's struct tcp_info
ROOT = Path(__file__).parents[2]
THREAD = "galera_router: watchdog"


@pytest.fixture
def watched(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop, its nodes asked all the time, those that other tests have restarted as well."""
    monkeypatch.setattr(registry, "STARTED", 0.0)
    monkeypatch.setattr(watchdog, "ASK_WELL", 1.0)
    return shop


@pytest.fixture
def proxies(shop: Shop) -> Iterator[dict[str, Proxy]]:
    """A proxy in front of each node, through which the shop reaches them."""
    with shop.galera.proxies() as proxies:
        through(shop, proxies)
        yield proxies
        connection.close()


def through(shop: Shop, proxies: dict[str, Proxy], **overrides: Any) -> None:
    overrides["OPTIONS"] = {**OPTIMISTIC, **overrides.get("OPTIONS", {})}
    databases = shop.galera.databases(proxies=proxies, CONN_MAX_AGE=None, **overrides)
    use_databases(expand(databases))


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come to that"
        time.sleep(0.02)


def state(shop: Shop, node: GaleraNode) -> Node:
    return shop.session.cluster.node(f"default_{node.name}")


def links_to(node: Node) -> list[wire.NodeConnection]:
    return [link for link in wire.links() if link.node is node]


def report(what: str, since: float) -> None:
    print(f"{what}: {time.monotonic() - since:.2f} s after SIGSTOP")


# --- frozen -------------------------------------------------------------------------------


def test_the_secondary_freezes_in_a_transaction(shop: Shop) -> None:
    shop.stock(3)
    with transaction.atomic():
        assert Book.objects.count() == 3
        frozen = shop.reading
        frozen.freeze()
        since = time.monotonic()
        assert [book.title for book in Book.objects.order_by("pk")] == ["t0", "t1", "t2"]
        assert frozen.frozen
        report("read in a snapshot", since)
        assert shop.reading is not frozen
        assert not shop.session.transaction_begun, "reads must not have gone to the primary"


def test_the_secondary_freezes_in_the_middle_of_a_read(shop: Shop) -> None:
    """The statement is under way when the node freezes: a lock holds it until then."""
    shop.stock()
    shop.configure(HOST=shop.galera["db2"].host, PORT=shop.galera["db2"].port)
    assert Book.objects.count() == 1
    frozen = shop.galera["db2"]
    freezer = threading.Thread(target=freeze_when_busy, args=(frozen, state(shop, frozen)))
    frozen.query("LOCK TABLES galera_router.shop_book WRITE")
    try:
        freezer.start()
        assert Book.objects.count() == 1
        assert frozen.frozen
    finally:
        freezer.join()
        frozen.thaw()
        frozen.query("UNLOCK TABLES")


def freeze_when_busy(node: GaleraNode, known: Node) -> None:
    wait_until(lambda: any(link.busy for link in links_to(known)))
    time.sleep(0.1)
    node.freeze()


def test_the_primary_freezes_between_writes(shop: Shop) -> None:
    shop.stock()
    with transaction.atomic():
        book = Book.objects.get()
        book.stock -= 1
        book.save()
        frozen = shop.writing
        frozen.freeze()
        since = time.monotonic()
        new = Author.objects.create(name="Bea")
        assert frozen.frozen
        report("write", since)
        assert shop.writing is not frozen
    report("and its COMMIT", since)
    assert frozen.frozen
    frozen.thaw()
    shop.galera.wait_synced()
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(9,)]
    assert shop.everywhere("SELECT id FROM galera_router.shop_author WHERE name = 'Bea'") == [
        (new.pk,)
    ]


def test_the_primary_freezes_in_commit(shop: Shop) -> None:
    with transaction.atomic():
        Author.objects.create(name="Bea")
        frozen = shop.writing
        frozen.freeze()
        since = time.monotonic()
    assert frozen.frozen
    report("COMMIT", since)
    frozen.thaw()
    shop.galera.wait_synced()
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(1,)]


def test_all_that_wait_for_it_are_freed_at_once(shop: Shop) -> None:
    shop.stock()
    ready, go = threading.Barrier(5), threading.Event()
    served: list[str] = []

    def write(number: int) -> None:
        with transaction.atomic():
            Tag.objects.create(name=f"t{number}")
            ready.wait()
            go.wait()
            # A key drawn here might be one that another thread was given by the lost node.
            Shelf.objects.create(code=f"u{number}", room=number)
            served.append(shop.writing.name)

    threads = [
        threading.Thread(target=elsewhere, args=(functools.partial(write, n),)) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    shop.galera["db1"].freeze()
    since = time.monotonic()
    go.set()
    for thread in threads:
        thread.join()
    report("four threads and their COMMITs", since)
    assert shop.galera["db1"].frozen
    assert len(served) == 4
    assert "db1" not in served


def test_who_comes_later_waits_for_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else is sent to the frozen node: a connection to it would hang for a while."""
    shop.stock()
    shop.configure()
    frozen = shop.galera["db1"]
    frozen.freeze()
    Author.objects.create(name="the one that waits")
    met: list[str] = []
    original = wire.NodeConnection.__init__

    def meet(link: wire.NodeConnection, node: Node, *args: Any, **kwargs: Any) -> None:
        met.append(node.name)
        original(link, node, *args, **kwargs)

    monkeypatch.setattr(wire.NodeConnection, "__init__", meet)
    asked: list[str] = []
    elected = registry.Cluster.primary

    def elect(cluster: registry.Cluster) -> Node | None:
        node = elected(cluster)
        asked.append(node.name if node else "none")
        return node

    monkeypatch.setattr(registry.Cluster, "primary", elect)
    for number in range(5):
        elsewhere(functools.partial(Author.objects.create, name=f"later {number}"))
        elsewhere(Author.objects.count)
    assert frozen.frozen
    assert set(asked) == {"db2"}
    assert "db1" not in met


def test_an_idle_node_that_freezes_is_noticed_before_it_is_used(watched: Shop) -> None:
    watched.stock()
    frozen = watched.galera["db2"]
    watched.warm()
    with transaction.atomic():
        Tag.objects.count()
        wait_until(lambda: state(watched, frozen).heard > 0)
        frozen.freeze()
        wait_until(lambda: not state(watched, frozen).up)
        wait_until(lambda: all(ended(link) for link in links_to(state(watched, frozen))))
    assert frozen.frozen


def ended(link: wire.NodeConnection) -> bool:
    """Whether the connection was ended on our side; its descriptor is open still."""
    with socket.socket(fileno=os.dup(link._descriptor)) as end:
        return end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != ESTABLISHED


def test_a_node_that_is_thawed_is_taken_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.Cluster, "failback_delay", 0.5)
    monkeypatch.setattr(registry, "FAILBACK_SLOT", 0.5)
    Tag.objects.create(name="x")
    frozen = shop.galera["db1"]
    frozen.freeze()
    Tag.objects.create(name="y")
    assert shop.writing.name == "db2"
    frozen.thaw()

    def back() -> bool:
        Tag.objects.create(name="z")
        return shop.writing is frozen

    wait_until(back)


# --- healthy ------------------------------------------------------------------------------


def test_a_long_statement_on_a_healthy_node_is_left_alone(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.configure(OPTIONS={"watchdog_after": 0.2})
    Tag.objects.create(name="x")
    before = shop.session.primary
    node = shop.writing
    mark = node.log_mark()
    warnings = caplog.at_level(logging.WARNING, "galera_router")
    with warnings, reads("primary"), connection.cursor() as cursor:
        cursor.execute("SELECT SLEEP(4)")
        assert cursor.fetchall() == ((0,),)
    assert shop.session.primary is before
    assert not caplog.text
    pings = sum("galera_router_no_such_table" in s.sql for s in node.log_since(mark))
    assert 2 <= pings <= 5, "it is asked for, at growing intervals"


def test_a_result_that_takes_long_to_take_in_is_no_lost_answer(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """The server is done while the client still makes objects of the rows."""
    shop.configure(OPTIONS={"watchdog_after": 0.1})
    Tag.objects.create(name="x")
    link = shop.session.primary
    assert link is not None
    warnings = caplog.at_level(logging.WARNING, "galera_router")
    with warnings, reads("primary"), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor = cursor.cursor
        link.busy = time.monotonic()  # as in the midst of it
        cursor.execute("SELECT seq FROM seq_1_to_300000")
        time.sleep(2.0)
        link.busy = 0.0
    assert not caplog.text
    Tag.objects.create(name="y")
    assert shop.session.primary is link


def test_nobody_is_asked_because_of_short_statements(shop: Shop) -> None:
    with shop.traffic() as sent:
        for _ in range(200):
            Tag.objects.count()
    assert not [sql for log in sent.values() for sql in log if "no_such_table" in sql]


def test_it_can_be_turned_off(configured: Callable[..., None], shop: Shop) -> None:
    configured(OPTIONS={"watchdog_after": 0})
    with scope.needing({}, request=True):
        Tag.objects.create(name="x")
        node = shop.writing
        threading.Timer(4.0, node.thaw).start()
        node.freeze()
        Tag.objects.count()  # on the same connection, since this request has written
    assert not node.frozen, "it must have waited"


# --- silent connections -------------------------------------------------------------------


def test_a_port_that_swallows_everything(shop: Shop, proxies: dict[str, Proxy]) -> None:
    with transaction.atomic():
        Author.objects.create(name="Bea")
        assert shop.writing.name == "db1"
        proxies["db1"].black_hole()
        Author.objects.create(name="Cid")
        assert shop.writing.name == "db2"
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


@pytest.mark.parametrize("lose", ["swallow", "drop"])
def test_one_connection_that_has_fallen_silent(
    shop: Shop, proxies: dict[str, Proxy], lose: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The node is well and stays so; only that connection is ended."""
    shop.stock()
    with transaction.atomic():
        Author.objects.create(name="Bea")
        rule = getattr(proxies["db1"], lose)("Cid")
        Author.objects.create(name="Cid")
        assert rule.fired == 1
        assert shop.writing.name == "db1"
    assert "is down" not in caplog.text
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(3,)]


def test_other_connections_are_left_alone_then(
    shop: Shop, proxies: dict[str, Proxy], caplog: pytest.LogCaptureFixture
) -> None:
    def slow() -> tuple[Any, bool]:
        Tag.objects.create(name="slow")
        before = shop.session.primary
        with connection.cursor() as cursor:
            cursor.execute("SELECT SLEEP(4)")
            return cursor.fetchone(), shop.session.primary is before

    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(elsewhere(slow)))
    thread.start()
    with transaction.atomic():
        Author.objects.create(name="Bea")
        proxies["db1"].swallow("Cid")
        Author.objects.create(name="Cid")
    thread.join()
    assert outcome == [((0,), True)]
    assert caplog.text.count("ended 1 waiting") == 1


def test_a_statement_that_stays_behind_on_a_node_out_of_the_cluster(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "OUT_PATIENCE", 1.0)
    with transaction.atomic():
        Author.objects.create(name="Bea")
        node = shop.writing
        threading.Timer(0.5, node.isolate).start()
        with connection.cursor() as cursor:
            cursor.execute("SELECT SLEEP(IF(@@wsrep_node_name = 'db1', 60, 0))")
        assert shop.writing is not node
    node.rejoin()
    shop.galera.wait_synced()
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(1,)]


# --- far away -----------------------------------------------------------------------------


def test_a_question_is_one_packet(shop: Shop) -> None:
    """Beside it only what the driver says by itself when it connects."""
    Tag.objects.create(name="x")
    known = state(shop, shop.galera["db2"])
    with shop.galera["db2"].statements() as sent:
        ping = Ping(known, [1, 2], 5)
        ping._run()
    assert ping.answer is not None
    assert ping.answer.error is None
    assert ping.answer.position is not None
    assert ping.answer.started is not None
    assert ping.answer.server
    ours = {s.connection_id for s in sent if "no_such_table" in s.sql}
    connected, *said = [s.sql for s in sent if s.sql and s.connection_id == min(ours)]
    assert "using TCP" in connected
    assert [sql.split()[0] for sql in said] == ["SET", "SHOW"], said
    assert ping.answer.commands is not None
    assert 0.0 < known.distance.round_trip() < 0.5


def test_a_question_that_is_refused_in_the_middle_is_answered_all_the_same(shop: Shop) -> None:
    """A node out of the cluster answers for itself, but reads no table for the threads."""
    node = shop.galera["db2"]
    Tag.objects.create(name="x")
    node.reject_queries()
    ping = Ping(state(shop, node), [1], 5)
    ping._run()
    node.accept_queries()
    assert ping.answer is not None
    assert ping.answer.verdict is Verdict.OUT
    assert ping.answer.server
    assert ping.answer.started is not None


@pytest.mark.parametrize("trip", [0.15, 0.3])
def test_nodes_far_away_are_well(
    shop: Shop, proxies: dict[str, Proxy], caplog: pytest.LogCaptureFixture, trip: float
) -> None:
    for proxy in proxies.values():
        proxy.delay(trip)
    through(shop, proxies, OPTIONS={"watchdog_after": 0.2})
    for name in proxies:  # as after a while: each has answered
        known = state(shop, shop.galera[name])
        Ping(known, (), 5)._run()
        assert known.distance.round_trip() == pytest.approx(trip, abs=0.1)
    for alias in ("default", "default_db3"):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT SLEEP(4)")
            assert cursor.fetchall() == ((0,),)
    connections["default_db3"].close()
    assert "is down" not in caplog.text
    assert "ended" not in caplog.text


# --- names --------------------------------------------------------------------------------

#: The loopback, in a form that is looked up.
NAME = "127.1"


def by_name(shop: Shop) -> None:
    nodes = {node.name: {"HOST": NAME, "PORT": node.port} for node in shop.galera.nodes}
    shop.configure(NODES=nodes, OPTIONS={"watchdog_after": 0.2})


@pytest.fixture
def slow_resolver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """It takes 5 s for an answer; the driver, which asks another one, is not held up."""
    original = socket.getaddrinfo
    asked: list[str] = []
    monkeypatch.setattr(names, "_running", {})

    def look_up(host: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        time.sleep(5.0)
        return original(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_resolver_that_is_slow_from_the_start(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, slow_resolver: list[str]
) -> None:
    monkeypatch.setattr(names, "_known", {})
    by_name(shop)
    for alias in ("default", "default_db3"):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT SLEEP(3)")
            assert cursor.fetchall() == ((0,),)
    assert slow_resolver
    # Not by the log: it may have a late line of the cluster of the test before.
    assert [node.failures for node in shop.session.cluster.nodes] == [0, 0, 0]


def test_a_frozen_node_is_noticed_although_the_resolver_is_slow(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, slow_resolver: list[str]
) -> None:
    """Its last address is asked, where no certificate may have to bear the name."""
    monkeypatch.setattr(names, "may_be_checked", lambda parameters: False)
    monkeypatch.setattr(names, "_known", {NAME: ("127.0.0.1",)})
    by_name(shop)
    Tag.objects.create(name="x")
    frozen = shop.writing
    frozen.freeze()
    since = time.monotonic()
    Tag.objects.create(name="y")
    assert time.monotonic() - since < 4.0
    report("write", since)
    assert slow_resolver
    assert frozen.frozen


# --- out of step --------------------------------------------------------------------------


def test_a_desynced_node_is_not_read_from(watched: Shop) -> None:
    watched.stock()
    node = watched.galera["db2"]
    node.query("SET GLOBAL wsrep_desync = 1")
    Tag.objects.count()
    wait_until(lambda: not state(watched, node).fit)
    assert state(watched, node).up
    for _ in range(20):
        watched.session.new_request()
        with transaction.atomic():
            Tag.objects.count()
            assert watched.reading.name == "db3"
    for name in ("db1", "db3"):
        watched.galera[name].query("SET GLOBAL wsrep_desync = 1")
    wait_until(lambda: not any(n.fit for n in watched.session.cluster.nodes if touch(watched)))
    with transaction.atomic():
        assert Book.objects.count() == 1, "there is no better one"
    for each in watched.galera.nodes:
        each.query("SET GLOBAL wsrep_desync = 0")


def touch(shop: Shop) -> bool:
    """Use the cluster, so that it stays watched."""
    shop.session.cluster.reader()
    return True


def test_a_primary_that_refuses_statements_is_noticed_without_one(watched: Shop) -> None:
    Tag.objects.create(name="x")
    node = watched.writing
    node.reject_queries()
    wait_until(lambda: touch(watched) and not state(watched, node).up)
    node.accept_queries()
    wait_until(lambda: touch(watched) and state(watched, node).up)


# --- the thread ---------------------------------------------------------------------------


def run(script: str, shop: Shop, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Another process with the settings of the tests, the shop's cluster in DATABASES."""
    head = """
        import json, os, sys, threading, time
        import django
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        django.setup()
        from django.db import connection, transaction
        from galera_router import expand, reads
        from tests.integration.support import use_databases
        from tests.shop.models import Author, Tag
        use_databases(expand(json.loads(sys.argv[1])))

        def names():
            return [thread.name for thread in threading.enumerate()]
        """
    source = textwrap.dedent(head) + textwrap.dedent(script)
    databases = json.dumps(shop.galera.databases(CONN_MAX_AGE=None))
    command = [sys.executable, "-c", source, databases, *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, **options)


def output_of(process: subprocess.Popen[str], seconds: float = 60.0) -> list[str]:
    try:
        out, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode == 0
    return out.splitlines()


def test_there_is_no_thread_before_the_first_query_and_one_after_it(shop: Shop) -> None:
    script = f"""
        print(names().count("{THREAD}"))
        with transaction.atomic():
            pass
        print(names().count("{THREAD}"))
        Tag.objects.count()
        Tag.objects.create(name="x")
        print(names().count("{THREAD}"))
        """
    assert output_of(run(script, shop)) == ["0", "0", "1"]


def test_the_thread_ends_with_the_process(shop: Shop) -> None:
    script = """
        Tag.objects.create(name="x")
        time.sleep(0.3)
        print("done")
        """
    assert output_of(run(script, shop), 20.0) == ["done"]


@pytest.mark.skipif(
    (3, 12, 0) <= sys.version_info[:3] < (3, 12, 2),
    reason="Python 3.12.0 and 3.12.1 start no thread once the main thread has ended",
)
def test_a_process_can_end_while_a_thread_hangs_on_a_frozen_node(shop: Shop) -> None:
    """The interpreter waits for its threads: the watchdog is there until they have ended."""
    script = """
        def work():
            Tag.objects.create(name="x")
            print("ready", flush=True)
            sys.stdin.readline()
            Tag.objects.create(name="y")
            print("written", flush=True)

        threading.Thread(target=work).start()
        """
    process = run(script, shop, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    shop.galera["db1"].freeze()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "written\n"
    process.stdin.close()
    assert process.wait(20.0) == 0
    process.stdout.close()
    assert shop.galera["db1"].frozen


def test_a_forked_child_has_a_watchdog_of_its_own(shop: Shop) -> None:
    shop.stock()
    Author.objects.create(name="before the fork")
    assert THREAD in [thread.name for thread in threading.enumerate()]
    before = shop.session.primary
    assert before is not None
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            facts = [watchdog._watchdog is None, wire.links() == []]
            with transaction.atomic():
                Author.objects.create(name="child")
                theirs.sendall(b"x")
                theirs.recv(1)
                Author.objects.create(name="child, later")
            facts.append([thread.name for thread in threading.enumerate()].count(THREAD) == 1)
            status = 0 if all(facts) else 2
        finally:
            os._exit(status)
    with ours, theirs:
        ours.recv(1)
        shop.galera["db1"].freeze()
        ours.sendall(b"x")
        assert os.waitpid(child, 0)[1] == 0
    assert shop.galera["db1"].frozen
    shop.galera["db1"].thaw()
    shop.galera.wait_synced()
    assert not ended(before), "the child must not have ended the connection"
    Author.objects.create(name="parent")
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(5,)]

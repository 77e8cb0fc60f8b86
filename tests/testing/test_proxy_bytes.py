"""A proxy cuts, holds and swallows at any byte, in either direction."""

from __future__ import annotations

import functools
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import MySQLdb
import pytest

from galera_router.testing import ClusterError, GaleraCluster, GaleraNode, Proxy
from tests.papers import make_papers

from .conftest import Connect, fetch, wait_for
from .test_proxy import Background, assert_lost, connect, rows

READ = "SELECT 'one' AS first, 2 AS second"


@pytest.fixture
def node(galera: Any) -> GaleraNode:
    found: GaleraNode = galera["db1"]
    return found


@pytest.fixture
def proxy(node: GaleraNode) -> Iterator[Proxy]:
    with Proxy(node.host, node.port) as proxy:
        yield proxy


def conversation(proxy: Proxy, connect: Connect) -> tuple[int, int]:
    """The bytes that a log-in and one read take to the server and to the client."""
    before = proxy.passed
    connection = connect(proxy)
    fetch(connection, READ)
    after = proxy.passed
    return after.to_server - before.to_server, after.to_client - before.to_client


def test_bytes_are_counted_and_the_same_each_time(proxy: Proxy, connect: Connect) -> None:
    """All of a log-in and of a statement, in both directions."""
    first = conversation(proxy, connect)
    assert first == conversation(proxy, connect)
    assert first[0] > len(READ)
    assert first[1] > 100


def answer_length(proxy: Proxy, connection: Any) -> int:
    before = proxy.passed.to_client
    fetch(connection, READ)
    return proxy.passed.to_client - before


def test_an_answer_cut_after_each_of_its_bytes(proxy: Proxy, connect: Connect) -> None:
    """Never rows that are not all; all of them only if all bytes have come."""
    length = answer_length(proxy, connect(proxy))
    for count in range(length):
        connection = connect(proxy)
        rule = proxy.cut_at_byte(count, toward="client", pattern="^SELECT 'one'")
        before = proxy.passed.to_client
        with pytest.raises(MySQLdb.Error):
            # A driver that takes half an answer for none is seen here as well.
            assert fetch(connection, READ) == [("one", 2)], count
            fetch(connection, READ)
        assert (rule.fired, proxy.passed.to_client - before) == (1, count)
    connection = connect(proxy)
    rule = proxy.cut_at_byte(length, toward="client", pattern="^SELECT 'one'")
    assert fetch(connection, READ) == [("one", 2)]
    assert rule.fired == 1
    assert_lost(lambda: fetch(connection, READ))


def test_a_statement_cut_after_each_of_its_bytes(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str
) -> None:
    """It is carried out if its last byte has come, and not otherwise."""
    sql = f"INSERT INTO {numbers} VALUES (%d)"
    length = 5 + len(sql % 100)  # with the header and the command
    for count in range(length + 1):
        connection = connect(proxy)
        rule = proxy.cut_at_byte(count, pattern="^INSERT")
        assert_lost(functools.partial(fetch, connection, sql % (100 + count)))
        assert rule.fired == 1
    wait_for(lambda: rows(node) == [100 + length])


def test_bytes_of_all_connections_are_counted(proxy: Proxy, connect: Connect) -> None:
    """That on which the last one comes is cut, and no other; it strikes once."""
    first, second = connect(proxy), connect(proxy)
    size = 5 + len(READ)
    rule = proxy.cut_at_byte(size + 7)
    assert fetch(first, READ) == [("one", 2)]
    assert rule.fired == 0
    assert_lost(lambda: fetch(second, READ))
    assert rule.fired == 1
    assert fetch(first, READ) == [("one", 2)]
    assert fetch(connect(proxy), READ) == [("one", 2)]


def test_a_log_in_can_be_cut(proxy: Proxy, connect: Connect) -> None:
    """At its first byte, and in the middle of the server's greeting."""
    for toward, count in (("server", 0), ("client", 0), ("client", 30)):
        rule = proxy.cut_at_byte(count, toward=toward)  # type: ignore[arg-type]
        with pytest.raises(MySQLdb.OperationalError):
            connect(proxy)
        assert rule.fired == 1


def test_a_number_that_never_comes_and_one_that_is_cancelled(
    proxy: Proxy, connect: Connect
) -> None:
    """Nothing is cut then."""
    connection = connect(proxy)
    never = proxy.cut_at_byte(1_000_000)
    cancelled = proxy.cut_at_byte(3)
    cancelled.cancel()
    assert fetch(connection, READ) == [("one", 2)]
    assert (never.fired, cancelled.fired) == (0, 0)


def test_a_large_answer_is_cut_in_its_middle(proxy: Proxy, connect: Connect) -> None:
    """A packet of more than 16 MiB comes in parts."""
    connection = connect(proxy)
    rule = proxy.cut_at_byte(17_000_000, toward="client", pattern="REPEAT")
    before = proxy.passed.to_client
    assert_lost(lambda: fetch(connection, "SELECT REPEAT('x', 15000000), REPEAT('y', 15000000)"))
    assert (rule.fired, proxy.passed.to_client - before) == (1, 17_000_000)


@pytest.mark.parametrize("count", [(1 << 24) + 2, 17_000_000])
def test_a_large_statement_is_cut_in_its_second_part(
    node: GaleraNode, proxy: Proxy, connect: Connect, count: int
) -> None:
    """In the header of that part, and behind it: nothing is carried out."""
    before = node.query("SELECT @@max_allowed_packet")[0][0]
    node.query("SET GLOBAL max_allowed_packet = 1 << 26")
    try:
        connection = connect(proxy)
        rule = proxy.cut_at_byte(count, pattern="LENGTH")
        passed = proxy.passed.to_server
        assert_lost(lambda: fetch(connection, f"SELECT LENGTH('{'x' * 18_000_000}')"))
        assert (rule.fired, proxy.passed.to_server - passed) == (1, count)
    finally:
        node.query("SET GLOBAL max_allowed_packet = %s", [before])


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Proxy]:
    """A proxy in front of a server that speaks TLS."""
    words = {"ca": "ca.pem", "cert": "server.pem", "key": "server.key"}
    with tempfile.TemporaryDirectory() as folder:
        make_papers(Path(folder))
        options = [f"--ssl-{name}={folder}/{file}" for name, file in words.items()]
        with GaleraCluster(size=1, options=options) as cluster, cluster.proxies() as proxies:
            yield proxies["db1"]


@pytest.mark.parametrize("toward", ["server", "client"])
@pytest.mark.parametrize("count", [0, 1, 400, 900])
def test_encrypted_bytes_are_counted_too(
    encrypted: Proxy, connect: Connect, toward: Any, count: int
) -> None:
    """In the handshake, and behind it."""
    before = encrypted.passed
    rule = encrypted.cut_at_byte(count, toward=toward)
    with pytest.raises(MySQLdb.OperationalError):
        for _ in range(3):
            fetch(connect(encrypted, ssl_mode="REQUIRED"), READ)
    passed = getattr(encrypted.passed, f"to_{toward}") - getattr(before, f"to_{toward}")
    assert (rule.fired, passed) == (1, count)
    connection = connect(encrypted, ssl_mode="REQUIRED")
    assert fetch(connection, "SHOW STATUS LIKE 'Ssl_cipher'")[0][1]


def test_what_is_held_toward_the_server_arrives_when_it_is_released(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str
) -> None:
    """The client hears its answer then, as if nothing had been."""
    connection = connect(proxy)
    rule = proxy.hold_at_byte(9, pattern="^INSERT")
    client = Background(lambda: fetch(connection, f"INSERT INTO {numbers} VALUES (1)"))
    assert rule.wait(5)
    assert client.hangs()
    assert rows(node) == []
    assert fetch(connect(proxy), READ) == [("one", 2)], "other connections go on"
    proxy.release(rule)
    assert client.ends()
    assert client.error is None
    assert rows(node) == [1]
    assert fetch(connection, READ) == [("one", 2)]


def test_what_is_held_arrives_though_its_client_has_left(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str
) -> None:
    """An original that comes late, when it has long been given up."""
    connection = connect(proxy)
    fetch(connection, "START TRANSACTION")
    fetch(connection, f"INSERT INTO {numbers} VALUES (1)")
    rule = proxy.hold_at_byte(0, pattern="^COMMIT")
    with socket.socket(fileno=os.dup(connection.fileno())) as sock:
        client = Background(connection.commit)
        assert rule.wait(5)
        sock.shutdown(socket.SHUT_RDWR)  # as a watchdog does that gives the node up
    assert client.is_lost()
    time.sleep(0.1)
    assert rows(node) == []
    proxy.release(rule)
    wait_for(lambda: rows(node) == [1])
    wait_for(lambda: proxy.connections == 0)


def test_what_is_held_toward_the_client(proxy: Proxy, connect: Connect) -> None:
    """The statement was carried out; its answer comes later."""
    connection = connect(proxy)
    rule = proxy.hold_at_byte(20, toward="client", pattern="^SELECT 'one'")
    answers: list[Any] = []
    client = Background(lambda: answers.extend(fetch(connection, READ)))
    assert rule.wait(5)
    assert client.hangs()
    proxy.release(rule)
    assert client.ends()
    assert answers == [("one", 2)]


@pytest.mark.parametrize("toward", ["server", "client"])
def test_what_is_swallowed_is_lost(proxy: Proxy, connect: Connect, toward: Any) -> None:
    """The client hangs until the proxy is healed; others do not notice."""
    connection = connect(proxy)
    rule = proxy.swallow_at_byte(10, toward=toward, pattern="^SELECT 'one'")
    client = Background(lambda: fetch(connection, READ))
    assert rule.wait(5)
    assert client.hangs()
    assert fetch(connect(proxy), READ) == [("one", 2)]
    proxy.heal()
    assert client.is_lost()


def test_each_rule_waits_for_a_statement_of_its_own(proxy: Proxy, connect: Connect) -> None:
    """The first one takes the first statement that matches, and the next one the next."""
    clients = [connect(proxy) for _ in range(2)]
    rules = [proxy.hold_at_byte(0, pattern="^SELECT 'one'") for _ in range(3)]
    waiting = []
    for client, rule in zip(clients, rules, strict=False):
        waiting.append(Background(functools.partial(fetch, client, READ)))
        assert rule.wait(5)
    assert [rule.fired for rule in rules] == [1, 1, 0]
    for rule in rules:
        proxy.release(rule)
    assert all(one.ends() and one.error is None for one in waiting)
    assert fetch(clients[0], READ) == [("one", 2)]


def test_healing_cuts_what_is_held(proxy: Proxy, connect: Connect) -> None:
    """And forgets rules that have not struck yet."""
    connection = connect(proxy)
    rule = proxy.hold_at_byte(3, pattern="^SELECT 'one'")
    client = Background(lambda: fetch(connection, READ))
    assert rule.wait(5)
    later = proxy.cut_at_byte(500_000)
    proxy.heal()
    assert client.is_lost()
    assert fetch(connect(proxy), READ) == [("one", 2)]
    assert later.fired == 0


def test_a_process_can_be_cut_off_alone(galera: Any, connect: Connect) -> None:
    """Each process has proxies of its own, all in front of the same nodes."""
    with galera.proxies() as mine, galera.proxies() as others:
        here, there = connect(mine["db1"]), connect(others["db1"])
        mine["db1"].refuse()
        mine["db1"].cut()
        assert_lost(lambda: fetch(here, READ))
        with pytest.raises(MySQLdb.OperationalError):
            connect(mine["db1"])
        assert fetch(there, READ) == fetch(connect(mine["db2"]), READ) == [("one", 2)]


def test_wrong_numbers_are_refused(proxy: Proxy) -> None:
    """A number of bytes is none below 0, and there are two directions."""
    with pytest.raises(ValueError, match="-1"):
        proxy.cut_at_byte(-1)
    with pytest.raises(ValueError, match="'up'"):
        proxy.hold_at_byte(1, toward="up")  # type: ignore[arg-type]
    proxy.stop()
    with pytest.raises(ClusterError):
        proxy.swallow_at_byte(1)


__all__ = ["connect"]

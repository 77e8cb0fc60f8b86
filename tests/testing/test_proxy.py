"""A proxy in front of a real node forwards everything, and loses what it is told to lose."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import MySQLdb
import pytest

from galera_router.testing import ClusterError, GaleraCluster, GaleraNode, Proxy

from .conftest import Connect, fetch, wait_for

LOST = (2006, 2013)
NO_CONNECTION = (2002, 2003, 2013)
HANGS_SECONDS = 0.5
MULTI = "START TRANSACTION; INSERT INTO numbers VALUES (1); SELECT SLEEP(0.3); COMMIT"
DJANGO = """
import json, sys
import django
from django.conf import settings
from django.db import connection, transaction
from galera_router import expand

settings.configure(
    INSTALLED_APPS=["galera_router"],
    DATABASES=expand(json.loads(sys.stdin.readline())),
    DATABASE_ROUTERS=["galera_router.routers.GaleraRouter"],
)
django.setup()
for number in (1, 2):
    sys.stdin.readline()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO numbers VALUES (%s)", [number])
        cursor.execute("SELECT @@port")
        port = cursor.fetchone()[0]
    print(port, flush=True)
"""


@pytest.fixture
def connect() -> Iterator[Connect]:
    """``connect(node, **options)``, where the test may close the connection itself."""
    opened: list[Any] = []

    def open_one(node: GaleraNode | Proxy, **options: Any) -> Any:
        options = {"user": "galera", "password": "galera", "database": "galera_router", **options}
        opened.append(MySQLdb.connect(host=node.host, port=node.port, autocommit=True, **options))
        return opened[-1]

    yield open_one
    for connection in opened:
        if connection.open:
            connection.close()


@pytest.fixture
def node(galera: GaleraCluster) -> GaleraNode:
    return galera["db1"]


@pytest.fixture
def proxy(node: GaleraNode) -> Iterator[Proxy]:
    with Proxy(node.host, node.port) as proxy:
        yield proxy


def rows(node: GaleraNode) -> list[int]:
    return [n for (n,) in node.query("SELECT n FROM galera_router.numbers ORDER BY n")]


def sessions(node: GaleraNode) -> int:
    listed = node.query("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'galera'")
    return int(listed[0][0])


def assert_lost(work: Callable[[], Any]) -> None:
    with pytest.raises(MySQLdb.OperationalError) as caught:
        work()
    assert caught.value.args[0] in LOST


class Background:
    """Work in a thread of its own: it hangs, or ends with an error or without."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except MySQLdb.Error as error:
            self.error = error

    def hangs(self, seconds: float = HANGS_SECONDS) -> bool:
        self._thread.join(seconds)
        return self._thread.is_alive()

    def ends(self, seconds: float = 10) -> bool:
        return not self.hangs(seconds)

    def is_lost(self) -> bool:
        return (
            self.ends()
            and isinstance(self.error, MySQLdb.OperationalError)
            and self.error.args[0] in LOST
        )


def test_everything_is_forwarded(proxy: Proxy, connect: Connect, numbers: str) -> None:
    connection = connect(proxy)
    fetch(connection, f"INSERT INTO {numbers} VALUES (1), (2)")
    assert fetch(connection, f"SELECT n FROM {numbers}") == [(1,), (2,)]
    with pytest.raises(MySQLdb.IntegrityError):
        fetch(connection, f"INSERT INTO {numbers} VALUES (1)")
    with pytest.raises(MySQLdb.OperationalError, match="Access denied"):
        connect(proxy, password="wrong")


@pytest.mark.parametrize("size", [15_000_000, (1 << 24) - 1, 1 << 24, 2 * (1 << 24) + 9])
def test_long_packets_pass_whole(
    node: GaleraNode, proxy: Proxy, connect: Connect, size: int
) -> None:
    before = node.query("SELECT @@max_allowed_packet")[0][0]
    node.query("SET GLOBAL max_allowed_packet = 1 << 26")
    try:
        connection = connect(proxy)
        rule = proxy.drop("never sent")
        fitting = "x" * (size - len("\x03SELECT '', LENGTH('')"))
        # The client's own limit is on what it sends; what it receives may be as long as this.
        assert fetch(connection, f"SELECT '', LENGTH('{fitting}')") == [("", len(fitting))]
        [(text,)] = fetch(connection, f"SELECT REPEAT('y', {size})")
        assert text == "y" * size
        assert rule.fired == 0
    finally:
        node.query("SET GLOBAL max_allowed_packet = %s", [before])


def test_a_packet_may_come_in_pieces(node: GaleraNode, proxy: Proxy) -> None:
    """The login's first bytes one by one: the server answers when they are all there."""
    with closing(socket.create_connection((proxy.host, proxy.port), timeout=10)) as client:
        assert client.recv(4096)[4] == 10
        flags = (0x000FA685).to_bytes(4, "little")
        body = flags + b"\x00\x00\x00\x01\x21" + b"\x00" * 23 + b"nobody\x00\x00"
        for byte in len(body).to_bytes(3, "little") + b"\x01" + body:
            client.sendall(bytes([byte]))
        answer = client.recv(4096)
        assert answer[4] in (0xFF, 0xFE)


def test_many_clients_at_once(node: GaleraNode, proxy: Proxy, connect: Connect) -> None:
    def work(connection: Any, number: int) -> None:
        for turn in range(100):
            assert fetch(connection, f"SELECT {number}, {turn}") == [(number, turn)]

    clients = [connect(proxy) for _ in range(16)]
    assert (proxy.connections, proxy.opened) == (16, 16)
    threads = [Background(lambda c=c, n=n: work(c, n)) for n, c in enumerate(clients)]  # type: ignore[misc]
    assert all(thread.ends(30) and thread.error is None for thread in threads)
    for client in clients:
        client.close()
    wait_for(lambda: proxy.connections == 0 and sessions(node) == 0)
    assert proxy.opened == 16


def test_a_client_that_leaves_leaves_the_server(
    node: GaleraNode, proxy: Proxy, connect: Connect
) -> None:
    before = sessions(node)
    connect(proxy).close()
    client = connect(proxy)
    with closing(socket.socket(fileno=os.dup(client.fileno()))) as descriptor:
        descriptor.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: proxy.connections == 0 and sessions(node) == before)


def test_a_server_that_leaves_leaves_the_client(
    node: GaleraNode, proxy: Proxy, connect: Connect
) -> None:
    connection = connect(proxy)
    node.query(f"KILL {connection.thread_id()}")
    wait_for(lambda: proxy.connections == 0)
    assert_lost(lambda: fetch(connection, "SELECT 1"))


def test_a_dead_server_ends_the_connections_and_comes_back(
    galera: GaleraCluster, node: GaleraNode, proxy: Proxy, connect: Connect
) -> None:
    connection = connect(proxy)
    node.kill()
    assert_lost(lambda: fetch(connection, "SELECT 1"))
    with pytest.raises(MySQLdb.OperationalError) as caught:
        connect(proxy, connect_timeout=10)
    assert caught.value.args[0] in NO_CONNECTION
    galera.heal()
    assert fetch(connect(proxy), "SELECT 1") == [(1,)]


def test_cut_ends_what_is_open_and_serves_what_is_new(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str
) -> None:
    connection = connect(proxy)
    fetch(connection, "START TRANSACTION")
    fetch(connection, f"INSERT INTO {numbers} VALUES (1)")
    sleeping = Background(lambda: fetch(connect(proxy), "SELECT SLEEP(20)"))
    wait_for(lambda: proxy.connections == 2)
    assert sleeping.hangs()
    proxy.cut()
    assert proxy.connections == 0
    assert sleeping.is_lost()
    assert_lost(lambda: fetch(connection, "COMMIT"))
    fresh = connect(proxy)
    assert fetch(fresh, "SELECT 1") == [(1,)]
    wait_for(lambda: sessions(node) <= 2)
    assert rows(node) == []


def test_cut_resets_rather_than_closes(proxy: Proxy) -> None:
    with closing(socket.create_connection((proxy.host, proxy.port), timeout=10)) as client:
        assert client.recv(4096)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(4096)


def test_refused_connections(proxy: Proxy, connect: Connect) -> None:
    connection = connect(proxy)
    proxy.refuse()
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.host, proxy.port), timeout=10)
    with pytest.raises(MySQLdb.OperationalError, match="Can't connect"):
        connect(proxy)
    assert fetch(connection, "SELECT 1") == [(1,)]
    proxy.accept()
    proxy.accept()
    assert fetch(connect(proxy), "SELECT 1") == [(1,)]


@pytest.mark.alone
def test_nothing_leaves_a_black_hole(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str
) -> None:
    connection = connect(proxy)
    proxy.black_hole()
    began = time.monotonic()
    with pytest.raises(MySQLdb.OperationalError) as caught:
        connect(proxy, connect_timeout=1)
    assert caught.value.args[0] in NO_CONNECTION
    assert 0.9 < time.monotonic() - began < 5
    insert = Background(lambda: fetch(connection, f"INSERT INTO {numbers} VALUES (1)"))
    assert insert.hangs()
    assert rows(node) == []
    proxy.restore()
    assert insert.ends()
    assert insert.error is None
    assert rows(node) == [1]
    wait_for(lambda: proxy.connections == 1)


def test_an_answer_does_not_leave_a_black_hole_either(proxy: Proxy, connect: Connect) -> None:
    connection = connect(proxy)
    select = Background(lambda: fetch(connection, "SELECT SLEEP(0.3)"))
    time.sleep(0.1)
    proxy.black_hole()
    assert select.hangs(1)
    proxy.restore()
    assert select.ends()
    assert select.error is None


def test_a_connection_opened_in_a_black_hole_is_served_after_it(
    node: GaleraNode, proxy: Proxy, connect: Connect
) -> None:
    proxy.black_hole()
    before = sessions(node)
    login = Background(lambda: fetch(connect(proxy), "SELECT 1"))
    assert login.hangs()
    assert proxy.connections == 1
    assert sessions(node) == before
    proxy.restore()
    assert login.ends()
    assert login.error is None


def test_a_black_hole_does_not_tell_the_server_that_the_client_is_gone(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str
) -> None:
    connection = connect(proxy)
    fetch(connection, "START TRANSACTION")
    fetch(connection, f"INSERT INTO {numbers} VALUES (1)")
    wait_for(lambda: sessions(node) == 1)
    proxy.black_hole()
    connection.close()
    time.sleep(0.3)
    assert sessions(node) == 1
    proxy.cut()
    wait_for(lambda: sessions(node) == 0)


@pytest.mark.alone
def test_a_delay_holds_every_answer(proxy: Proxy, connect: Connect) -> None:
    connection = connect(proxy)
    proxy.delay(0.3)
    began = time.monotonic()
    assert fetch(connection, "SELECT 1") == [(1,)]
    assert fetch(connection, "SELECT 2") == [(2,)]
    assert 0.6 <= time.monotonic() - began < 2
    proxy.delay(20)
    held = Background(lambda: fetch(connection, "SELECT 3"))
    assert held.hangs()
    proxy.delay(0)
    assert held.ends(5)
    began = time.monotonic()
    assert fetch(connection, "SELECT 4") == [(4,)]
    assert time.monotonic() - began < 0.25
    with pytest.raises(ValueError, match="negative"):
        proxy.delay(-1)


def test_a_delay_keeps_the_order_of_long_answers(proxy: Proxy, connect: Connect) -> None:
    connection = connect(proxy)
    proxy.delay(0.1)
    expected = [(n, str(n) * 3000) for n in range(1000)]
    rows = fetch(connection, "SELECT seq, REPEAT(seq, 3000) FROM seq_0_to_999")
    assert rows == expected


def test_a_swallowed_commit_is_committed(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str
) -> None:
    connection = connect(proxy)
    session = connection.thread_id()
    rule = proxy.swallow("^commit$")
    fetch(connection, "START TRANSACTION")
    fetch(connection, f"INSERT INTO {numbers} VALUES (1)")
    assert rule.fired == 0
    assert not rule.wait(0.01)
    commit = Background(connection.commit)
    assert rule.wait(10)
    assert rows(node) == [1]
    assert commit.hangs()
    assert rule.fired == 1
    node.query(f"KILL {session}")
    assert commit.hangs()
    proxy.cut()
    assert commit.is_lost()


def test_the_client_of_a_swallowed_answer_may_leave(
    node: GaleraNode, proxy: Proxy, connect: Connect
) -> None:
    connection = connect(proxy, read_timeout=1)
    proxy.swallow("SELECT 1")
    assert_lost(lambda: fetch(connection, "SELECT 1"))
    connection.close()
    wait_for(lambda: proxy.connections == 0 and sessions(node) == 0)


def test_a_commit_whose_answer_is_cut_off_is_committed(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str
) -> None:
    for number in range(1, 21):
        connection = connect(proxy)
        fetch(connection, "START TRANSACTION")
        fetch(connection, f"INSERT INTO {numbers} VALUES ({number})")
        rule = proxy.swallow("commit", cut=True)
        assert_lost(connection.commit)
        assert rule.fired == 1
        assert rows(node) == list(range(1, number + 1))
    assert proxy.connections == 0


@pytest.mark.parametrize("sql", ["SELECT * FROM seq_1_to_20000", "SELECT nonsense", "DO 1"])
def test_answers_of_every_kind_are_swallowed(proxy: Proxy, connect: Connect, sql: str) -> None:
    connection = connect(proxy)
    rule = proxy.swallow(re.escape(sql), cut=True)
    assert_lost(lambda: fetch(connection, sql))
    assert rule.wait(10)


def test_several_statements_are_cut_off_after_the_last(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str
) -> None:
    connection = connect(proxy)
    rule = proxy.swallow("INSERT INTO numbers", cut=True)
    began = time.monotonic()
    assert_lost(lambda: fetch(connection, MULTI))
    assert time.monotonic() - began >= 0.3
    assert rule.fired == 1
    assert rows(node) == [1]


@pytest.mark.parametrize("cut", [False, True], ids=["hangs", "cut"])
def test_a_dropped_commit_is_not_committed(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str, cut: bool
) -> None:
    connection = connect(proxy)
    fetch(connection, "START TRANSACTION")
    fetch(connection, f"INSERT INTO {numbers} VALUES (1)")
    rule = proxy.drop("COMMIT", cut=cut)
    with node.statements() as sent:
        commit = Background(connection.commit)
        assert rule.wait(10)
        assert commit.hangs() is not cut
        if not cut:
            proxy.cut()
        assert commit.is_lost()
    assert "COMMIT" not in [entry.sql for entry in sent]
    wait_for(lambda: sessions(node) == 0)
    assert rows(node) == []
    assert rule.fired == 1


def test_a_client_that_gave_up_frees_its_locks(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str
) -> None:
    connection = connect(proxy, read_timeout=1)
    fetch(connection, "START TRANSACTION")
    fetch(connection, f"INSERT INTO {numbers} VALUES (1)")
    proxy.drop("COMMIT")
    assert_lost(connection.commit)
    connection.close()
    wait_for(lambda: proxy.connections == 0)
    fetch(connect(proxy), f"INSERT INTO {numbers} VALUES (1)")
    assert rows(node) == [1]


def test_a_rule_strikes_as_often_as_it_says(proxy: Proxy, connect: Connect) -> None:
    rule = proxy.drop("SELECT '?1'?", times=2, cut=True)
    clients = [connect(proxy) for _ in range(3)]
    assert fetch(clients[0], "SELECT 2") == [(2,)]
    for client in clients[:2]:
        assert_lost(lambda client=client: fetch(client, "SELECT 1"))  # type: ignore[misc]
    assert fetch(clients[2], "SELECT 1") == [(1,)]
    assert rule.fired == 2


def test_the_first_rule_that_matches_takes_the_statement(proxy: Proxy, connect: Connect) -> None:
    first, second = proxy.drop("SELECT", cut=True), proxy.drop("SELECT", cut=True)
    assert_lost(lambda: fetch(connect(proxy), "SELECT 1"))
    assert (first.fired, second.fired) == (1, 0)
    assert_lost(lambda: fetch(connect(proxy), "SELECT 1"))
    assert (first.fired, second.fired) == (1, 1)


def test_a_cancelled_rule_does_not_strike(proxy: Proxy, connect: Connect) -> None:
    rules = [proxy.drop("SELECT"), proxy.swallow("SELECT"), proxy.cut_at(1)]
    for rule in rules:
        rule.cancel()
    assert fetch(connect(proxy), "SELECT 1") == [(1,)]
    assert [rule.fired for rule in rules] == [0, 0, 0]


def test_rules_that_make_no_sense(proxy: Proxy) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        proxy.swallow("COMMIT", times=0)
    with pytest.raises(ValueError, match="at least 1"):
        proxy.cut_at(0)
    with pytest.raises(re.error):
        proxy.drop("(")


@pytest.mark.parametrize("packets", range(1, 6))
def test_cut_at_the_nth_packet(
    node: GaleraNode, proxy: Proxy, connect: Connect, numbers: str, packets: int
) -> None:
    connection, other = connect(proxy), connect(proxy)
    rule = proxy.cut_at(packets)
    for number in range(1, packets):
        fetch(connection, f"INSERT INTO {numbers} VALUES ({number})")
    assert rule.fired == 0
    assert_lost(lambda: fetch(connection, f"INSERT INTO {numbers} VALUES ({packets})"))
    assert rule.fired == 1
    assert rows(node) == list(range(1, packets))
    assert fetch(other, "SELECT 1") == [(1,)]


def test_cut_at_a_login(node: GaleraNode, proxy: Proxy, connect: Connect) -> None:
    rule = proxy.cut_at(1)
    with pytest.raises(MySQLdb.OperationalError) as caught:
        connect(proxy)
    assert caught.value.args[0] in NO_CONNECTION
    assert rule.fired == 1
    assert fetch(connect(proxy), "SELECT 1") == [(1,)]


def test_rules_see_all_connections_but_not_what_is_compressed(
    proxy: Proxy, connect: Connect
) -> None:
    compressed, rule = connect(proxy, compress=True), proxy.drop("SELECT", cut=True)
    assert fetch(compressed, "SELECT REPEAT('x', 100000)") == [("x" * 100_000,)]
    assert_lost(lambda: fetch(connect(proxy), "SELECT 1"))
    assert rule.fired == 1


def test_heal_undoes_everything(proxy: Proxy, connect: Connect) -> None:
    well, hanging = connect(proxy), connect(proxy)
    dropped = proxy.drop("SELECT 'drop'", times=9)
    waiting = Background(lambda: fetch(hanging, "SELECT 'drop'"))
    assert dropped.wait(10)
    proxy.delay(60)
    proxy.refuse()
    proxy.black_hole()
    proxy.heal()
    assert waiting.is_lost()
    assert fetch(well, "SELECT 'drop'") == [("drop",)]
    assert fetch(connect(proxy), "SELECT 1") == [(1,)]
    assert dropped.fired == 1


def test_start_and_stop(node: GaleraNode, connect: Connect) -> None:
    before = threading.active_count()
    descriptors = len(os.listdir("/proc/self/fd"))
    proxy = Proxy(node.host, node.port)
    for missing in (lambda: proxy.port, lambda: proxy.connections, proxy.cut):
        with pytest.raises(ClusterError, match="not started"):
            missing()
    proxy.stop()
    for _ in range(2):
        proxy.start()
        with pytest.raises(ClusterError, match="already"):
            proxy.start()
        connection = connect(proxy)
        rule = proxy.swallow("SELECT 1")
        hanging = Background(lambda connection=connection: fetch(connection, "SELECT 1"))  # type: ignore[misc]
        assert rule.wait(10)
        proxy.stop()
        proxy.stop()
        assert hanging.is_lost()
        connection.close()
    wait_for(lambda: threading.active_count() == before)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_only_the_loopback_is_listened_on(proxy: Proxy) -> None:
    with open("/proc/self/net/tcp") as table:
        listening = [line.split()[1] for line in table if line.split()[3] == "0A"]
    assert f"0100007F:{proxy.port:04X}" in listening


def test_a_forked_child_has_no_part_in_it(proxy: Proxy, connect: Connect) -> None:
    """Its parent can still cut and refuse, which no copy of a socket may prevent."""
    connection = connect(proxy)
    stay, leave = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(leave)
            proxy.stop()
            try:
                proxy.cut()
            except ClusterError:
                code = 0
            os.read(stay, 1)
        finally:
            os._exit(code)
    os.close(stay)
    assert fetch(connection, "SELECT 1") == [(1,)]
    hanging = Background(lambda: fetch(connection, "SELECT SLEEP(20)"))
    assert hanging.hangs()
    proxy.cut()
    assert hanging.is_lost()
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.host, proxy.port), timeout=10)
    proxy.accept()
    os.close(leave)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert fetch(connect(proxy), "SELECT 1") == [(1,)]


def test_forks_while_it_is_busy(proxy: Proxy, connect: Connect) -> None:
    connection = connect(proxy)
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            assert fetch(connection, "SELECT 1") == [(1,)]

    busy = Background(work)
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    done.set()
    assert busy.ends()
    assert busy.error is None
    assert proxy.connections == 1


def test_a_cluster_has_a_proxy_for_each_node(galera: GaleraCluster, connect: Connect) -> None:
    with galera.proxies() as proxies:
        assert list(proxies) == ["db1", "db2", "db3"]
        for name, proxy in proxies.items():
            port = fetch(connect(proxy), "SELECT @@port")[0][0]
            assert port == galera[name].port != proxy.port
        nodes = galera.databases(proxies=proxies)["default"]["NODES"]
        assert nodes["db2"] == {"HOST": "127.0.0.1", "PORT": proxies["db2"].port}
        some = galera.databases(proxies={"db3": proxies["db3"]}, USER="other")["default"]
        assert some["NODES"]["db1"]["PORT"] == galera["db1"].port
        assert some["NODES"]["db3"]["PORT"] == proxies["db3"].port
        assert some["USER"] == "other"
    with pytest.raises(ClusterError):
        proxies["db1"].cut()


def test_django_goes_through_the_proxies(galera: GaleraCluster, numbers: str) -> None:
    with galera.proxies() as proxies:
        command = [sys.executable, "-c", DJANGO]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            print(json.dumps(galera.databases(proxies=proxies)), file=program.stdin)
            print("go", file=program.stdin, flush=True)
            assert int(program.stdout.readline()) == galera["db1"].port
            assert proxies["db1"].connections >= 1
            proxies["db1"].cut()
            proxies["db1"].refuse()
            print("go", file=program.stdin, flush=True)
            assert int(program.stdout.readline()) in (galera["db2"].port, galera["db3"].port)
        assert program.returncode == 0
    assert rows(galera["db2"]) == [1, 2]

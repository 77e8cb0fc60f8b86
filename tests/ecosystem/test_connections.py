"""How a user may have connections made: each holds through a read, a promotion and losses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import connection, connections, transaction

from tests.integration.support import Shop, wait_until
from tests.shop.models import Author

NODES = ("default_db1", "default_db2", "default_db3")


@contextmanager
def request() -> Iterator[None]:
    """What a server does around a request: connections are closed when they are due."""
    request_started.send(sender=None)
    try:
        yield
    finally:
        request_finished.send(sender=None)


def holds(shop: Shop, *, lose: str = "kill_connections") -> None:
    """A read, a promotion, the loss of both connections, and of the primary to ``lose``."""
    with request():
        Author.objects.create(name="Ann")
    shop.settle()
    with request(), transaction.atomic():
        author = Author.objects.get()
        assert shop.session.snapshot is not None
        assert shop.session.snapshot is not None
        name = shop.session.snapshot.node.name
        shop.galera["db3" if name == "host" else name].kill_connections()
        assert Author.objects.count() == 1
        author.name = "Bea"
        author.save()
        assert shop.session.transaction_begun
        shop.writing.kill_connections()
        Author.objects.create(name="Cleo")
        getattr(shop.galera["db1"], lose)()
        Author.objects.create(name="Dora")
    with request():
        assert names() == ["Bea", "Cleo", "Dora"]
    assert shop.everywhere("SELECT name FROM galera_router.shop_author ORDER BY name") == [
        ("Bea",), ("Cleo",), ("Dora",)
    ]  # fmt: skip


def names() -> list[str]:
    return list(Author.objects.order_by("name").values_list("name", flat=True))


def clients(shop: Shop) -> dict[str, set[int]]:
    """The connections of clients that each node has."""
    sql = "SELECT id FROM information_schema.processlist WHERE user = 'galera'"
    return {node.name: {n for (n,) in node.query(sql)} for node in shop.galera.nodes}


def read_and_write() -> None:
    with request(), transaction.atomic():
        count = Author.objects.count()
        Author.objects.create(name=str(count))


# --- their age ----------------------------------------------------------------------------


@pytest.mark.parametrize("checks", [False, True])
@pytest.mark.parametrize("age", [0, 60, None])
def test_the_age_of_connections(shop: Shop, age: int | None, checks: bool) -> None:
    shop.configure(CONN_MAX_AGE=age, CONN_HEALTH_CHECKS=checks)
    holds(shop, lose="kill" if age == 60 and checks else "kill_connections")


def test_an_age_of_zero_closes_all_after_each_request(shop: Shop) -> None:
    shop.configure(CONN_MAX_AGE=0)
    for _ in range(3):
        read_and_write()
        wait_until(lambda: clients(shop) == {"db1": set(), "db2": set(), "db3": set()})


def test_connections_are_kept_and_then_closed_when_they_are_old(shop: Shop) -> None:
    node = shop.galera["db2"]
    shop.configure(CONN_MAX_AGE=60, HOST=node.host, PORT=node.port)
    read_and_write()
    kept = clients(shop)
    assert [len(kept[name]) for name in ("db1", "db2", "db3")] == [1, 1, 0]
    read_and_write()
    assert clients(shop) == kept
    for alias in ("default", "default_db2"):  # a minute has passed
        connections[alias].close_at = 0
    with request():
        pass
    wait_until(lambda: not any(clients(shop).values()))
    read_and_write()


def test_health_checks_find_connections_that_the_server_has_closed(shop: Shop) -> None:
    shop.configure(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True, OPTIONS={"failover_enable": False})
    for _ in range(3):
        read_and_write()
        for node in shop.galera.nodes:
            node.kill_connections()
        with request():
            Author.objects.create(name=f"after {Author.objects.count()}")
    assert Author.objects.count() == 6


# --- what is set on them ------------------------------------------------------------------

LEVELS = ["read uncommitted", "read committed", "repeatable read", "serializable", None]


@pytest.mark.parametrize("level", LEVELS)
def test_isolation_levels(shop: Shop, level: str | None) -> None:
    shop.configure(OPTIONS={"isolation_level": level})
    expected = (level or "repeatable read").upper().replace(" ", "-")
    assert variable("default", "tx_isolation") == expected
    assert {variable(alias, "tx_isolation") for alias in NODES} == {"REPEATABLE-READ"}
    holds(shop)
    with transaction.atomic():
        Author.objects.create(name="Eve")
        assert variable("default", "tx_isolation") == expected, "after the failover as well"


def variable(alias: str, name: str) -> Any:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT @@{name}")
        (value,) = cursor.fetchone()
    return value


@pytest.mark.parametrize("separator", ["; ", ";\n"])
def test_an_init_command_of_ones_own(shop: Shop, separator: str) -> None:
    commands = [
        "SET SESSION lock_wait_timeout = 77",
        "SET @tenant = 'a;b'",
        "SET time_zone='+01:00'",
    ]
    shop.configure(OPTIONS={"init_command": separator.join(commands)})
    for alias in ("default", *NODES):
        assert variable(alias, "lock_wait_timeout") == 77
        assert variable(alias, "tx_read_only") == (alias != "default")
    holds(shop)
    assert variable("default", "lock_wait_timeout") == 77
    with connection.cursor() as cursor:
        cursor.execute("SELECT @tenant")
        assert cursor.fetchone() == ("a;b",)


# --- where they lead ----------------------------------------------------------------------


def test_a_file_of_options(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "my.cnf"
    file.write_text("[client]\nuser = galera\npassword = galera\ndatabase = galera_router\n")
    options = {"read_default_file": str(file)}
    shop.configure(USER="", PASSWORD="", NAME="", OPTIONS=options)
    holds(shop, lose="kill")


def test_unix_sockets(shop: Shop) -> None:
    nodes = {node.name: {"HOST": str(node.socket)} for node in shop.galera.nodes}
    shop.configure(NODES=nodes)
    holds(shop, lose="kill")
    with connections["default_db2"].cursor() as cursor:
        cursor.execute("SELECT host FROM information_schema.processlist WHERE id=CONNECTION_ID()")
        assert cursor.fetchone() == ("localhost",)


def test_the_socket_of_this_machines_node_beside_addresses(shop: Shop) -> None:
    shop.configure(HOST=str(shop.galera["db3"].socket))
    assert "default_host" in connections
    holds(shop)
    shop.forget()
    with transaction.atomic():
        assert len(names()) == 3
        assert shop.session.snapshot is not None
        assert shop.session.snapshot.node.name == "host"

"""Receivers of ``connection_created``: they are called when they would be with stock Django."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from galera_router.connections.connection import NodeConnection
from galera_router.exceptions import NoNodeAvailable
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author


@contextmanager
def receiving(receiver: Callable[..., None]) -> Iterator[None]:
    connection_created.connect(receiver)
    try:
        yield
    finally:
        connection_created.disconnect(receiver)


class Hook:
    """Puts an execute wrapper into each connection, once, and keeps what that has seen."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        if self.see not in connection.execute_wrappers:
            connection.execute_wrappers.insert(0, self.see)

    def see(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.seen.append(sql.split()[0])
        return execute(sql, params, many, context)


class SettingHook(Hook):
    """The same, and it says something to the server."""

    def __call__(self, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION lock_wait_timeout = 77")
        super().__call__(connection)


def read() -> None:
    Author.objects.count()


_number = itertools.count()


def write() -> None:
    Author.objects.create(name=f"Ann {next(_number)}")


def read_then_write() -> None:
    with transaction.atomic():
        read()
        write()


def by_hand() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.mark.parametrize("kind", [Hook, SettingHook])
@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (read, ["SELECT"]),
        (write, ["INSERT"]),
        (read_then_write, ["SELECT", "INSERT"]),
        (by_hand, ["SELECT"]),
    ],
)
def test_a_hook_sees_each_statement_of_a_new_thread_once(
    shop: Shop, kind: type[Hook], work: Callable[[], None], expected: list[str]
) -> None:
    shop.warm()
    hook = kind()
    with receiving(hook):
        elsewhere(work)
        assert hook.seen == expected


@pytest.mark.parametrize("kind", [Hook, SettingHook])
def test_a_hook_stays_when_the_primary_is_connected_again(shop: Shop, kind: type[Hook]) -> None:
    hook = kind()
    with receiving(hook):
        connections.close_all()
        read_then_write()
        assert shop.session.primary is not None
        shop.session.primary.cut()
        read_then_write()
        connection.close()
        read_then_write()
    assert hook.seen == ["SELECT", "INSERT"] * 3
    assert connection.execute_wrappers.count(hook.see) == 1
    connection.execute_wrappers.remove(hook.see)


def test_a_hook_on_the_alias_of_a_node(shop: Shop) -> None:
    hook = Hook()
    with receiving(hook):
        elsewhere(lambda: Author.objects.using("default_db2").count())
    assert hook.seen == ["SELECT"]


def test_a_silent_receiver_hears_of_the_cluster_once(shop: Shop) -> None:
    """As with stock Django; the connections behind the door are of no interest to it."""
    heard: list[str] = []

    def receiver(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        heard.append(connection.alias)

    def work() -> None:
        read_then_write()
        read_then_write()

    with receiving(receiver):
        elsewhere(work)
        assert heard.count("default") == 1
        connections["default"].close()
        read_then_write()
        assert heard.count("default") == 2


def test_the_signal_comes_with_the_cursor(shop: Shop) -> None:
    heard: list[Any] = []

    def receiver(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        heard.append(connection.connection)

    connections.close_all()
    with receiving(receiver), connection.cursor():
        assert heard == [connection.connection]


def test_a_silent_receiver_costs_no_connection(shop: Shop) -> None:
    connections.close_all()
    with receiving(Hook()), transaction.atomic():
        assert shop.session.primary is None
        assert shop.session.reader.kept() is None
    connection.execute_wrappers.clear()


def connected(shop: Shop) -> bool:
    """Returns True if there is a connection to the primary."""
    return shop.session.primary is not None


def lock_wait_timeout(link: NodeConnection | None) -> int:
    assert link is not None
    link.query(b"SELECT @@lock_wait_timeout")
    return int(link.rows()[0][0])


def test_what_a_receiver_sets_is_set_on_each_node(shop: Shop) -> None:
    with receiving(SettingHook()):
        connections.close_all()
        read()
        assert not connected(shop), "a read is no reason to connect to the primary"
        assert lock_wait_timeout(shop.session.reader.kept()) == 77
        write()
        assert lock_wait_timeout(shop.session.primary) == 77
        assert shop.session.primary is not None
        assert shop.session.primary.state is None
    connection.execute_wrappers.clear()


def test_what_a_receiver_sets_is_set_after_a_failover(shop: Shop) -> None:
    with receiving(SettingHook()):
        connections.close_all()
        with transaction.atomic():
            write()
            lost = shop.session.primary
            assert lost is not None
            lost.cut()
            write()
            assert shop.session.primary is not lost
        assert lock_wait_timeout(shop.session.primary) == 77
    connection.execute_wrappers.clear()


def asks_a_model(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    Author.objects.using(connection.alias).count()


def asks_in_a_block(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    with transaction.atomic(using=connection.alias):
        asks_a_model(connection)


def sets_in_a_block(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SET SESSION lock_wait_timeout = 77")


def asks_another_alias(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if connection.alias == "default":
        Author.objects.using("default_db3").count()


@pytest.mark.parametrize(
    "receiver", [asks_a_model, asks_in_a_block, sets_in_a_block, asks_another_alias]
)
@pytest.mark.parametrize("work", [read, write, read_then_write, by_hand])
def test_what_receivers_do(
    shop: Shop, receiver: Callable[..., None], work: Callable[[], None]
) -> None:
    """The application's own statements are none the worse for it."""
    before = len(shop.everywhere("SELECT id FROM galera_router.shop_author"))
    with receiving(receiver):
        elsewhere(work)
        connections.close_all()
        with transaction.atomic():
            work()
            assert connection.in_atomic_block
        assert connection.get_autocommit()
    after = len(shop.everywhere("SELECT id FROM galera_router.shop_author"))
    assert after - before == (2 if work in (write, read_then_write) else 0)


def test_an_execute_wrapper_around_it_all(shop: Shop) -> None:
    """It sees the application's statements alone, and is gone behind its block."""
    hook = SettingHook()
    connections.close_all()
    with connection.execute_wrapper(hook.see), receiving(SettingHook()):
        read_then_write()
    assert hook.seen == ["SELECT", "INSERT"]
    assert hook.see not in connection.execute_wrappers
    connection.execute_wrappers.clear()


def test_a_receiver_that_fails_is_told(shop: Shop) -> None:
    def receiver(**kwargs: Any) -> None:
        raise RuntimeError("not today")

    connections.close_all()
    with receiving(receiver), pytest.raises(RuntimeError, match="not today"):
        read()
    connections.close_all()
    read()


def test_a_receiver_with_a_statement_that_fails(shop: Shop) -> None:
    def receiver(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION no_such_variable = 1")

    connections.close_all()
    with receiving(receiver), pytest.raises(NoNodeAvailable, match="no_such_variable"):
        read()

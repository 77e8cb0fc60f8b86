"""Processes of which only one is refused by the primary write to different nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import MySQLdb
import pytest
from django.db import connection

from galera_router import reads
from galera_router.transactions.session import session_of
from tests.faults.children import Child, ChildError
from tests.faults.known import both
from tests.faults.nodes import stalled
from tests.faults.support import EitherShop
from tests.shop.models import Tag

OPTIONS = {"reconnect_wait_time": 2.0}
FEW = 10  # the server takes no smaller max_connections
TOO_MANY = 1040


def write() -> str:
    """Add a tag; returns the name of the node that it was written to."""
    Tag.objects.create(name="new")
    context = session_of("default")
    assert context is not None
    assert context.primary is not None
    return context.primary.node.name


def write_if_let(child: Child) -> str | None:
    """Where ``child`` has written; None if it was told that it cannot."""
    try:
        return str(child.call(write))
    except ChildError:
        return None


@contextmanager
def full(shop: EitherShop) -> Iterator[dict[str, Any]]:
    """The primary takes no new connections, and keeps those that it has."""
    node, galera = shop.galera["db1"], shop.galera
    ((before,),) = node.query("SELECT @@GLOBAL.max_connections")
    login = {"host": node.host, "port": node.port, "user": galera.user, "passwd": galera.password}
    with ExitStack() as stack:
        stack.callback(node.query, "SET GLOBAL max_connections = %s", [before])
        node.query("SET GLOBAL max_connections = %s", [FEW])
        with pytest.raises(MySQLdb.OperationalError) as refused:
            for _ in range(FEW + 1):
                stack.enter_context(closing(MySQLdb.connect(**login)))
        assert refused.value.args[0] == TOO_MANY
        yield shop.databases(OPTIONS=OPTIONS)


@contextmanager
def cut_off(shop: EitherShop) -> Iterator[dict[str, Any]]:
    """The primary cannot be reached by the other process alone."""
    with shop.galera.proxies() as proxies:
        proxies["db1"].refuse()
        yield shop.databases(proxies=proxies, OPTIONS=OPTIONS)


@pytest.fixture(params=[full, cut_off])
def other(request: pytest.FixtureRequest, shop: EitherShop) -> Iterator[Child]:
    """A new process, which the primary of this one refuses."""
    connection.ensure_connection()
    shop.warm()
    assert write() == "db1"
    with request.param(shop) as databases, Child(databases) as child:
        yield child


@both(stock=False)
def test_both_write_to_one_node(other: Child) -> None:
    there = write_if_let(other)
    assert there in (None, write())


@both(stock=False)
def test_a_read_on_the_primary_is_not_old(shop: EitherShop, other: Child) -> None:
    """What the other process has been told to be written is there."""
    with stalled(shop.galera["db1"], "shop_tag"):
        written = write_if_let(other) is not None
        with reads("primary"):
            assert Tag.objects.count() == 1 + written

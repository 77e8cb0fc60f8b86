"""Processes of which only one is refused by the primary write to different nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, connection

from galera_router import reads
from galera_router.transactions.sessions import session_of
from tests.faults.children import Child, ChildError
from tests.faults.known import both
from tests.faults.nodes import stalled
from tests.faults.support import EitherShop
from tests.integration import support
from tests.shop.models import Tag

OPTIONS = {"reconnect_wait_time": 2.0}


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
    with support.full(shop.galera, shop.galera["db1"]):
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


EPOCHS = "SELECT flips FROM galera_router.galera_router_epoch"


def write_for(seconds: float) -> tuple[int, list[str]]:
    """Write all the time; returns how often, and the errors that were met."""
    until, written, errors = time.monotonic() + seconds, 0, list[str]()
    while time.monotonic() < until:
        try:
            write()
            written += 1
        except DatabaseError as error:
            errors.append(f"{type(error).__name__}: {error}")
    return written, errors


@both(stock=False)
def test_two_that_each_reach_one_node_do_not_take_the_primary_from_each_other(
    shop: EitherShop,
) -> None:
    """It changes at most four times in a minute, and whoever is cut off is told why it waits."""
    connection.ensure_connection()
    assert write() == "db1"
    options = {"reconnect_wait_time": 1.0, "failback_delay": None}
    with ExitStack() as stack:
        children = []
        for reached in ("db1", "db2"):
            proxies = stack.enter_context(shop.galera.proxies())
            for name in {"db1", "db2", "db3"} - {reached}:
                proxies[name].refuse()
            databases = shop.databases(proxies=proxies, OPTIONS=options)
            children.append(stack.enter_context(Child(databases)))
        with ThreadPoolExecutor(2) as pool:
            told = list(pool.map(lambda child: child.call(write_for, 25.0), children))
    ((flips,),) = shop.galera["db3"].query(EPOCHS)
    assert flips + 1 <= 3, told  # after 2, 6 and 14 s at the earliest; then after 30 and 62
    for written, errors in told:
        assert written
        assert all(error.startswith("NoNodeAvailable: ") for error in errors)
    assert any("is not the primary" in error for _, errors in told for error in errors)


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

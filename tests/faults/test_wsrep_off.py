"""A member whose wsrep_on was turned off: what is written there is on no other node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections

from galera_router.cluster import membership
from galera_router.cluster.node import Node
from galera_router.cluster.nodes import Cluster
from galera_router.cluster.probe import Answer
from galera_router.cluster.survey import Surveyor
from galera_router.testing import GaleraNode
from tests.faults.known import both
from tests.faults.nodes import be_quick
from tests.faults.support import EitherShop
from tests.integration.support import wait_until
from tests.shop.models import Tag


@contextmanager
def apart(node: GaleraNode) -> Iterator[None]:
    """Let new sessions of ``node`` have nothing to do with the cluster."""
    node.query("SET GLOBAL wsrep_on = OFF")
    try:
        yield
    finally:
        node.query("SET GLOBAL wsrep_on = ON")


def cluster_of(shop: EitherShop) -> Cluster:
    return shop.session.cluster


@both(stock=False)
@pytest.mark.parametrize("name", ["db1", "db2", "db3"])
def test_nothing_is_written_there_and_nothing_is_read(shop: EitherShop, name: str) -> None:
    with apart(shop.galera[name]):
        Tag.objects.create(name="new")
        assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == [("new",)]
        for _ in range(10):
            shop.forget()
            Tag.objects.count()
            seen = shop.session.following.seen
            assert isinstance(seen, Node)
            assert seen.name != name
        connections.close_all()


@both(stock=False)
def test_not_even_if_no_other_is_left(shop: EitherShop) -> None:
    shop.configure(OPTIONS={"reconnect_wait_time": 0.0})
    with apart(shop.galera["db1"]):
        for name in ("db2", "db3"):
            shop.galera[name].reject_queries()
        with pytest.raises(Exception, match=r"db1: its wsrep_on is OFF"):
            Tag.objects.create(name="new")
    shop.accept_queries()
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == []


@both(stock=False)
def test_it_is_noticed_while_connections_are_open_and_when_it_is_over(
    shop: EitherShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_quick(monkeypatch)
    Tag.objects.create(name="first")
    node = cluster_of(shop).nodes[0]
    with apart(shop.galera["db1"]):
        wait_until(lambda: bool(Tag.objects.exists()) and not node.up)
        Tag.objects.create(name="second")
        assert shop.writing.name == "db2"
    wait_until(lambda: bool(Tag.objects.exists()) and node.up)
    assert len(shop.everywhere("SELECT name FROM galera_router.shop_tag")) == 2


@both(stock=False)
def test_it_is_not_taken_for_a_cluster_that_was_built_anew(shop: EitherShop) -> None:
    """The watchdog hears of it while the others are down."""
    Tag.objects.create(name="first")
    cluster = cluster_of(shop)
    first, *others = cluster.nodes
    for node in others:
        cluster.mark_down(node, OperationalError(2002, "gone"))
    before = membership.identity(cluster)
    answer = Answer(server=first.server, cluster_id=before, replicates=False)
    assert "wsrep_on is OFF" in str(membership.heard(first, answer))
    assert membership.identity(cluster) == before


@both(stock=False)
def test_an_operator_is_told(shop: EitherShop) -> None:
    Tag.objects.create(name="first")
    with apart(shop.galera["db2"]):
        survey = Surveyor(cluster_of(shop)).look(wait=2.0, age=0.0)
        assert "db2: its wsrep_on is OFF" in " ".join(survey.complaints())
        with pytest.raises(CommandError, match="wsrep_on is OFF"):
            call_command("galera_switchover", "db2")

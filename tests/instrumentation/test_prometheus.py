"""Prometheus: what is counted, alone and in several processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, connections, transaction
from prometheus_client import CollectorRegistry

from galera_router import instrumentation, reads
from galera_router.cluster import monitor
from galera_router.instrumentation.prometheus import Prometheus
from galera_router.instrumentation.states import STATES
from galera_router.transactions.cursor import Call, _Door
from galera_router.transactions.watching import _query_quickly, _send
from tests.instrumentation.support import installed
from tests.integration.support import Shop, wait_until
from tests.shop.models import Author, Book


class Measured:
    """The metrics of one cluster."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def value(self, name: str, **labels: str) -> float:
        labels = {"cluster": "default", **labels}
        return self.registry.get_sample_value(f"galera_router_{name}", labels) or 0.0

    def sent(self, kind: str) -> dict[str, float]:
        """How many statements of ``kind`` each node has answered."""
        instrumentation.refresh()
        found = {
            node: self.value("statements_total", node=node, kind=kind)
            for node in ("db1", "db2", "db3")
        }
        return {node: count for node, count in found.items() if count}


@pytest.fixture
def measured(shop: Shop) -> Iterator[Measured]:
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port)
    shop.stock(3)
    shop.warm()
    measured = Measured()
    with installed(Prometheus(measured.registry)):
        yield measured


def test_statements_are_counted_where_they_were_sent(measured: Measured) -> None:
    for _ in range(3):
        Book.objects.count()
    with transaction.atomic():
        for _ in range(4):
            Book.objects.count()
    list(Book.objects.all())
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert measured.sent("read") == {"db2": 9}
    with reads("primary"):
        Book.objects.count()
    Book.objects.using("default_db3").count()
    assert measured.sent("read") == {"db1": 1, "db2": 9, "db3": 1}
    assert measured.sent("write") == {}
    Author.objects.create(name="Bea")
    with transaction.atomic():
        Author.objects.create(name="Cid")
        Author.objects.filter(name="Cid").update(name="Dan")
    assert measured.sent("write") == {"db1": 3}


def test_a_statement_is_counted_where_it_was_answered(shop: Shop, measured: Measured) -> None:
    with transaction.atomic():
        Book.objects.count()
        shop.galera["db2"].kill()
        Book.objects.count()
        taken = shop.reading.name
        Book.objects.count()
    assert measured.sent("read") == {"db2": 1, taken: 2}


def test_promotions_and_their_seconds(measured: Measured) -> None:
    with transaction.atomic():
        Book.objects.count()
        Author.objects.create(name="Bea")
    Author.objects.create(name="Cid")
    assert measured.value("promotion_seconds_count", node="db1") == 1
    assert 0 < measured.value("promotion_seconds_sum", node="db1") < 5


def test_how_the_nodes_are(shop: Shop, measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "ASK_WELL", 1.0)
    Author.objects.create(name="Bea")
    wait_until(lambda: measured.value("node_state", node="db3", state="well") == 1)
    assert measured.value("primary", node="db1") == 1
    assert measured.value("primary", node="db2") == 0
    shop.galera["db3"].kill()

    def is_down() -> bool:
        connections["default"].ensure_connection()
        Book.objects.count()
        return measured.value("node_state", node="db3", state="down") == 1

    wait_until(is_down)
    states = {state: measured.value("node_state", node="db3", state=state) for state in STATES}
    assert sum(states.values()) == 1
    assert measured.value("node_losses_total", node="db3") == 1


def test_nothing_is_left_of_it(measured: Measured) -> None:
    assert Call.send is not _send
    with installed():
        pass
    assert Call.send is not _send, "another one goes on"


def test_without_it_a_statement_goes_its_usual_way() -> None:
    assert Call.send is _send
    assert _Door._query_quickly is _query_quickly
    assert monitor._after_looks == ()

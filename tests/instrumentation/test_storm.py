"""After a storm of faults, events, log and metrics agree with the list of what was done."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from prometheus_client import CollectorRegistry

from galera_router import galera_atomic
from galera_router.cluster.survey import DEGRADED, Surveyor
from galera_router.events import (
    Conflict,
    Event,
    Failover,
    NodeDown,
    NodeUp,
    OutcomeSettled,
    PrimaryChanged,
    Promotion,
    Replay,
    Rerun,
    Waited,
)
from galera_router.instrumentation.opentelemetry import OpenTelemetry, kind_of
from galera_router.instrumentation.prometheus import Prometheus
from galera_router.signals import PREFIX
from galera_router.staff import events as page
from galera_router.testing import Proxy
from tests.instrumentation.support import Recorder, installed, recorded
from tests.integration.support import Shop, wait_until
from tests.shop.models import Author, Book

COMMIT = r"(?s)\ACOMMIT(; END)?\Z|\bshop_\w+\b.*COMMIT(; END)?\Z"


class Storm:
    """Does one thing after the other, each with what is to be told of it."""

    def __init__(self, shop: Shop, proxies: dict[str, Proxy]) -> None:
        self.shop = shop
        self.proxies = proxies
        self.expected: list[tuple[type[Event], dict[str, Any]]] = []

    def expect(self, kind: type[Event], **values: Any) -> None:
        self.expected.append((kind, values))

    def first_write(self) -> None:
        with transaction.atomic():
            Book.objects.count()
            Author.objects.create(name="Bea")
        self.expect(PrimaryChanged, node="db1", before="", reason="it is the first")
        self.expect(Promotion, node="db1", replayed=1)

    def lost_answer(self) -> None:
        rule = self.proxies["db1"].swallow(COMMIT, cut=True)
        with transaction.atomic():
            Author.objects.create(name="Cid")
        assert rule.fired == 1
        self.expect(OutcomeSettled, lost="db1", node="db1", committed=True)

    def lost_commit(self) -> None:
        rule = self.proxies["db1"].drop(COMMIT, cut=True)
        with transaction.atomic():
            Author.objects.create(name="Dan")
        assert rule.fired == 1
        self.expect(Replay, node="db1", cause="commit", replayed=1)
        self.expect(OutcomeSettled, lost="db1", node="db1", committed=False)

    def conflict(self) -> None:
        with transaction.atomic():
            Book.objects.update(stock=F("stock") + 1)
            self.shop.galera["db3"].query("UPDATE galera_router.shop_book SET stock = stock + 1")
            self.shop.settle()
        self.expect(Conflict, node="db1", error=1213, again=True)
        self.expect(Replay, node="db1", cause="conflict", replayed=1)

    def rerun(self) -> None:
        left = [1]

        @galera_atomic
        def sell() -> None:
            book = Book.objects.get()
            if left:
                left.pop()
                self.shop.galera["db1"].query("UPDATE galera_router.shop_book SET stock = 50")
                self.shop.settle()
            book.stock -= 1
            book.save()

        sell()
        self.expect(Rerun, run=2, error="ReplayMismatch")

    def kill_secondary(self) -> None:
        self.shop.forget()
        with transaction.atomic():
            Book.objects.count()
            lost = self.shop.reading
            lost.kill()
            Book.objects.count()
            taken = self.shop.reading
        self.expect(NodeDown, node=lost.name)
        self.expect(Replay, node=taken.name, cause="failover", replayed=1)
        self.expect(Failover, lost=lost.name, taken_over_by=taken.name, replayed=1)
        lost.start()
        session = self.shop.session
        node = session.cluster.node(f"default_{lost.name}")
        wait_until(lambda: session.cluster.primary() is not None and node.up, 60)
        self.expect(NodeUp, node=lost.name)

    def kill_primary(self) -> None:
        with transaction.atomic():
            Author.objects.create(name="Eve")
            lost = self.shop.writing
            lost.kill()
            Author.objects.create(name="Fay")
            taken = self.shop.writing
        self.expect(NodeDown, node=lost.name)
        self.expect(PrimaryChanged, node=taken.name, before=lost.name)
        self.expect(Replay, node=taken.name, cause="failover", replayed=1)
        self.expect(Failover, lost=lost.name, taken_over_by=taken.name, replayed=1)


@pytest.fixture
def storm(shop: Shop) -> Iterator[Storm]:
    with shop.proxied() as proxies:
        shop.stock()
        shop.configure(proxies=proxies)  # as a process that knows nothing yet
        yield Storm(shop, proxies)


def test_everybody_tells_the_same(storm: Storm, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "galera_router")
    page.install()
    page.forget()
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    telemetry = OpenTelemetry(MeterProvider([reader]))
    with recorded() as recorder, installed(Prometheus(registry), telemetry):
        storm.first_write()
        storm.lost_answer()
        storm.lost_commit()
        storm.conflict()
        storm.rerun()
        storm.kill_secondary()
        storm.kill_primary()
        connection.close()
    # How long nodes had to be waited for depends on the machine.
    found = [event for event in recorder.found if not isinstance(event, Waited)]
    assert [type(event) for event in found] == [kind for kind, _ in storm.expected]
    for event, (_, values) in zip(found, storm.expected, strict=True):
        assert {name: getattr(event, name) for name in values} == values
    check_page_and_status(recorder, storm.shop)
    check_log(recorder, caplog)
    check_prometheus(recorder, registry)
    check_telemetry(recorder, reader)


def check_page_and_status(recorder: Recorder, shop: Shop) -> None:
    """The time line has the same events; the survey, which the command shows too, the same end."""
    survey = Surveyor(shop.session.cluster).look(wait=5.0, age=0.0)
    told = list(reversed(page.told(survey)))
    assert [
        (event["node"], event["text"], event["seconds"])
        for event in told
        if event["kind"] == "failover"
    ] == [
        (
            failover.taken_over_by,
            f"from {failover.lost} to {failover.taken_over_by}:"
            f" {failover.replayed} statements replayed",
            round(failover.seconds, 4),
        )
        for failover in recorder.of(Failover)
    ]
    changes = recorder.of(PrimaryChanged)
    assert [(event["node"], event["text"]) for event in told if event["kind"] == "primary"] == [
        (change.node, change.reason) for change in changes
    ]
    status = survey.as_dict()
    *_, last = changes
    assert (status["primary"], status["epoch"]["number"]) == (last.node, last.epoch)
    assert survey.exit_status == DEGRADED
    lost = {event.node for event in recorder.of(NodeDown)} - {
        event.node for event in recorder.of(NodeUp)
    }
    assert {node["name"] for node in status["nodes"] if not node["here"]["up"]} == lost


def check_log(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """One event, one line, in the same order; a promotion has none."""
    lines = [record for record in caplog.records if hasattr(record, f"{PREFIX}event")]
    events = [event for event in recorder.found if event.LINE]
    assert len(lines) == len(events)
    for record, event in zip(lines, events, strict=True):
        told = {name: getattr(record, PREFIX + name) for name in event.values()}
        assert told == event.values()
        assert record.getMessage() == event.line % event.values()
    told_of = [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO]
    assert len(set(told_of)) == len(told_of), "no line twice"


def check_prometheus(recorder: Recorder, registry: CollectorRegistry) -> None:
    def value(name: str, **labels: str) -> float:
        labels = {"cluster": "default", **labels}
        return registry.get_sample_value(f"galera_router_{name}", labels) or 0.0

    for down in recorder.of(NodeDown):
        assert value("node_losses_total", node=down.node) == 1
    for failover in recorder.of(Failover):
        assert value("failover_seconds_count", node=failover.lost) == 1
        assert value("failover_seconds_sum", node=failover.lost) == failover.seconds
    replays = Counter((replay.node, replay.cause) for replay in recorder.of(Replay))
    for (node, cause), count in replays.items():
        assert value("replay_seconds_count", node=node, cause=cause) == count
    assert value("conflicts_total", node="db1", again="yes") == 1
    assert value("reruns_total", error="ReplayMismatch") == 1
    for committed in ("yes", "no"):
        assert value("outcome_settled_seconds_count", node="db1", committed=committed) == 1
    *_, primary = recorder.of(PrimaryChanged)
    assert value("primary_changes_total", node=primary.node) == 1
    assert value("primary", node=primary.node) == 1
    assert value("primary", node=primary.before) == 0
    assert value("node_state", node=primary.before, state="down") == 1


def check_telemetry(recorder: Recorder, reader: InMemoryMetricReader) -> None:
    data = reader.get_metrics_data()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    counted: Counter[str] = Counter()
    for metric in metrics:
        if metric.name == "galera_router.events":
            for point in metric.data.data_points:
                assert isinstance(point, NumberDataPoint)
                assert point.attributes is not None
                counted[str(point.attributes["galera.event"])] += int(point.value)
    assert counted == Counter(kind_of(event) for event in recorder.found)

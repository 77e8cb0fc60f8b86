"""Tracers beside us: spans have the application's statements; being watched promotes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from django.db import transaction
from django.test import Client
from opentelemetry import trace
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.mysqlclient import MySQLClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.integrations.django import DjangoIntegration

from galera_router.instrumentation.opentelemetry import OpenTelemetry
from galera_router.testing import Proxy
from tests.instrumentation.support import installed
from tests.integration.support import Shop
from tests.shop.models import Author, Book

BOOKKEEPING = ("galera_router_", "START TRANSACTION", "COMMIT", "SAVEPOINT", "wsrep_")

_provider = TracerProvider()
trace.set_tracer_provider(_provider)


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """All spans that end; the driver is traced before anything connects."""
    exporter = InMemorySpanExporter()
    processor = SimpleSpanProcessor(exporter)
    _provider.add_span_processor(processor)
    MySQLClientInstrumentor().instrument(tracer_provider=_provider)
    try:
        yield exporter
    finally:
        MySQLClientInstrumentor().uninstrument()
        exporter.shutdown()  # it takes no more


@pytest.fixture
def traced(exporter: InMemorySpanExporter, shop: Shop) -> Iterator[Shop]:
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port, ATOMIC_REQUESTS=True)
    shop.stock()
    shop.warm()
    exporter.clear()
    with installed(OpenTelemetry(MeterProvider([InMemoryMetricReader()]))):
        yield shop


def statements(exporter: InMemorySpanExporter) -> list[tuple[str, str]]:
    """The first word and the node of each span of a statement."""
    found = []
    for span in exporter.get_finished_spans():
        text = attribute(span, "db.statement") or attribute(span, "db.query.text")
        if text:
            assert not any(word in text for word in BOOKKEEPING), text
            found.append((span.name, attribute(span, "galera.node")))
    return found


def attribute(span: ReadableSpan, name: str) -> str:
    return str((span.attributes or {}).get(name, ""))


def events(exporter: InMemorySpanExporter) -> list[tuple[str, str]]:
    """The events of all spans: of which span, and which."""
    spans = exporter.get_finished_spans()
    return [(span.name, event.name) for span in spans for event in span.events]


def test_reads_stay_where_they_are(traced: Shop, exporter: InMemorySpanExporter) -> None:
    with traced.traffic() as sent, transaction.atomic():
        assert Book.objects.count() == 1
        assert Author.objects.get().name == "Ann"
        assert not traced.session.transaction_begun
    assert statements(exporter) == [("SELECT", "db2"), ("SELECT", "db2")]
    assert sent["db1"] == []
    assert events(exporter) == []


def test_a_promotion_is_an_event_of_the_statement(
    traced: Shop, exporter: InMemorySpanExporter
) -> None:
    with transaction.atomic():
        Book.objects.count()
        Author.objects.create(name="Bea")
    assert statements(exporter) == [("SELECT", "db2"), ("INSERT", "db1")]
    assert events(exporter) == [("INSERT", "galera.promotion")]


def test_a_failover_is_seen_as_what_it_is(traced: Shop, exporter: InMemorySpanExporter) -> None:
    with transaction.atomic():
        Book.objects.count()
        traced.galera["db2"].kill()
        Book.objects.count()
        taken = traced.reading.name
    assert statements(exporter) == [("SELECT", "db2"), ("SELECT", taken)]
    told = [name for span, name in events(exporter)]
    assert told == ["galera.node_down", "galera.replay", "galera.failover"]
    (span,) = [span for span in exporter.get_finished_spans() if span.events]
    values = dict(span.events[-1].attributes or {})
    assert (values["galera.lost"], values["galera.taken_over_by"]) == ("db2", taken)
    assert values["galera.replayed"] == 1


def test_an_event_outside_a_span_is_none_of_a_span(
    shop: Shop, traced: Shop, exporter: InMemorySpanExporter
) -> None:
    with shop.proxied() as proxies:
        proxy: Proxy = proxies["db1"]
        Author.objects.create(name="Bea")
        exporter.clear()
        with trace.get_tracer("test").start_as_current_span("work"):
            rule = proxy.swallow(r"\ACOMMIT\Z", cut=True)
            with transaction.atomic():
                Author.objects.create(name="Cid")
            assert rule.fired == 1
    assert events(exporter) == [("work", "galera.outcome_settled")]


def test_a_request(traced: Shop, exporter: InMemorySpanExporter) -> None:
    instrumentor = DjangoInstrumentor()
    instrumentor.instrument(tracer_provider=_provider)
    try:
        with traced.traffic() as sent:
            assert Client().get("/read/").status_code == 200
    finally:
        instrumentor.uninstrument()
    (request,) = [s for s in exporter.get_finished_spans() if s.kind is trace.SpanKind.SERVER]
    assert request.name == "GET read/"
    inner = [s for s in exporter.get_finished_spans() if s.parent is not None]
    assert inner
    assert {span.name for span in inner} == {"SELECT"}
    assert request.context is not None
    assert {span.parent.span_id for span in inner if span.parent} == {request.context.span_id}
    assert sent["db1"] == []


# --- Sentry -------------------------------------------------------------------------------


class Transport(sentry_sdk.transport.Transport):
    """Keeps what would be sent."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.transactions: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        event = envelope.get_transaction_event()
        if event is not None:
            self.transactions.append(event)


@pytest.fixture(params=[False, True])
def sentry(request: pytest.FixtureRequest, shop: Shop) -> Iterator[Transport]:
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port, ATOMIC_REQUESTS=True)
    shop.stock()
    shop.warm()
    transport = Transport()
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        transport=transport,
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[DjangoIntegration(db_transaction_spans=request.param)],
    )
    try:
        yield transport
    finally:
        sentry_sdk.init()


def spans(transport: Transport) -> list[str]:
    (event,) = transport.transactions
    return [span["description"] for span in event["spans"] if span["op"] == "db"]


def test_sentry_promotes_nothing(shop: Shop, sentry: Transport) -> None:
    with shop.traffic() as sent, sentry_sdk.start_transaction(name="t"), transaction.atomic():
        Book.objects.count()
        Author.objects.get()
        assert not shop.session.transaction_begun
    assert sent["db1"] == []
    found = [text for text in spans(sentry) if text.startswith("SELECT")]
    assert len(found) == 2
    assert not any(word in text for text in found for word in BOOKKEEPING)


def test_sentry_sees_a_replay_as_nothing(shop: Shop, sentry: Transport) -> None:
    with sentry_sdk.start_transaction(name="t"), transaction.atomic():
        Book.objects.count()
        shop.galera["db2"].kill_connections()
        Book.objects.count()
        Author.objects.create(name="Bea")
    words = [text.split()[0] for text in spans(sentry) if "shop_" in text]
    assert words == ["SELECT", "SELECT", "INSERT"]
    assert not any(word in text for text in spans(sentry) for word in BOOKKEEPING[:1])

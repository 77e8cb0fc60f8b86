"""The probes: what they say, what they ask, and how long they take."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.test import Client
from django.urls import include, path

from galera_router import health
from galera_router.cluster import monitor, survey
from tests.integration.support import Shop, wait_until
from tests.shop.models import Tag

urlpatterns = [
    path("health/", include("galera_router.health")),
    path("writes/", health.ready, {"writes": True}),
    path("other/", health.ready, {"alias": "default"}),
]


@pytest.fixture
def probed(shop: Shop, monkeypatch: pytest.MonkeyPatch, settings_urls: None) -> Shop:
    shop.configure(ATOMIC_REQUESTS=True, OPTIONS={"failback_delay": None})
    Tag.objects.create(name="first")
    shop.settle()
    shop.forget()
    survey._surveyors.clear()
    return shop


@pytest.fixture
def settings_urls(monkeypatch: pytest.MonkeyPatch) -> Any:
    from django.test import override_settings

    with override_settings(ROOT_URLCONF=__name__):
        yield


def get(where: str) -> tuple[int, dict[str, Any]]:
    response = Client(raise_request_exception=True).get(where)
    return response.status_code, json.loads(response.content)


def test_all_is_well(probed: Shop) -> None:
    assert get("/health/live/") == (200, {"live": True})
    cluster = {"ready": True, "nodes": 3, "usable": 3, "status": 0}
    assert get("/health/ready/") == (200, {"ready": True, "clusters": {"default": cluster}})


def test_no_transaction_and_no_connection_of_the_sites_is_used(probed: Shop) -> None:
    with probed.traffic() as sent:
        for _ in range(20):
            get("/health/live/")
            get("/health/ready/")
    for statements in sent.values():
        assert sum("Com_select" in text for text in statements) <= 2
        assert not [text for text in statements if "START" in text or "autocommit" in text]


def test_a_frozen_node_is_not_waited_for(probed: Shop) -> None:
    assert get("/health/ready/")[0] == 200
    probed.galera["db2"].freeze()
    time.sleep(survey.AGE)
    get("/health/ready/")  # it may wait this once
    began, waits = time.perf_counter(), []
    while time.perf_counter() - began < 5:
        before = time.perf_counter()
        code, told = get("/health/ready/")
        waits.append(time.perf_counter() - before)
        assert (code, told["clusters"]["default"]["usable"]) == (200, 2)
        time.sleep(0.05)
    probed.galera["db2"].thaw()
    assert max(waits) < 0.25  # the others have answered by then


def test_a_node_that_is_back_is_seen(probed: Shop) -> None:
    node = probed.galera["db2"]
    node.freeze()
    get("/health/ready/")
    node.thaw()
    wait_until(lambda: get("/health/ready/")[1]["clusters"]["default"]["usable"] == 3)


def test_without_any_node_it_is_not_ready_and_lives(probed: Shop) -> None:
    for node in probed.galera.nodes:
        node.reject_queries()
    code, told = get("/health/ready/")
    assert (code, told["ready"]) == (503, False)
    assert get("/health/live/")[0] == 200
    probed.accept_queries()
    wait_until(lambda: get("/health/ready/")[0] == 200)


def test_a_dead_primary_is_no_reason_not_to_be_ready(probed: Shop) -> None:
    """The next write has another node take over: it has to come."""
    probed.galera["db1"].kill()
    for where in ("/health/ready/", "/writes/"):
        code, told = get(where)
        assert (code, told["clusters"]["default"]["status"]) == (200, 2)


def test_where_nothing_can_be_written(probed: Shop) -> None:
    for node in probed.galera.nodes:
        node.query("SET GLOBAL read_only = 1")
    try:
        assert get("/health/ready/")[0] == 200
        assert get("/writes/")[0] == 503
    finally:
        for node in probed.galera.nodes:
            node.query("SET GLOBAL read_only = 0")


def test_one_cluster_may_be_named(probed: Shop) -> None:
    assert get("/other/")[0] == 200
    with pytest.raises(ValueError, match="'default_db2' is no cluster"):
        health.readiness("default_db2")


def test_only_reads_are_answered(probed: Shop) -> None:
    assert Client().post("/health/ready/").status_code == 405


def test_a_watchdog_that_has_ended_is_told(probed: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert monitor._watchdog is not None

    class Ended:
        def is_alive(self) -> bool:
            return False

    monkeypatch.setattr(monitor._watchdog, "thread", Ended())
    assert get("/health/live/") == (503, {"live": False})

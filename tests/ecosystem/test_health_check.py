"""django-health-check: its check of the database, and ours beside it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import path
from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable
from health_check.views import HealthCheckView

from galera_router import health
from tests.integration.support import Shop

ALIASES = ("default", "default_db1", "default_db2", "default_db3")


@dataclasses.dataclass
class Galera(HealthCheck):  # type: ignore[misc]
    """As docs/operations.md has it."""

    alias: str = "default"

    def run(self) -> None:
        found = health.readiness(self.alias, writes=True)
        if not found.ready:
            raise ServiceUnavailable("no node can be the primary")


def view() -> Any:
    checks = [("health_check.checks.Database", {"alias": alias}) for alias in ALIASES]
    return HealthCheckView.as_view(checks=[*checks, f"{__name__}.Galera"])


urlpatterns = [path("ht/", view())]


@pytest.fixture
def watched(shop: Shop) -> Any:
    shop.stock()
    with override_settings(ROOT_URLCONF=__name__):
        yield shop


def look() -> tuple[int, dict[str, str]]:
    response = Client().get("/ht/", headers={"accept": "application/json"})
    return response.status_code, json.loads(response.content)


def test_it_reads_from_every_alias_and_writes_nowhere(watched: Shop) -> None:
    with watched.traffic() as sent:
        code, told = look()
    assert (code, set(told.values()), len(told)) == (200, {"OK"}, 5)
    texts = [text.upper() for statements in sent.values() for text in statements]
    assert sum(text == "QUERY SELECT 1" for text in texts) >= 4
    assert not [text for text in texts if "INSERT" in text or "UPDATE GALERA" in text]


def test_a_dead_node_fails_its_own_check_alone(watched: Shop) -> None:
    watched.galera["db3"].kill()
    code, told = look()
    assert code == 500, told
    failed = [name for name, state in told.items() if state != "OK"]
    assert len(failed) == 1
    assert "default_db3" in failed[0]

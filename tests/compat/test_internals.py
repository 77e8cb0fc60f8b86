"""What is done to a wrapper that no public interface of Django's does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.test import override_settings

from tests.integration.causality.support import WAIT
from tests.integration.support import Shop
from tests.shop.models import Tag


def serialized() -> set[str]:
    """The models of which Django keeps rows for ``serialized_rollback``."""
    creation: Any = connections["default"].creation
    return {row["model"] for row in json.loads(creation.serialize_db_to_string())}


def test_our_tables_are_not_put_back_into_a_test_database(shop: Shop) -> None:
    Tag.objects.create(name="x")
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM galera_router_marker")
        assert cursor.fetchone() != (0,)
    found = serialized()
    assert {model.partition(".")[0] for model in found} >= {"auth"}
    assert not {model for model in found if model.startswith("galera_router.")}


@pytest.mark.parametrize("reset_sequences", [False, True])
def test_a_flush_leaves_our_tables_alone(shop: Shop, reset_sequences: bool) -> None:
    """Behind it no marker has gone, and a connection with state on it goes on."""
    with connection.cursor() as cursor:
        cursor.execute("SET @own = 1")
    for _ in range(2):
        Tag.objects.create(name="x")
        with shop.traffic() as sent:
            flush(reset_sequences=reset_sequences)
            assert not Tag.objects.exists()
        emptied = [s for s in sent["db1"] if s.startswith(("Query DELETE", "Query TRUNCATE"))]
        assert "shop_tag" in str(emptied)
        assert "galera_router_" not in str(emptied)


def flush(**options: Any) -> None:
    call_command("flush", verbosity=0, interactive=False, inhibit_post_migrate=True, **options)


@pytest.mark.parametrize("reset_sequences", [False, True])
def test_what_is_read_behind_a_flush_is_not_waited_for(shop: Shop, reset_sequences: bool) -> None:
    shop.warm()
    for _ in range(2):
        Tag.objects.create(name="x")
        flush(reset_sequences=reset_sequences)
        shop.settle()
        with shop.traffic() as sent:
            assert not Tag.objects.exists()
        assert not [s for node in sent.values() for s in node if s.startswith(WAIT)]


def test_what_the_project_keeps_out_stays_out(shop: Shop) -> None:
    with override_settings(TEST_NON_SERIALIZED_APPS=["django.contrib.contenttypes"]):
        assert not {model for model in serialized() if model.startswith("contenttypes.")}

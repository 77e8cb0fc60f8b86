"""What is done to a wrapper that no public interface of Django's does."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection, connections
from django.test import override_settings

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


def test_what_the_project_keeps_out_stays_out(shop: Shop) -> None:
    with override_settings(TEST_NON_SERIALIZED_APPS=["django.contrib.contenttypes"]):
        assert not {model for model in serialized() if model.startswith("contenttypes.")}

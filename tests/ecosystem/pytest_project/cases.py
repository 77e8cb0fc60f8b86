"""A project's tests with pytest-django, which look at which database they are in."""

from __future__ import annotations

import os
import urllib.request
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.test import Client

from galera_router.cluster import nodes as cluster
from tests.shop.models import Author

# The first node is the primary, even if a test has only just started its server.
cluster.STARTED = 0.0

NODES = ["default_db1", "default_db2", "default_db3"]
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
EXPECTED = "test_galera_router" + (f"_{WORKER}" if WORKER else "")


def current(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT DATABASE()")
        (name,) = cursor.fetchone()
    return str(name)


def fresh() -> None:
    """Nobody else's rows are here, and one of our own is seen."""
    assert connection.settings_dict["NAME"] == EXPECTED
    assert Author.objects.count() == 0
    Author.objects.create(name="Ann")
    assert Author.objects.get().name == "Ann"
    assert current("default") == EXPECTED


@pytest.fixture
def ann(db: None) -> Author:
    return Author.objects.create(name="Ann")


@pytest.mark.django_db
@pytest.mark.parametrize("run", [1, 2])
def test_in_a_transaction(run: int) -> None:
    fresh()


def test_an_error_inside_a_block(ann: Author) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Author.objects.create(name="Ann")
    assert Author.objects.get() == ann


@pytest.mark.django_db(databases=["default", *NODES])
def test_in_a_transaction_on_the_nodes() -> None:
    fresh()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("run", [1, 2])
def test_with_commits(run: int) -> None:
    with transaction.atomic():
        fresh()
    assert Client().get("/read/").content == b"Ann"


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_on_the_nodes() -> None:
    with transaction.atomic():
        fresh()
    with transaction.atomic():
        assert Author.objects.count() == 1
    assert {current(alias) for alias in NODES} == {EXPECTED}


@pytest.mark.django_db(transaction=True, reset_sequences=True)
def test_with_sequences_from_their_start() -> None:
    fresh()


def test_live(live_server: Any) -> None:
    Author.objects.create(name="Ann")
    with urllib.request.urlopen(f"{live_server}/read/", timeout=20) as answer:
        assert answer.read() == b"Ann"


def test_queries_are_counted(ann: Author, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        Author.objects.count()
        ann.save()


def test_hooks_are_captured(ann: Author, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True) as hooks:
        transaction.on_commit(lambda: None)
    assert len(hooks) == 1


def test_without_the_database() -> None:
    with pytest.raises(RuntimeError, match="Database access not allowed"):
        Author.objects.count()

"""A project's own tests pass unmodified, and touch nothing but the test database."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.integration.support import OPTIMISTIC, Shop
from tests.shop.models import Author


def run(shop: Shop, *labels: str) -> str:
    """The output of Django's test runner, in a process of its own."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.project.settings",
        "PROJECT_DATABASES": json.dumps(shop.galera.databases(OPTIONS=OPTIMISTIC)),
    }
    command = [sys.executable, "-m", "django", "test", "--noinput", *labels]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


@pytest.fixture
def filled(shop: Shop) -> Shop:
    Author.objects.create(name="of the real database")
    shop.settle()
    return shop


@pytest.mark.parametrize(
    "labels",
    [
        ["FirstQueryIsCounted", "InTransaction", "WithCommits", "InThreads"],
        ["InTransactionOnTheNodes"],
        ["OnTheNodes"],
    ],
)
def test_a_projects_own_tests_pass(filled: Shop, labels: list[str]) -> None:
    with filled.traffic() as sent:
        output = run(filled, *(f"tests.project.cases.{label}" for label in labels))
    assert "OK" in output
    elsewhere = [*sent["db2"], *sent["db3"]]
    reads = [s for s in elsewhere if s.startswith("Query SELECT") and "shop_author" in s]
    assert bool(reads) is (labels == ["OnTheNodes"])
    assert filled.everywhere("SELECT name FROM galera_router.shop_author") == [
        ("of the real database",)
    ]


def test_nothing_is_sent_to_the_real_database(filled: Shop) -> None:
    before = filled.galera["db1"].query("SELECT COUNT(*) FROM galera_router.django_migrations")
    with filled.traffic() as sent:
        run(filled, "tests.project.cases.InTransaction")
    joined = [s for log in sent.values() for s in log if s.startswith("Connect")]
    assert not [s for s in joined if "on galera_router " in s], joined
    after = filled.galera["db1"].query("SELECT COUNT(*) FROM galera_router.django_migrations")
    assert before == after

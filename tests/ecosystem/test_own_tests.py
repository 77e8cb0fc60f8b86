"""``manage.py test``: in parallel, and on databases that are kept; each in its own database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.ecosystem.support import REAL, environment, run, watched
from tests.integration.support import OPTIMISTIC, Shop
from tests.shop.models import Author

COMMAND = ("django", "test", "--noinput", "tests.ecosystem.own.cases")
CLONES = {"test_galera_router_1", "test_galera_router_2"}
OURS = ("shop_", "django_", "auth_", "galera_router_marker")  # tables


@pytest.fixture
def filled(shop: Shop) -> Iterator[Shop]:
    """The real database, with a row that must stay the only one."""
    Author.objects.create(name="of the real database")
    shop.settle()
    yield shop
    assert shop.everywhere(f"SELECT name FROM {REAL}.shop_author") == [("of the real database",)]
    node = shop.galera.nodes[0]
    for (name,) in node.query("SHOW DATABASES LIKE 'test\\_%'"):
        node.query(f"DROP DATABASE `{name}`")


def optimistic(shop: Shop) -> dict[str, str]:
    """What leads to the cluster, with plain blocks that begin on a secondary."""
    return environment(shop, shop.galera.databases(OPTIONS=OPTIMISTIC))


def at_work(seen: list[tuple[str, str, str]]) -> defaultdict[str, set[str]]:
    """The databases in which tables were read or written, by node."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for node, database, sql in seen:
        if any(table in sql for table in OURS):
            found[node].add(database)
    return found


@pytest.mark.parametrize("program", ["django", "tests.ecosystem.own.spawned"])
def test_in_parallel_each_process_stays_in_its_own_clone(filled: Shop, program: str) -> None:
    with watched(filled) as seen:
        output = run(optimistic(filled), program, *COMMAND[1:], "--parallel", "2")
    assert "OK" in output
    assert "galera_router_marker" not in output, "what a flush does is no news"
    assert "Cloning test database for alias 'default'" in output
    databases = at_work(seen)
    assert databases["db1"] == {"test_galera_router", *CLONES}
    assert databases["db2"] | databases["db3"] <= {"test_galera_router", *CLONES}
    assert (databases["db2"] | databases["db3"]) & CLONES
    assert not filled.galera["db1"].query("SHOW DATABASES LIKE 'test\\_%'")


@pytest.mark.parametrize("parallel", [[], ["--parallel", "2"]], ids=["alone", "parallel"])
def test_a_connection_from_before_the_tests_is_not_used(filled: Shop, parallel: list[str]) -> None:
    """It leads to the real database, on each node."""
    program = "tests.ecosystem.own.used_before"
    labels = [f"{COMMAND[-1]}.{name}" for name in ("OnTheNodes", "LiveOnTheNodes")]
    output = run(optimistic(filled), program, *COMMAND[1:-1], *labels, *parallel)
    assert "OK" in output
    assert ("Cloning" in output) is bool(parallel)


def test_after_them_reads_are_in_the_real_database(filled: Shop) -> None:
    run(optimistic(filled), "tests.ecosystem.own.used_after")


@pytest.mark.parametrize("parallel", [[], ["--parallel", "2"]], ids=["alone", "parallel"])
def test_databases_that_are_kept_are_used_again(filled: Shop, parallel: list[str]) -> None:
    command = [*COMMAND, "--keepdb", *parallel]
    assert "OK" in run(optimistic(filled), *command)
    with watched(filled) as seen:
        output = run(optimistic(filled), *command)
    assert "Using existing" in output
    assert "OK" in output
    assert not [sql for *_, sql in seen if sql.startswith("CREATE TABLE")]
    assert REAL not in {database for _, database, _ in seen}


def test_rows_of_migrations_come_back(filled: Shop) -> None:
    with watched(filled) as seen:
        output = run(environment(filled), *COMMAND[:-1], "tests.ecosystem.own.restored")
    assert "OK" in output
    assert at_work(seen)["db1"] == {"test_galera_router"}

"""pytest-django: alone and with pytest-xdist, on databases that are kept or made anew."""

from __future__ import annotations

from pathlib import Path

from tests.ecosystem.support import REAL, environment, run, watched
from tests.ecosystem.test_own_tests import at_work, filled
from tests.integration.support import Shop

__all__ = ["filled"]

PROJECT = Path(__file__).parent / "pytest_project"
COMMAND = ("pytest", "-c", str(PROJECT / "pytest.ini"), "-p", "no:cacheprovider", str(PROJECT))


def test_a_projects_own_tests_pass(filled: Shop) -> None:
    with watched(filled) as seen:
        output = run(environment(filled), *COMMAND)
    assert " passed" in output
    assert at_work(seen)["db1"] == {"test_galera_router"}
    assert REAL not in {database for _, database, _ in seen}


def test_databases_that_are_kept_and_made_anew(filled: Shop) -> None:
    for words, made in (["--reuse-db"], True), (["--reuse-db"], False), (["--create-db"], True):
        with watched(filled) as seen:
            assert " passed" in run(environment(filled), *COMMAND, *words)
        assert any("CREATE TABLE" in sql for *_, sql in seen) is made
        assert REAL not in {database for _, database, _ in seen}


def test_each_process_of_xdist_stays_in_its_own_database(filled: Shop) -> None:
    with watched(filled) as seen:
        output = run(environment(filled), *COMMAND, "-n", "2")
    assert " passed" in output
    databases = at_work(seen)
    assert databases["db1"] == {"test_galera_router_gw0", "test_galera_router_gw1"}
    assert databases["db2"] | databases["db3"] <= databases["db1"]
    assert REAL not in {database for _, database, _ in seen}

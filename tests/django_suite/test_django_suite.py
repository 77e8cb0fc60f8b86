"""The runner itself, on one small label; and what it takes for a failure."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from galera_router.testing import GaleraCluster
from tests.django_suite import source
from tests.django_suite.__main__ import run
from tests.django_suite.labels import LABELS, expand_labels
from tests.django_suite.outcomes import FAILED, PASSED, SKIPPED, Outcomes
from tests.django_suite.report import Line, Report
from tests.django_suite.run import Bench
from tests.django_suite.sides import ROUTER, STOCK


@pytest.fixture(scope="module")
def tests() -> Path:
    try:
        return source.tests_folder()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"Django's source is not to be had: {error}")


def test_a_small_label_on_both_sides(galera: GaleraCluster, tests: Path, tmp_path: Path) -> None:
    report = run(Bench(galera, tests, tmp_path, committing=True), ["many_to_one"])
    print("\n".join(report))
    (line,) = report.lines
    for outcomes in line.sides.values():
        assert outcomes.count(PASSED) > 30
        assert outcomes.count(FAILED) == 0
    assert all(report.reads.values())
    assert report.good


def test_what_was_run_is_not_run_again(galera: GaleraCluster, tmp_path: Path) -> None:
    Outcomes({"a": PASSED}, seconds=7.0).save(tmp_path / "basic.stock.json")
    known = Bench(galera, tmp_path / "none", tmp_path).run("basic", STOCK)
    assert (known.tests, known.seconds) == ({"a": PASSED}, 7.0)


def report(stock: dict[str, str], router: dict[str, str], **reads: int) -> Report:
    sides = {STOCK: Outcomes(stock), ROUTER: Outcomes(router, reads=reads or {"1": 9, "2": 1})}
    return Report([Line.of("label", sides, {"named": "for a reason"})])


@pytest.mark.parametrize("outcome", [FAILED, SKIPPED, None])
def test_a_test_that_no_longer_passes_is_told(outcome: str | None) -> None:
    found = report({"a": PASSED, "b": PASSED}, {"a": PASSED, **({"b": outcome} if outcome else {})})
    assert [one.test for one in found.bad] == ["b"]
    assert not found.good


def test_what_has_a_reason_or_fails_anyway_is_no_failure() -> None:
    found = report({"named": PASSED, "c": FAILED}, {"named": FAILED, "c": PASSED})
    assert [one.test for one in found.lines[0].differences] == ["named", "c"]
    assert found.good
    assert any("for a reason" in line for line in found)


def test_a_run_without_reads_on_a_secondary_says_nothing() -> None:
    assert report({"a": PASSED}, {"a": PASSED}, db1=9, db2=1, db3=0).good
    assert not report({"a": PASSED}, {"a": PASSED}, db1=9, db2=0, db3=0).good


def test_labels(tmp_path: Path) -> None:
    for name in ("basic", "m2m_one", "m2m_two", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    assert expand_labels(["m2m_*", "basic"], tmp_path) == ["m2m_one", "m2m_two", "basic"]
    assert expand_labels(["basic.tests.One"], tmp_path) == ["basic.tests.One"]
    assert "other" not in LABELS
    assert expand_labels([], tmp_path) == ["basic", "m2m_one", "m2m_two"]

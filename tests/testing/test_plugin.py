"""The fixtures, as another project meets them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
def test_fault(galera):
    assert len(galera.nodes) == 1
    galera.nodes[0].kill()

def test_healed(galera, galera_cluster):
    assert galera is galera_cluster
    assert galera.nodes[0].is_synced()
    print(galera.folder)

def test_without_a_cluster():
    pass
"""


def run(folder: Path, *arguments: str, tests: str = TESTS) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(tests)
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", *arguments, str(folder)],
        capture_output=True, text=True, timeout=100, cwd=folder, check=False, env=environment,
    )  # fmt: skip


def test_the_cluster_is_healed_between_tests_and_gone_at_the_end(tmp_path: Path) -> None:
    answer = run(tmp_path, "--galera-size=1")
    assert "3 passed" in answer.stdout
    (folder,) = [line for line in answer.stdout.splitlines() if "/galera-" in line]
    assert not Path(folder.strip(".")).exists()


def test_the_size_may_stand_in_the_ini_file(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ngalera_size = 1\n")
    tests = "def test_size(galera_cluster): assert len(galera_cluster.nodes) == 1"
    assert "1 passed" in run(tmp_path, tests=tests).stdout


@pytest.mark.parametrize("size", ["many", "0"])
def test_a_wrong_size_is_an_error(tmp_path: Path, size: str) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\ngalera_size = {size}\n")
    answer = run(tmp_path)
    assert "1 passed, 2 errors" in answer.stdout
    assert size in answer.stdout


def test_missing_packages_fail_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from galera_router.testing import packages\npackages.PROVIDERS = ()\n"
    )
    answer = run(tmp_path)
    assert answer.returncode == 1
    assert "1 passed, 2 errors" in answer.stdout
    assert "apt-get install galera-4" in answer.stdout

"""The bank's own tests, run as its developers would: ``manage.py test``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from galera_router.testing import GaleraCluster

PROJECT = Path(__file__).parents[2] / "example_project"


def run_manage(cluster: GaleraCluster, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a management command of the bank on the cluster."""
    hosts = ",".join(f"{node.host}:{node.port}" for node in cluster.nodes)
    url = f"mysql://{cluster.user}:{cluster.password}@{hosts}/{cluster.database}"
    environ = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=PROJECT,
        env={**environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_tests_of_the_bank(galera: GaleraCluster) -> None:
    """TestCase and TransactionTestCase with ``databases`` left alone pass on a cluster."""
    done = run_manage(galera, "test", "--noinput")
    assert done.returncode == 0, done.stderr
    ran = re.search(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)
    assert ran, done.stderr
    assert int(ran[1]) >= 19, done.stderr


def test_the_bank_needs_no_migration(galera: GaleraCluster) -> None:
    """Models and migrations agree, and Django's checks have nothing to say."""
    for words in (("check", "--fail-level=WARNING"), ("makemigrations", "--check", "--dry-run")):
        done = run_manage(galera, *words)
        assert done.returncode == 0, done.stdout + done.stderr

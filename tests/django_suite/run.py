"""Run labels, one process for each and side."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from galera_router.testing import GaleraCluster

from . import reads
from .outcomes import Outcomes
from .sides import databases

REPOSITORY = Path(__file__).parents[2]
TIMEOUT = 1800.0  # seconds for one label on one side


@dataclass(frozen=True)
class Bench:
    """Where labels are run.

    Attributes:
        cluster: the running nodes.
        tests: Django's ``tests`` folder.
        results: the folder for outcomes and output.
        committing: run each TestCase as a TransactionTestCase.
    """

    cluster: GaleraCluster
    tests: Path
    results: Path
    committing: bool = False

    def run(self, label: str, side: str) -> Outcomes:
        """Run ``label`` on ``side``, unless ``results`` has its outcomes already."""
        file = self.results / f"{label}.{side}.json"
        if file.exists():
            return Outcomes.load(file)
        self._clean()
        started = time.monotonic()
        with reads.counted(self.cluster) as served:
            self._spawn(label, side, file)
        outcomes = Outcomes.load(file) if file.exists() else _crashed(file)
        outcomes.seconds = time.monotonic() - started
        outcomes.reads = served
        outcomes.save(file)
        return outcomes

    def _clean(self) -> None:
        """Remove what a process that was ended has left."""
        node = self.cluster.nodes[0]
        for (name,) in node.query("SHOW DATABASES LIKE 'test\\_%'"):
            node.query(f"DROP DATABASE `{name}`")

    def _spawn(self, label: str, side: str, file: Path) -> None:
        command = [sys.executable, "-m", "tests.django_suite.child", label]
        with (
            file.with_suffix(".log").open("w") as output,
            contextlib.suppress(subprocess.TimeoutExpired),
        ):
            subprocess.run(
                command,
                cwd=self.tests,
                env={**os.environ, **self._environment(side, file)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT,
                check=False,
            )

    def _environment(self, side: str, file: Path) -> dict[str, str]:
        return {
            "PYTHONPATH": str(REPOSITORY),
            "DJANGO_SETTINGS_MODULE": "tests.django_suite.settings",
            "SUITE_DATABASES": json.dumps(databases(side, self.cluster)),
            "SUITE_SIDE": side,
            "SUITE_OUTCOMES": str(file),
            "SUITE_COMMITTING": str(int(self.committing)),
        }


def _crashed(file: Path) -> Outcomes:
    """The outcomes of a process that has left none: the end of its output says why."""
    output = file.with_suffix(".log").read_text(errors="replace")
    return Outcomes(tests={"(process)": "failed"}, details={"(process)": output[-4000:]})

"""The demo as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galera_router.testing import GaleraCluster
from tests.interruptible import interruptible

PROJECT = Path(__file__).parents[2] / "example_project"


@contextmanager
def new_bank(cluster: GaleraCluster, name: str) -> Iterator[str]:
    """The URL of a new database on a cluster."""
    hosts = ",".join(f"{node.host}:{node.port}" for node in cluster.nodes)
    cluster.nodes[0].query(f"CREATE DATABASE {name}")
    try:
        yield f"mysql://{cluster.user}:{cluster.password}@{hosts}/{name}"
    finally:
        cluster.nodes[0].query(f"DROP DATABASE {name}")


@contextmanager
def demo(*words: str) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process of its own; ended if it has not ended by itself."""
    environ = {k: v for k, v in os.environ.items() if k not in ("DJANGO_SETTINGS_MODULE",)}
    process = subprocess.Popen(
        interruptible([sys.executable, "-m", "demo", *words]),
        cwd=PROJECT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """The output up to the line with this text, or up to its end."""
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if text in line:
            break
    return "".join(lines)

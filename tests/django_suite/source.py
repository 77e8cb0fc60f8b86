"""The tests of the installed Django: fetched as its source distribution, and kept."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import django


def tests_folder() -> Path:
    """Return the ``tests`` folder of the installed Django's source, fetched now if need be."""
    version = django.get_version()
    kept = _cache() / f"django-{version}"
    if not kept.is_dir():
        _fetch(version, kept)
    return kept / "tests"


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(root) / "galera_router" / "django"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _fetch(version: str, kept: Path) -> None:
    with tempfile.TemporaryDirectory(dir=kept.parent) as work:
        # pip reads the metadata; only Django itself may come as source.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", "django", "--dest", work, f"Django=={version}"]
        subprocess.run(command, check=True)
        (archive,) = Path(work).glob("*.tar.gz")
        _unpack(archive, Path(work) / "source").rename(kept)


def _unpack(archive: Path, into: Path) -> Path:
    """Unpack ``archive``; returns its one folder."""
    with tarfile.open(archive) as packed:
        if hasattr(tarfile, "data_filter"):
            packed.extractall(into, filter="data")
        else:
            packed.extractall(into)
    (folder,) = into.iterdir()
    return folder

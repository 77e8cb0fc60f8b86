"""scripts/debian says what it lacks, and never passes for a run that was not one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MACHINE = {
    "id": "echo 0",
    "unshare": "exit 0",
    "apt-get": "echo an-address",
    "debootstrap": "echo made from $5; exit 7",
}


def debian(folder: Path, *words: str, **machine: str) -> subprocess.CompletedProcess[str]:
    """Run the script on a machine whose programs do what ``machine`` says."""
    for name, does in {
        **MACHINE,
        **{name.replace("_", "-"): machine[name] for name in machine},
    }.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder),
    }
    command = [str(ROOT / "scripts" / "debian"), *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ({"id": "echo 1000"}, "must run as root"),
        ({"unshare": "exit 1"}, "allows no namespaces"),
        ({"apt_get": "exit 0"}, "knows no archive of Debian"),
        ({}, "debootstrap could not make a system of trixie"),
    ],
)
def test_what_the_machine_lacks_is_said(
    tmp_path: Path, machine: dict[str, str], message: str
) -> None:
    done = debian(tmp_path, "trixie", "test", **machine)
    assert done.returncode == 2, done
    assert message in done.stderr
    assert not (tmp_path / "galera_router" / "debian-trixie").exists()


def test_the_release_has_to_be_named(tmp_path: Path) -> None:
    done = debian(tmp_path)
    assert done.returncode == 2, done
    assert "make debian SUITE=trixie" in done.stderr


def test_the_archive_is_the_one_of_this_machines_apt(tmp_path: Path) -> None:
    done = debian(tmp_path, "trixie", "test")
    assert "made from an-address" in done.stderr, done


def test_two_runs_do_not_share_a_system(tmp_path: Path) -> None:
    (tmp_path / "galera_router").mkdir()
    lock = tmp_path / "galera_router" / "debian-trixie.lock"
    with subprocess.Popen(["flock", str(lock), "cat"], stdin=subprocess.PIPE) as other:
        assert other.stdin is not None
        while (
            subprocess.run(["flock", "--nonblock", str(lock), "true"], check=False).returncode == 0
        ):
            assert other.poll() is None
        done = debian(tmp_path, "trixie", "test")
        other.stdin.close()
    assert done.returncode == 2, done
    assert "Another run is using" in done.stderr

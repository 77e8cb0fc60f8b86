"""What stays of a run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.options import Options
from tests.chaos.run import _accounts

OPTIONS = Options()


@pytest.fixture
def cluster(tmp_path: Path) -> Any:
    """One node, as far as it matters."""
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "error.log").write_text("it has left the cluster")
    place = SimpleNamespace(folder=tmp_path / "node")
    return SimpleNamespace(nodes=[SimpleNamespace(name="db1", place=place)])


def test_the_accounts_of_a_run_that_is_well_go(cluster: Any) -> None:
    said: list[str] = []
    with _accounts(cluster, OPTIONS, said.append) as accounts:
        (accounts.folder / "client-0.log").touch()
    assert not accounts.folder.exists()
    assert said == []


def test_those_of_one_that_is_not_stay_with_the_servers_logs(cluster: Any) -> None:
    said: list[str] = []
    with _accounts(cluster, OPTIONS, said.append) as accounts:
        accounts.keep = True
    assert (accounts.folder / "db1.log").read_text() == "it has left the cluster"
    assert said == [f"The clients' accounts and all logs are in {accounts.folder}."]
    shutil.rmtree(accounts.folder)


def test_those_of_one_that_does_not_end_stay(cluster: Any) -> None:
    with pytest.raises(KeyboardInterrupt), _accounts(cluster, OPTIONS, print) as accounts:
        raise KeyboardInterrupt
    assert accounts.folder.exists()
    shutil.rmtree(accounts.folder)


def test_where_they_are_to_stay_they_do(cluster: Any, tmp_path: Path) -> None:
    options = replace(OPTIONS, keep=tmp_path / "kept")
    with _accounts(cluster, options, print) as accounts:
        assert accounts.folder == tmp_path / "kept"
    assert (tmp_path / "kept" / "db1.log").exists()
    with pytest.raises(FileExistsError, match="not empty"), _accounts(cluster, options, print):
        pass

"""What a cluster is made of: packages, ports, positions, command lines."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from galera_router.testing import GaleraCluster, MissingPackages, packages, ports, state

START = "from galera_router.testing import GaleraCluster; GaleraCluster(1).start()"


def test_every_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packages, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(packages, "PROVIDERS", ())
    with pytest.raises(MissingPackages) as caught:
        GaleraCluster().start()
    assert caught.value.packages == ("mariadb-server", "galera-4", "rsync")
    assert "apt-get install mariadb-server galera-4 rsync" in str(caught.value)


def test_one_missing_package_is_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PROVIDERS", ("/nowhere/*/libgalera_smm.so",))
    with pytest.raises(MissingPackages) as caught:
        packages.find_binaries()
    assert caught.value.packages == ("galera-4",)


def test_ports_are_claimed_and_no_outgoing_connection_gets_them() -> None:
    reserved = [ports.reserve_ports() for _ in range(20)]
    numbers = [n for r in reserved for n in (r.client, r.group, r.increments, r.snapshot)]
    assert len(set(numbers)) == 80
    assert max(numbers) < ports._first_ephemeral_port()
    assert ports._claim(reserved[0].client) is None
    for one in reserved:
        one.release()
    again = ports._claim(reserved[0].client)
    assert again is not None
    again.close()


def test_a_port_that_someone_listens_on_is_not_free() -> None:
    with closing(socket.create_server((ports.HOST, 0))) as server:
        number = server.getsockname()[1]
        assert not ports._is_free(number)
    assert ports._is_free(number)


def test_a_position_is_saved_and_read_back(tmp_path: Path) -> None:
    position = "6e8f0f5a-0000-11f1-bfd8-02fc00000001:17"
    state.save_position(tmp_path, position)
    assert state.saved_position(tmp_path) == position
    assert state.seqno(position) == 17


@pytest.mark.parametrize("text", [None, "version: 2.1\nuuid:    6e8f-1\nseqno:   -1\n"])
def test_there_is_no_position_after_a_crash(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "grastate.dat").write_text(text)
    assert state.saved_position(tmp_path) is None
    assert state.seqno(None) == -1


def test_each_node_is_a_member_of_the_same_view(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    state.save_memberships(folders)
    texts = [(folder / "gvwstate.dat").read_text() for folder in folders]
    own = {text.splitlines()[0] for text in texts}
    assert len(own) == 3
    assert len({text.split("\n", 1)[1] for text in texts}) == 1
    state.forget_membership(folders[0])
    assert not (folders[0] / "gvwstate.dat").exists()


@pytest.mark.parametrize("size", [0, -1])
def test_a_cluster_has_at_least_one_node(size: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        GaleraCluster(size)


@pytest.mark.parametrize("name", ["", "a b", "a`b", "50%", "naïve"])
def test_the_database_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="plain name"):
        GaleraCluster(database=name)


def test_two_programs_may_make_the_initial_data_at_once(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    programs = [subprocess.Popen([sys.executable, "-c", START], env=environment) for _ in range(2)]
    assert [program.wait(timeout=60) for program in programs] == [0, 0]
    (kept,) = (tmp_path / "galera_router").iterdir()
    assert (kept / "mysql").is_dir()
    assert stat.S_IMODE((tmp_path / "galera_router").stat().st_mode) == 0o700

"""A primary that has no connection left, or no room on its disk, is not the primary any more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import MySQLdb
import pytest
from django.db import connections, transaction

from galera_router.cluster import monitor
from galera_router.cluster import nodes as registry
from galera_router.connections.errors import is_full_disk, is_read_only_server, refuses_writes
from galera_router.testing import GaleraNode
from galera_router.testing.place import Place
from tests.integration import support
from tests.integration.support import Shop, wait_until
from tests.shop.models import Book, Tag


@contextmanager
def full(shop: Shop) -> Iterator[None]:
    """The first node keeps the connections that it has, and takes no new ones."""
    with support.full(shop.galera, shop.galera["db1"]):
        yield


def test_who_has_a_connection_leaves_it_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So that all processes go where those must go that are refused, and come back together."""
    monkeypatch.setattr(monitor, "ASK_WELL", 1.0)
    monkeypatch.setattr(registry.Cluster, "failback_delay", 0.5)
    for name, value in (("FAILBACK_SLOT", 0.5), ("REFUSAL_KEPT", 0.5)):
        monkeypatch.setattr(registry, name, value)

    def writes_on(name: str) -> bool:
        Tag.objects.create(name="x")
        return shop.writing.name == name

    assert writes_on("db1")
    with full(shop):
        assert writes_on("db1"), "one question proves nothing"
        wait_until(lambda: writes_on("db2"))
    wait_until(lambda: writes_on("db1"))
    told = [record.getMessage() for record in caplog.records if "node db1" in record.getMessage()]
    assert sum("has no connection left" in line for line in told) == 1
    assert not any("is down" in line for line in told)


# --- a disk that is full -------------------------------------------------------------------


@contextmanager
def small_disk(node: GaleraNode) -> Iterator[Path]:
    """Gives the folder in which the node's server puts what is too large for its memory.

    It is a file system of its own with one megabyte. Skips the test where none may be mounted.
    """
    before, folder = node.place, node.place.folder / "small"
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "none", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    try:
        restart_at(node, replace(before, options=(*before.options, f"--tmpdir={folder}")))
        yield folder
    finally:
        restart_at(node, before)
        subprocess.run(["umount", str(folder)], check=True)


def restart_at(node: GaleraNode, place: Place) -> None:
    """Start the node anew with what ``place`` says."""
    node.stop()
    node.place = place
    node.start()


def fill(folder: Path) -> Path:
    """A file that leaves no room for another."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


LARGE = "x" * 200_000  # more than a transaction's cache holds (32 kB)


def writes_beside_its_data(node: GaleraNode) -> bool:
    """Returns True if what does not fit into memory has gone into the data directory.

    Newer servers have it there (seen: 11.8.9), 10.11 in ``tmpdir``, on whose disk there is no room.
    """
    try:
        node.query("UPDATE galera_router.shop_book SET blurb = %s", [LARGE])
    except MySQLdb.Error as error:
        if "No space left on device" not in str(error):
            raise
        return False
    files = [os.readlink(file) for file in Path(f"/proc/{node.pid}/fd").iterdir()]
    assert any(file.startswith(f"{node.place.data}/ML") for file in files), files
    return True


def test_what_does_not_fit_on_the_primarys_disk_is_written_on_another_node(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one that has room, and the first takes over again when it has, too."""
    for name, value in (("FAILBACK_SLOT", 0.5), ("REFUSAL_KEPT", 1.0), ("STARTED", 0.0)):
        monkeypatch.setattr(registry, name, value)
    monkeypatch.setattr(monitor, "ASK_WELL", 0.5)
    monkeypatch.setattr(registry.Cluster, "failback_delay", 0.5)
    book = shop.stock()
    with small_disk(shop.galera["db1"]) as folder:
        wait_until(lambda: written_on(shop) == "db1", 30)
        filler = fill(folder)
        if writes_beside_its_data(shop.galera["db1"]):
            pytest.skip("this server keeps such a transaction in its data directory")
        with transaction.atomic():
            Tag.objects.create(name="small")
            Book.objects.filter(pk=book.pk).update(blurb=LARGE)
        assert shop.writing.name == "db2"
        Book.objects.filter(pk=book.pk).update(blurb=LARGE + "y")
        filler.unlink()
        wait_until(lambda: written_on(shop) == "db1")
        Book.objects.filter(pk=book.pk).update(blurb=LARGE + "z")
        connections.close_all()
    assert shop.everywhere("SELECT RIGHT(blurb, 1) FROM galera_router.shop_book") == [("z",)]
    name = "SELECT COUNT(*) FROM galera_router.shop_tag WHERE name = 'small'"
    assert shop.everywhere(name) == [(1,)]


def written_on(shop: Shop) -> str:
    """The node that another tag was written to."""
    Tag.objects.create(name="x")
    return shop.writing.name


# --- what an error says --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1290, "The MariaDB server is running with the --read-only option so it cannot execute"),
        (1290, "The MariaDB server is running with the --read_only option so it cannot execute"),
        (1836, "Running in read-only mode"),
    ],
)
def test_a_server_that_only_reads(number: int, text: str) -> None:
    assert is_read_only_server(MySQLdb.OperationalError(number, text))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1021, "Disk full (/tmp/a.MAI); waiting for someone to free some space..."),
        (1026, 'Error writing file "a" (Errcode: 28 "No space left on device")'),
        (1030, 'Got error 28 "No space left on device" from storage engine Aria'),
        (3, "Error writing file '/tmp/MYfd=5' (Errcode: 28 \"No space left on device\")"),
    ],
)
def test_a_full_disk(number: int, text: str) -> None:
    assert is_full_disk(MySQLdb.OperationalError(number, text))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1290, "The MariaDB server is running with the --secure-file-priv option"),
        (1792, "Cannot execute statement in a READ ONLY transaction"),
        (1062, "Duplicate entry 'No space left on device, error 28' for key 'name'"),
        (1030, 'Got error 1 "Operation not permitted" from storage engine InnoDB'),
        (1114, "The table 'a' is full"),
    ],
)
def test_other_errors(number: int, text: str) -> None:
    """The same on every node, or the application's own."""
    assert not refuses_writes(MySQLdb.OperationalError(number, text))

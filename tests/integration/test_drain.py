"""Nodes that an operator has taken out: who still works there, and how it is put back."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from galera_router.cluster import drain as draining
from galera_router.cluster import monitor
from tests.integration.support import Shop, wait_until
from tests.integration.test_fence import make_primary
from tests.shop.models import Author, Tag

EPOCHS = "galera_router.galera_router_epoch"


@pytest.fixture
def busy(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The primary is known to be db1, and processes ask often."""
    monkeypatch.setattr(monitor, "ASK_WELL", 0.2)
    monkeypatch.setattr(draining, "HEARD", 0.6)
    shop.configure(OPTIONS={"failback_delay": None})
    Tag.objects.create(name="first")
    shop.settle()
    shop.forget()
    return shop


def run(*args: str) -> str:
    """What the command says."""
    out = StringIO()
    call_command("galera_drain", *args, stdout=out, stderr=out)
    return out.getvalue()


def where_reads_go(shop: Shop) -> str:
    """The node that a new request reads from."""
    shop.session.new_request()
    with transaction.atomic():
        list(Author.objects.all())
        return shop.reading.name if shop.session.snapshot else "the primary"


def all_reads(shop: Shop, tries: int = 20) -> set[str]:
    return {where_reads_go(shop) for _ in range(tries)}


OTHER = """
import json, os, sys
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()
from django.core.management import execute_from_command_line
from galera_router import expand
from tests.integration.support import use_databases
use_databases(expand(json.loads(sys.argv[1])))
execute_from_command_line(["manage.py", "galera_drain", *sys.argv[2:]])
"""


def in_another_process(shop: Shop, *args: str) -> str:
    """What the command says there; CommandError if it fails."""
    command = [sys.executable, "-c", OTHER, json.dumps(shop.galera.databases()), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise CommandError(done.stderr)
    return done.stdout


def test_a_process_hears_of_what_another_one_has_drained(busy: Shop) -> None:
    assert all_reads(busy) == {"db2", "db3"}
    in_another_process(busy, "db3")
    assert all_reads(busy) == {"db2"}
    in_another_process(busy, "db3", "--undo")
    wait_until(lambda: where_reads_go(busy) == "db3")


def test_a_connection_that_is_open_is_not_used_any_more(busy: Shop) -> None:
    busy.warm()
    while where_reads_go(busy) != "db2":
        pass
    in_another_process(busy, "db2")
    with busy.traffic() as sent:
        assert all_reads(busy) == {"db3"}
    busy.galera["db2"].stop()
    assert all_reads(busy) == {"db3"}
    assert [said for said in sent["db2"] if "shop_" in said] == []


def test_a_thread_without_requests_moves_as_well(busy: Shop) -> None:
    """It would stay with its node for ten seconds."""
    busy.session.new_request()
    assert list(Author.objects.all()) == []
    pin = busy.session.reader.pin
    assert pin is not None
    run(pin.name)
    assert list(Author.objects.all()) == []
    assert busy.session.reader.pin not in (None, pin)


def test_a_snapshot_goes_on_to_its_end_and_is_waited_for(busy: Shop) -> None:
    session = busy.session
    while True:
        session.new_request()
        with transaction.atomic():
            list(Author.objects.all())
            if busy.reading.name == "db2":
                # A transaction that rests is seen with the privilege PROCESS alone.
                busy.galera["db2"].query("GRANT PROCESS ON *.* TO galera@'%'")
                with pytest.raises(CommandError, match=r"db2 is not idle after 4 s: 1 conn"):
                    in_another_process(busy, "db2", "--timeout", "4")
                list(Author.objects.all())
                assert busy.reading.name == "db2"
                break
    assert "db2 is idle" in in_another_process(busy, "db2")
    busy.galera["db2"].query("REVOKE PROCESS ON *.* FROM galera@'%'")


def test_a_primary_is_moved_first(busy: Shop) -> None:
    said = run("db1")
    assert "db2 is the primary now. Writes have paused for " in said
    Tag.objects.create(name="second")
    assert busy.writing.name == "db2"
    assert all_reads(busy) == {"db3"}


def test_there_is_no_failback_to_a_drained_node(
    busy: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy.configure(OPTIONS={"failback_delay": 0.1})
    Tag.objects.create(name="x")
    run("db1")
    until = time.monotonic() + 3
    while time.monotonic() < until:
        Tag.objects.create(name="x")
        assert busy.writing.name == "db2"
        time.sleep(0.05)
    run("db1", "--undo")
    wait_until(lambda: written_on(busy) == "db1")


def written_on(shop: Shop) -> str:
    Tag.objects.create(name="x")
    return shop.writing.name


def test_a_drained_node_does_not_take_over(busy: Shop) -> None:
    run("db2")
    busy.galera["db1"].kill()
    assert written_on(busy) == "db3"


def test_where_all_are_drained_they_are_used_all_the_same(busy: Shop) -> None:
    run("db2")
    run("db1")
    with pytest.raises(CommandError, match="db3 has the only server that could do the work"):
        run("db3")
    busy.galera["db3"].kill()
    assert written_on(busy) in {"db1", "db2"}
    assert all_reads(busy) <= {"db1", "db2"}


def test_it_stays_drained_when_its_server_is_started_again(busy: Shop) -> None:
    run("db2")
    node = busy.galera["db2"]
    node.stop()
    node.start()
    node.wait_synced()
    assert all_reads(busy) == {"db3"}
    node.stop()
    assert "not drained any more" in in_another_process(busy, "db2", "--undo")
    node.start()
    wait_until(lambda: where_reads_go(busy) == "db2")


def test_a_change_of_the_primary_keeps_what_is_drained(busy: Shop) -> None:
    run("db2")
    make_primary(busy, "db3")
    wait_until(lambda: written_on(busy) == "db3")
    assert all_reads(busy) == {"db1"}


def test_two_who_drain_at_once_lose_nothing(busy: Shop) -> None:
    cluster = busy.session.cluster
    nodes = [node for node in cluster.nodes if node.name != "db1"]
    barrier = threading.Barrier(2)

    def work(number: int) -> None:
        barrier.wait(10)
        for _ in range(10):
            draining._write(cluster, add={nodes[number].name: nodes[number].server})
            draining._write(cluster, remove=nodes[number])
        draining._write(cluster, add={nodes[number].name: nodes[number].server})

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, number) for number in range(2)]:
            done.result()
    wait_until(lambda: {node.name for node in cluster.epochs.drained} == {"db2", "db3"})


@pytest.fixture
def without_column(busy: Shop) -> Iterator[Shop]:
    """As before migration 0003."""
    node = busy.galera["db1"]
    node.query(f"ALTER TABLE {EPOCHS} DROP COLUMN drained")
    connections.close_all()
    busy.configure(OPTIONS={"failback_delay": None})
    yield busy
    node.query(f"ALTER TABLE {EPOCHS} ADD COLUMN drained VARCHAR(4000) NOT NULL DEFAULT ''")
    busy.settle()


def test_without_the_column_all_else_is_as_before(without_column: Shop) -> None:
    shop = without_column
    Tag.objects.create(name="x")
    assert shop.session.cluster.epochs.current is not None
    with pytest.raises(CommandError, match="run migrate"):
        run("db2")
    make_primary(shop, "db3")
    wait_until(lambda: written_on(shop) == "db3")


def test_an_older_release_can_make_the_row(busy: Shop) -> None:
    """It does not know the column: the database itself has its default."""
    busy.galera["db1"].query(f"DELETE FROM {EPOCHS}")
    busy.galera["db1"].query(
        f"INSERT INTO {EPOCHS} (cluster, epoch, server, address, member, changed_at, flips, held,"
        " reason) VALUES ('x', 1, 'y', '', '', NOW(), 0, 0, '')"
    )
    assert busy.everywhere(f"SELECT drained FROM {EPOCHS}") == [("",)]


def test_a_wrong_name_is_told(busy: Shop) -> None:
    with pytest.raises(CommandError, match=r"'db9' is no node of the cluster\. There is: db1"):
        run("db9")


@pytest.mark.parametrize("seconds", ["0.1", "-1", "nan"])
def test_a_time_in_which_not_all_have_heard_is_refused(busy: Shop, seconds: str) -> None:
    """Nothing is drained then."""
    with pytest.raises(CommandError, match=r"--timeout=.*: every process .* after 0\.6 s"):
        run("db2", f"--timeout={seconds}")
    assert busy.everywhere(f"SELECT drained FROM {EPOCHS}") == [("",)]
    assert run("db2", "--undo", f"--timeout={seconds}") == "db2 was not drained.\n"


def test_a_drained_node_is_not_made_the_primary_by_hand(busy: Shop) -> None:
    run("db2", "--timeout=0")
    with pytest.raises(CommandError, match="db2 has not become the primary: it is drained"):
        call_command("galera_switchover", "db2")
    Tag.objects.create(name="new")
    assert busy.writing.name == "db1"
    run("db2", "--undo")
    call_command("galera_switchover", "db2", stdout=StringIO())
    Tag.objects.create(name="newer")
    assert busy.writing.name == "db2"


def test_a_node_that_is_dead_cannot_be_drained(busy: Shop) -> None:
    busy.galera["db2"].kill()
    with pytest.raises(CommandError, match="db2 has not been drained: "):
        run("db2")

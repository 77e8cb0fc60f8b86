"""What a marker says of a write, and where it would say too much."""

from __future__ import annotations

import logging
import re
import threading
import uuid
from contextlib import ExitStack

import pytest
from django.db import connection, transaction

from galera_router import after, causal_token
from galera_router.causality import tokens
from galera_router.cluster.position import Mark
from galera_router.recovery.marker import pool_of
from tests.faults.nodes import stalled
from tests.integration.causality.support import LOOK, SYNC, WAIT, count, write
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author, Tag


def names(token: str) -> set[str]:
    """Of all authors, as another thread sees them that was given ``token``."""

    def read() -> set[str]:
        with after(token):
            return set(Author.objects.values_list("name", flat=True))

    found: set[str] = elsewhere(read)
    return found


def mark_of(token: str) -> Mark:
    loaded = tokens.load(token, None)
    assert loaded is not None
    assert isinstance(loaded[1], Mark)
    return loaded[1]


def test_a_token_that_was_given_behind_the_own_write_is_included(warm: Shop) -> None:
    Author.objects.create(name="own")
    warm.settle()
    with stalled(warm.galera["db2"], "shop_author"):
        with after(write("newer")):
            mine = causal_token()
        warm.forget_positions()
        assert "newer" in names(mine)


def test_one_that_was_given_before_it_needs_no_place_in_the_token(warm: Shop) -> None:
    with after(write("older")):
        Author.objects.create(name="own")
        assert mark_of(causal_token()).seqno > 0


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_what_is_done_on_the_drivers_connection_makes_no_mark(warm: Shop, ending: str) -> None:
    """It may have ended the transaction that has advanced the marker, and begun another one."""
    Author.objects.create(name="Bea")
    free = list(pool_of(warm.session.cluster)._free.values())
    with transaction.atomic():
        Author.objects.create(name="Cleo")
        driver = warm.session.direct_link().connection
        getattr(driver, ending)()
        driver.query("INSERT INTO shop_author (name) VALUES ('raw')")
    assert warm.session.following.own is None
    assert not any(free), "nobody is given the marker"
    assert "raw" in set(Author.objects.values_list("name", flat=True))
    assert not [node for node in warm.session.cluster.nodes if warm.session.cluster.lags(node)]


def test_the_first_write_of_a_marker_is_waited_for_on_a_node_without_its_row(warm: Shop) -> None:
    node = warm.galera["db2"]
    with node.hold_applier():
        pool_of(warm.session.cluster)._free.clear()
        Author.objects.create(name="Bea")
        threading.Timer(0.3, node.release_applier).start()
        with warm.traffic() as sent:
            assert count() == 2
    assert [s for s in sent["db2"] if s.startswith(WAIT)]
    assert not [s for s in sent["db2"] if s.startswith(SYNC)]


def test_a_snapshot_moves_to_a_node_without_the_row_that_is_about_to_come(warm: Shop) -> None:
    """The questions that lead to that take the same node, and no turn of the others."""
    node, late = warm.galera["db2"], warm.galera["db3"]
    options = {"reconnect_wait_time": 0, "wsrep_sync_timeout": 2}
    warm.configure(HOST=node.host, PORT=node.port, OPTIONS=options)
    warm.warm()
    with late.hold_applier():
        pool_of(warm.session.cluster)._free.clear()
        token = write("fresh")
        node.wait_applied()
        warm.forget_positions()
        with after(token), transaction.atomic():
            assert count() == 2
            node.reject_queries("ALL_KILL")
            threading.Timer(0.05, late.release_applier).start()
            assert Author.objects.filter(name="fresh").count() == 1


def test_one_marker_that_was_removed_slows_no_other_down(
    warm: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "galera_router")
    old = write("Bea")
    warm.galera["db1"].query(
        "DELETE FROM galera_router.galera_router_marker WHERE worker = %s", [mark_of(old).worker]
    )
    warm.settle()
    warm.forget_positions()
    assert names(old) == {"Ann", "Bea"}
    assert "its marker is not there any more" in caplog.text
    new = write("Cleo")
    warm.settle()
    warm.forget_positions()
    with warm.traffic() as sent:
        assert "Cleo" in names(new)
    assert not [s for log in sent.values() for s in log if s.startswith(SYNC)]


def seconds(sent: list[str]) -> float:
    """The limit of the first wait for a marker."""
    found = re.search(r"waited >= ([0-9.]+)", "".join(sent))
    assert found is not None, sent
    return float(found[1])


@pytest.mark.parametrize("others", [0, 2])
def test_several_marks_share_the_time_of_one_wait(warm: Shop, others: int) -> None:
    """Half of the time-out is for this node, since there is another one."""
    node = warm.galera["db2"]
    warm.configure(HOST=node.host, PORT=node.port, OPTIONS={"wsrep_sync_timeout": 2.0})
    warm.warm()
    with node.hold_applier():
        given = [write("Bea")]
        given += [tokens.dump("default", Mark(uuid.uuid4().hex, 1)) for _ in range(others)]
        with warm.traffic() as sent, after(*given):
            assert count() == 2
    assert 0.5 < seconds(sent["db2"]) * (1 + others) <= 1.0


def test_a_server_that_is_another_by_now_is_credited_with_nothing(warm: Shop) -> None:
    Tag.objects.create(name="first")
    primary = warm.session.primary
    assert primary is not None
    assert primary.server
    warm.session.cluster.note_server(primary.node, "another")
    Tag.objects.create(name="second")
    assert not primary.node.marks


def test_many_workers_are_forgotten_in_the_record_of_the_server_that_was_asked(warm: Shop) -> None:
    """Another thread meets another server in the middle of it."""
    cluster = warm.session.cluster
    node = cluster.nodes[1]

    class Full(dict[str, int]):
        def __len__(self) -> int:
            cluster.note_server(node, "another")
            return 1000

    node.marks = Full()
    mark = Mark(uuid.uuid4().hex, 3)
    cluster.note_mark(node, mark, node.turn)
    assert mark.worker not in node.marks


def test_a_driver_that_sends_one_statement_at_a_time_waits_as_well(warm: Shop) -> None:
    node = warm.galera["db2"]
    warm.configure(HOST=node.host, PORT=node.port, OPTIONS={"multi_statements": False})
    warm.warm()
    for atomic in (False, True):
        with node.hold_applier(), ExitStack() as stack:
            Author.objects.create(name=uuid.uuid4().hex)
            threading.Timer(0.3, node.release_applier).start()
            if atomic:
                stack.enter_context(transaction.atomic())
            assert count() == 2 + atomic


@pytest.mark.parametrize("atomic", [True, False])
def test_an_error_of_the_application_is_its_own(warm: Shop, atomic: bool) -> None:
    """Number 1690 is also that by which a node says that it lacks a transaction."""
    Author.objects.create(name="Bea")
    with ExitStack() as stack:
        error = stack.enter_context(pytest.raises(Exception, match="out of range"))
        if atomic:
            stack.enter_context(transaction.atomic())
        with connection.cursor() as cursor:
            cursor.execute("SELECT 18446744073709551615 + COUNT(*) FROM shop_author")
    assert error.value.args[0] == 1690
    assert not [node for node in warm.session.cluster.nodes if warm.session.cluster.lags(node)]


def statements_on_primary(shop: Shop, token: str) -> list[tuple[int, int]]:
    """How often the primary looks, and waits, in each of two writes after ``token``."""
    found = []
    for name in ("Cleo", "Dan"):
        with shop.traffic() as sent, after(token):
            Author.objects.create(name=name)
        looks = sum(s.startswith(LOOK) for s in sent["db1"])
        found.append((looks, sum(s.startswith(SYNC) for s in sent["db1"])))
    return found


def of_another_process(shop: Shop, token: str) -> str:
    """``token``, of which this process knows nothing."""
    pool_of(shop.session.cluster)._free.clear()
    shop.settle()
    shop.forget_positions()
    return token


def test_a_primary_is_asked_once_for_what_another_process_has_committed(warm: Shop) -> None:
    """It does not wait for the other nodes, which may be far away or about to form a view."""
    token = of_another_process(warm, write())
    assert statements_on_primary(warm, token) == [(1, 0), (0, 0)]


def test_a_primary_that_lacks_what_a_token_names_waits_for_it_once(warm: Shop) -> None:
    mark = mark_of(of_another_process(warm, write()))
    token = tokens.dump("default", Mark(mark.worker, mark.seqno + 1))
    assert statements_on_primary(warm, token) == [(1, 1), (0, 0)]


def test_a_primary_waits_for_a_token_without_a_marker(warm: Shop) -> None:
    token = of_another_process(warm, write(marked=False))
    assert statements_on_primary(warm, token)[0] == (0, 1)


def test_what_somebody_else_has_removed_is_proven_to_be_gone(warm: Shop) -> None:
    """Such as the flush of another process; it is not waited for until the time is over."""
    Tag.objects.create(name="x")
    warm.galera["db1"].query("DELETE FROM galera_router.galera_router_marker")
    warm.settle()
    with warm.traffic() as sent:
        assert Tag.objects.count() == 1
    waits = [s for s in sent["db2"] if s.startswith((WAIT, SYNC))]
    packets = ["wait" if s.startswith(WAIT) else "sync" for s in waits]
    assert packets == ["wait", "sync", "wait", "sync"], "the proof asks once more, without waiting"
    assert sent["db1"] == sent["db3"] == []

"""Tokens within one process: waited for, handed on, given up; and never back in time."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import replace

import pytest
from django.db import connection, connections, transaction
from django.db.models import Func, Value
from django.http import HttpResponse

import galera_router
from galera_router import after, causal_token, galera_atomic, reads
from galera_router.causality import scope, tokens
from galera_router.cluster import position as positions
from galera_router.cluster.node import Node
from galera_router.cluster.position import EVERYTHING, Mark, Position
from galera_router.exceptions import ConfigurationError, NotCommitted, ReplayMismatch
from tests.faults.nodes import stalled
from tests.integration.causality.support import BEGIN, LOOK, REACH, SYNC, count, write
from tests.integration.support import Shop, elsewhere, use_databases
from tests.shop.models import Author, Book


def test_after_waits_and_nothing_else_does(warm: Shop) -> None:
    with warm.galera["db2"].hold_applier():
        token = write()
        assert count() == 1
    with warm.galera["db2"].hold_applier():
        token = write("Cleo")
        threading.Timer(0.4, warm.galera["db2"].release_applier).start()
        began = time.monotonic()
        with after(token):
            assert count() == 3
        assert time.monotonic() - began > 0.2


def test_in_a_transaction_the_snapshot_waits(warm: Shop) -> None:
    with warm.galera["db2"].hold_applier():
        token = write()
        threading.Timer(0.4, warm.galera["db2"].release_applier).start()
        with after(token), transaction.atomic():
            assert count() == 2
            assert warm.reading is warm.galera["db2"]


def test_a_snapshot_that_was_open_before_is_not_enough(warm: Shop) -> None:
    token = write()
    with transaction.atomic():
        Book.objects.count()
        with after(token):
            assert count() == 2
            assert warm.session.primary is not None
            assert warm.session.transaction_begun


def test_a_snapshot_that_is_older_than_a_token_is_a_mismatch(warm: Shop) -> None:
    """What was read in it has changed since: the function runs again, on the primary."""
    runs: list[int] = []
    tokens_made: list[str] = []
    asked, done = threading.Event(), threading.Event()

    def client() -> None:
        """Somebody else: a thread that the function had started would be a part of it."""
        asked.wait(10)
        tokens_made.append(write())
        done.set()

    @galera_atomic
    def work() -> int:
        runs.append(count())
        asked.set()
        assert done.wait(10)
        with after(tokens_made[0]):
            return count()

    thread = threading.Thread(target=client)
    thread.start()
    assert work() == 2
    thread.join()
    assert runs == [1, 2]


def test_what_a_thread_of_the_function_has_committed_is_not_done_twice(warm: Shop) -> None:
    runs: list[int] = []

    @galera_atomic
    def work() -> None:
        runs.append(count())
        with after(write()):
            count()

    with pytest.raises(ReplayMismatch):
        work()
    assert runs == [1]
    assert count() == 2


def test_blocks_around_and_within_a_transaction(warm: Shop) -> None:
    """The same token again, or the end of a block, moves nothing."""
    outer, inner = write("Bea"), write("Cleo")
    warm.settle()
    with after(outer), after(inner), transaction.atomic():
        assert count() == 3
        with reads("causal"):
            assert count() == 3
        assert warm.reading is warm.galera["db2"]


def test_a_block_is_left_as_it_was_found(warm: Shop) -> None:
    outer, inner = write("Bea"), write("Cleo")
    assert scope.needs("default") == ()
    with after(outer):
        before = scope.needs("default")
        with pytest.raises(ZeroDivisionError), after(inner):
            assert len(scope.needs("default")) == 2
            raise ZeroDivisionError
        assert scope.needs("default") == before
    assert scope.needs("default") == ()


def test_nothing_written_has_no_token(warm: Shop) -> None:
    assert causal_token() == ""
    with after("", None):
        assert count() == 1


def test_a_token_is_handed_on(warm: Shop) -> None:
    """Who has written nothing passes on what it was given itself."""
    token = write()
    with after(token):
        assert tokens.load(causal_token(), None) == tokens.load(token, None)


def test_a_token_of_a_marker_costs_no_question(warm: Shop) -> None:
    Author.objects.create(name="Bea")
    with warm.traffic() as sent:
        loaded = tokens.load(causal_token(), None)
    assert loaded is not None
    assert isinstance(loaded[1], Mark)
    assert not any(sent.values())


def test_a_position_is_asked_for_once_per_write(warm: Shop) -> None:
    connection.commit_marker = False  # type: ignore[attr-defined]
    Author.objects.create(name="Bea")
    with warm.traffic() as sent:
        first = causal_token()
        again = causal_token()
    assert tokens.load(first, None) == tokens.load(again, None)
    assert len(sent["db1"]) == 1
    Author.objects.create(name="Cleo")
    with warm.traffic() as sent:
        causal_token()
    assert len(sent["db1"]) == 1


def test_a_token_of_what_is_not_committed_is_refused(warm: Shop) -> None:
    got: list[str] = []
    with transaction.atomic():
        assert causal_token() == "", "nothing has been written yet"
        Author.objects.create(name="Bea")
        with pytest.raises(NotCommitted, match="on_commit"):
            causal_token()
        transaction.on_commit(lambda: got.append(causal_token()))
    assert tokens.load(got[0], 60) is not None


def test_a_marker_tells_even_after_a_lost_connection(warm: Shop) -> None:
    Author.objects.create(name="Bea")
    warm.writing.kill_connections()
    loaded = tokens.load(causal_token(), None)
    assert loaded is not None
    assert isinstance(loaded[1], Mark)


def test_after_a_lost_connection_everything_is_waited_for(warm: Shop) -> None:
    connection.commit_marker = False  # type: ignore[attr-defined]
    Author.objects.create(name="Bea")
    warm.writing.kill_connections()
    token = causal_token()
    assert tokens.load(token, None) == ("default", EVERYTHING)

    def read() -> int:
        with after(token):
            return count()

    with warm.traffic() as sent:
        assert elsewhere(read) == 2
    assert any(s.startswith(SYNC) for s in sent["db2"]), sent["db2"]


@pytest.mark.parametrize("using", ["default_db2", "nobody"])
def test_a_token_of_no_cluster_is_an_error(warm: Shop, using: str) -> None:
    with pytest.raises(ConfigurationError, match=using):
        causal_token(using)


def test_a_token_is_text(warm: Shop) -> None:
    with pytest.raises(TypeError, match="int"), after(7):  # type: ignore[arg-type]
        pass


def test_a_token_of_an_alias_that_is_not_here_is_ignored(
    warm: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    here = tokens.load(write(), None)
    assert here is not None
    with after(tokens.dump("elsewhere", here[1])):
        assert scope.needs("elsewhere") == ()
    assert "no cluster 'elsewhere'" in caplog.text


@pytest.mark.alone
def test_a_token_of_a_cluster_that_was_rebuilt_is_recognised(
    warm: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    old = tokens.dump("default", Position(str(uuid.uuid4()), 10**9))
    began = time.monotonic()
    with after(old):
        assert count() == 1
        with warm.traffic() as sent:
            assert count() == 1
        with transaction.atomic():
            assert count() == 1
    assert len(sent["db2"]) == 1, "it is asked about once"
    assert time.monotonic() - began < 1, "and nobody waits for it"
    assert "another cluster" in caplog.text


def of_the_future(here: Position | Mark) -> Position | Mark:
    if isinstance(here, Mark):
        return replace(here, seqno=here.seqno + 10**6)
    return replace(here, seqno=here.seqno + 10**6, node="")


@pytest.mark.alone
@pytest.mark.parametrize("marked", [True, False])
def test_a_token_from_a_future_that_was_lost_is_given_up(warm: Shop, marked: bool) -> None:
    """The cluster was begun again from a node that had not got so far: nobody ever will."""
    warm.configure(OPTIONS={"wsrep_sync_timeout": 0.5})
    here = tokens.load(write(marked=marked), None)
    assert here is not None
    lost = tokens.dump("default", of_the_future(here[1]))
    began = time.monotonic()
    with after(lost):
        assert count() == 2
        assert time.monotonic() - began < 1.5
        began = time.monotonic()
        assert count() == 2
        assert time.monotonic() - began < 0.3, "once, not for every read"


@pytest.mark.parametrize("marked", [True, False])
def test_a_write_is_waited_for_once(warm: Shop, marked: bool) -> None:
    connection.commit_marker = marked  # type: ignore[attr-defined]
    with transaction.atomic():
        Author.objects.create(name="Bea")
    warm.settle()
    with warm.traffic() as sent:
        for _ in range(3):
            with transaction.atomic():
                assert count() == 2
    first = BEGIN if marked else SYNC + "START TRANSACTION READ ONLY"
    assert [s for s in sent["db2"] if "START" in s] == [first, BEGIN, BEGIN]
    assert [s.startswith(LOOK) for s in sent["db2"]] == [marked] + [False] * (len(sent["db2"]) - 1)


def test_a_server_that_gives_dirty_reads_is_waited_for_too(warm: Shop) -> None:
    """By its own settings ``wsrep_sync_wait`` would wait for nothing there."""
    node = warm.galera["db2"]
    node.query("SET GLOBAL wsrep_dirty_reads = 1")
    try:
        warm.configure(HOST=node.host, PORT=node.port, OPTIONS={"wsrep_sync_timeout": 0.5})
        warm.warm()
        with stalled(node, "shop_author"):
            Author.objects.create(name="Bea")
            assert count() == 2
            with transaction.atomic():
                assert count() == 2
    finally:
        node.query("SET GLOBAL wsrep_dirty_reads = 0")


def test_the_wait_can_be_turned_off(warm: Shop) -> None:
    connection.wsrep_sync_after_write = False  # type: ignore[attr-defined]
    Author.objects.create(name="Bea")
    with warm.traffic() as sent, after(write("Cleo")):
        count()
    assert len(sent["db2"]) == 1
    assert causal_token() == ""
    connections["default"].close()


def test_another_thread_of_a_request_waits_for_its_write(warm: Shop) -> None:
    """As with asgiref's threads: the request is one, whoever runs a part of it."""
    import contextvars

    with scope.needing({}, request=True):
        Author.objects.create(name="Bea")
        context = contextvars.copy_context()
        with warm.traffic() as sent:
            assert elsewhere(lambda: context.run(count)) == 2
    assert any(s.startswith(SYNC) for s in sent["db2"])


@pytest.mark.alone
def test_by_gtid(warm: Shop) -> None:
    warm.configure(
        HOST=warm.galera["db2"].host,
        PORT=warm.galera["db2"].port,
        OPTIONS={"wsrep_sync_use_gtid": True, "wsrep_sync_timeout": 4},
    )
    warm.warm()
    connection.commit_marker = False  # type: ignore[attr-defined]
    Author.objects.create(name="Bea")
    with warm.traffic() as sent, transaction.atomic():
        assert count() == 2
    assert "WSREP_SYNC_WAIT_UPTO_GTID" in sent["db2"][0]
    assert sent["db2"][1] == BEGIN
    assert [s for s in sent["db1"] if "GTID" in s] == ["Query SELECT WSREP_LAST_SEEN_GTID()"]
    token = causal_token()
    loaded = tokens.load(token, None)
    assert loaded is not None
    assert isinstance(loaded[1], Position)
    assert loaded[1].gtid

    def read() -> int:
        with after(token):
            return count()

    warm.forget_positions()
    with warm.traffic() as sent:
        assert elsewhere(read) == 2
    assert any("WSREP_SYNC_WAIT_UPTO_GTID" in s for s in sent["db2"])
    with warm.galera["db2"].hold_applier():
        Author.objects.create(name="Cleo")
        began = time.monotonic()
        assert count() == 3
        assert time.monotonic() - began < 4.5


def test_a_failover_goes_on_where_the_lost_node_was(shop: Shop) -> None:
    """What was read on the lost node is waited for on the one that lags behind it."""
    shop.stock()
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port)
    shop.warm()
    late = shop.galera["db3"]
    with late.hold_applier():
        shop.galera["db1"].query("INSERT INTO galera_router.shop_author (name) VALUES ('Bea')")
        node.wait_applied()
        assert count() == 2
        node.reject_queries("ALL_KILL")
        threading.Timer(0.5, late.release_applier).start()
        assert count() == 2
    seen = shop.session.following.seen
    assert isinstance(seen, Node)
    assert seen.name != "db2"


def test_so_does_one_in_a_transaction_behind_another(shop: Shop) -> None:
    shop.stock()
    node = shop.galera["db2"]
    shop.configure(HOST=node.host, PORT=node.port)
    shop.warm()
    late = shop.galera["db3"]
    with late.hold_applier():
        shop.galera["db1"].query("INSERT INTO galera_router.shop_author (name) VALUES ('Bea')")
        node.wait_applied()
        with transaction.atomic():
            assert count() == 2
        with transaction.atomic():
            assert Book.objects.count() == 1, "the same on both"
            node.reject_queries("ALL_KILL")
            threading.Timer(0.5, late.release_applier).start()
            assert Book.objects.count() == 1
            assert count() == 2


def test_several_clusters_have_a_token_each(shop: Shop) -> None:
    one = shop.galera.databases(CONN_MAX_AGE=None)["default"]
    use_databases(galera_router.expand({"default": one, "other": dict(one)}))
    try:
        with scope.needing({}, request=True):
            Author.objects.using("other").create(name="Bea")
            assert causal_token() == ""
            token = causal_token("other")
        loaded = tokens.load(token, None)
        assert loaded is not None
        assert loaded[0] == "other"
        with after(token):
            assert len(scope.needs("other")) == 1
            assert scope.needs("default") == ()
    finally:
        connections.close_all()


def test_the_names_of_others_tell_which(shop: Shop) -> None:
    from galera_router.causality.carriers import carrier

    response = HttpResponse()
    carrier().write(response, {"default": "a", "other": "b", "a b": "c"})
    assert {n: m.value for n, m in response.cookies.items()} == {
        "galera.a": "a",
        "galera_other.b": "b",
        "galera_a_b.c": "c",
    }
    assert response.headers["X-Galera-Token-other"] == "b"


def test_how_far_a_node_has_come_is_never_ahead_of_what_it_shows(shop: Shop) -> None:
    """``wsrep_last_committed`` says n: then the n-th transaction is seen there."""
    primary, secondary = shop.galera["db1"], shop.galera["db2"]
    ask = positions.ASK.decode()
    for number in range(300):
        primary.query(f"INSERT INTO galera_router.shop_tag (name) VALUES ('t{number}')")
        target = positions.position(primary.query(ask))
        assert target is not None
        while True:
            here = positions.position(secondary.query(ask))
            ((found,),) = secondary.query(
                f"SELECT COUNT(*) FROM galera_router.shop_tag WHERE name = 't{number}'"
            )
            assert here is not None
            if here.seqno >= target.seqno:
                assert found == 1
                break


def test_logging_says_no_more_than_it_should(warm: Shop, caplog: pytest.LogCaptureFixture) -> None:
    token = write()
    with caplog.at_level(logging.DEBUG, "galera_router"), after(token):
        count()
    assert token not in caplog.text


def test_a_primary_that_others_wrote_past_catches_up_first(warm: Shop) -> None:
    """Another worker holds another node for the primary, and its client comes here."""
    with reads("primary"):
        count()  # connected, and nothing to catch up with
    late = warm.galera["db1"]
    with late.hold_applier():
        warm.galera["db2"].query("INSERT INTO galera_router.shop_author (name) VALUES ('Bea')")
        here = positions.position(warm.galera["db2"].query(positions.ASK.decode()))
        assert here is not None
        threading.Timer(0.4, late.release_applier).start()
        with after(tokens.dump("default", here)), reads("primary"):
            assert count() == 2


def test_a_primary_that_lost_its_place_and_has_it_back_catches_up(warm: Shop) -> None:
    with reads("primary"):
        count()
    cluster = warm.session.cluster
    late = warm.galera["db1"]
    with late.hold_applier():
        warm.galera["db2"].query("INSERT INTO galera_router.shop_author (name) VALUES ('Bea')")
        cluster.acting = cluster.nodes[1]  # as another thread has left it
        threading.Timer(0.4, late.release_applier).start()
        with reads("primary"):
            assert count() == 2
    assert cluster.acting is cluster.nodes[0]


FOR_ALL = "Query SET STATEMENT wsrep_dirty_reads=0, wsrep_sync_wait=1,"


@pytest.mark.parametrize(("marked", "question"), [(True, LOOK), (False, REACH)])
def test_what_is_lost_with_a_connection_is_asked_again(
    warm: Shop, marked: bool, question: str
) -> None:
    """Its server may have been started anew, from an older state: it is waited for at least."""
    token = write(marked=marked)
    warm.settle()
    with warm.traffic() as sent, after(token):
        count()
        count()
    assert sum(s.startswith(question) for s in sent["db2"]) == 1, sent["db2"]
    warm.galera["db2"].kill_connections()
    with warm.traffic() as sent, after(token):
        count()
    assert any(s.startswith((question, FOR_ALL)) for s in sent["db2"]), sent["db2"]


def test_a_long_read_behind_a_short_wait_is_left_alone(warm: Shop) -> None:
    """What has its limit is the wait, not the read in the same packet."""
    warm.configure(OPTIONS={"wsrep_sync_timeout": 1.0})
    warm.warm()
    slow = Author.objects.annotate(slept=Func(Value(1.2), function="SLEEP"))
    secondaries = [warm.galera[name] for name in ("db2", "db3")]
    with ExitStack() as held:
        for node in secondaries:
            held.enter_context(node.hold_applier())
        Author.objects.create(name="Bea")
        with warm.traffic() as sent:
            threading.Timer(0.1, held.close).start()
            assert slow.get(name="Bea").slept == 0
    asked = sorted(sum("SLEEP(1.2" in s for s in log) for log in sent.values())
    assert asked == [0, 0, 2], "of one node, behind a look in vain and behind the wait"
    assert not [s for s in sent["db1"] if "SLEEP" in s]

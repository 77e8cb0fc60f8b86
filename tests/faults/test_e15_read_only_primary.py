"""The first node is read-only (``read_only=1``): each write fails, though another would take it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import OperationalError, connection, transaction

from galera_router import galera_atomic
from galera_router.causality import scope
from galera_router.cluster import nodes as registry
from galera_router.exceptions import ReplayMismatch
from tests.faults.known import both
from tests.faults.limits import in_time, spared
from tests.faults.nodes import be_quick
from tests.faults.server import tags
from tests.faults.support import EitherShop
from tests.integration.support import wait_until
from tests.shop.models import Author, Book, Tag

READ_ONLY = 1290


def _save() -> None:
    book = Book.objects.get()
    book.stock -= 1
    book.save()


def plain() -> None:
    Book.objects.update(stock=9)


works = pytest.mark.parametrize(
    "work",
    [plain, transaction.atomic(_save), galera_atomic(_save)],
    ids=["plain", "block", "function"],
)


@both(stock=False)
@works
@pytest.mark.parametrize("before", [False, True])
def test_another_node_is_written_to(
    shop: EitherShop, work: Callable[[], None], before: bool
) -> None:
    """Whether the process has a connection from before or not."""
    shop.stock()
    shop.configure(OPTIONS={"reconnect_wait_time": 2.0})
    if before:
        shop.warm()
    shop.galera["db1"].query("SET GLOBAL read_only = 1")
    with spared(READ_ONLY):
        work()
    assert shop.everywhere("SELECT stock FROM galera_router.shop_book") == [(9,)]


@both(stock=False)
def test_in_the_middle_of_a_block(shop: EitherShop) -> None:
    shop.configure(OPTIONS={"reconnect_wait_time": 2.0})
    with spared(READ_ONLY), transaction.atomic():
        Author.objects.create(name="Ann")
        shop.galera["db1"].query("SET GLOBAL read_only = 1")
        Author.objects.create(name="Bea")
    names = "SELECT name FROM galera_router.shop_author ORDER BY name"
    assert shop.everywhere(names) == [("Ann",), ("Bea",)]


def _now_read_only(shop: EitherShop) -> None:
    """All connections are there; the first node takes no more writes."""
    shop.configure(OPTIONS={"reconnect_wait_time": 2.0})
    shop.warm()
    Tag.objects.create(name="before")
    shop.galera["db1"].query("SET GLOBAL read_only = 1")


def _raw(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def raw_update() -> None:
    _raw("UPDATE shop_tag SET name = 'after'")


def raw_insert() -> None:
    _raw("INSERT INTO shop_tag (name) VALUES ('new')")


def definition() -> None:
    """DDL, which has no marker."""
    _raw("ALTER TABLE shop_tag COMMENT 'altered'")
    raw_update()


def locking() -> None:
    """A locking read is refused as well."""
    with transaction.atomic():
        tag = Tag.objects.select_for_update(nowait=True).get()
        tag.name = "after"
        tag.save()


def several() -> None:
    with transaction.atomic():
        Tag.objects.bulk_create([Tag(name="one"), Tag(name="two")])
        Tag.objects.all().delete()
        Tag.objects.bulk_create([Tag(name="after")])


@both(stock=False)
@pytest.mark.parametrize("work", [raw_update, definition, locking, several])
def test_other_writes(shop: EitherShop, work: Callable[[], None]) -> None:
    """Nothing of them is told, and nothing done twice."""
    _now_read_only(shop)
    with spared(READ_ONLY):
        work()
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == [("after",)]


@both(stock=False)
def test_a_replay_that_differs_says_so(shop: EitherShop) -> None:
    """It is told as behind any failover, and not by the error that led to it."""
    _now_read_only(shop)
    shop.galera["db1"].query("SET GLOBAL read_only = 0")

    def block() -> None:
        with transaction.atomic():
            Author.objects.create(name="Ann")
            assert Tag.objects.get().name == "before"
            shop.galera["db1"].query("SET GLOBAL read_only = 1")
            shop.galera["db2"].query("UPDATE galera_router.shop_tag SET name = 'other'")
            Author.objects.create(name="Bea")

    with pytest.raises(ReplayMismatch, match="shop_tag"):
        block()
    assert tags(shop) == ["other"]
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(0,)]


@both(stock=False)
def test_at_the_commit(shop: EitherShop) -> None:
    """The server rolls back what has been written before."""
    shop.configure(OPTIONS={"reconnect_wait_time": 2.0})
    with spared(READ_ONLY), transaction.atomic():
        Tag.objects.create(name="new")
        shop.galera["db1"].query("SET GLOBAL read_only = 1")
    assert tags(shop) == ["new"]


@both(stock=False)
def test_where_all_nodes_are_read_only(shop: EitherShop, caplog: pytest.LogCaptureFixture) -> None:
    """The application is told, as by one server, and is not kept waiting."""
    _now_read_only(shop)
    for name in ("db2", "db3"):
        shop.galera[name].query("SET GLOBAL read_only = 1")

    def write() -> None:
        for work in (plain, locking, galera_atomic(several)):
            with pytest.raises(OperationalError) as told:
                work()
            assert told.value.args[0] == READ_ONLY

    caplog.set_level("INFO", "galera_router")
    in_time(3.0, write, lambda: None)
    assert tags(shop) == ["before"]
    assert "nothing is written elsewhere: db1: is read-only; db2: is read-only" in caplog.text


def block() -> None:
    with transaction.atomic():
        Tag.objects.create(name="new")


function = galera_atomic(block)


def one() -> None:
    Tag.objects.create(name="new")


@both(stock=False)
def test_where_nothing_is_waited_for_the_request_waits_for_nodes_later(shop: EitherShop) -> None:
    _now_read_only(shop)
    for name in ("db2", "db3"):
        shop.galera[name].query("SET GLOBAL read_only = 1")
    with scope.needing({}, request=True):
        with pytest.raises(OperationalError, match="read-only"):
            plain()
        assert not scope.in_outage("default")


@both(stock=False)
@pytest.mark.parametrize("work", [one, block, function, raw_insert])
def test_where_the_others_are_out_of_reach_for_a_moment(
    shop: EitherShop, work: Callable[[], None]
) -> None:
    """As where all are out of reach: they are waited for."""
    with shop.proxied() as proxies:
        shop.warm()
        for name in ("db2", "db3"):
            proxies[name].refuse()
            proxies[name].cut()
        shop.galera["db1"].query("SET GLOBAL read_only = 1")
        timer = threading.Timer(1.0, proxies["db3"].accept)
        for node in shop.session.cluster.nodes[1:]:
            shop.session.cluster.mark_down(node, OperationalError(2013, "lost"))
        timer.start()
        with spared(READ_ONLY):
            work()
        timer.join()
    assert tags(shop) == ["new"]


@both(stock=False)
def test_where_the_others_stay_out_of_reach(shop: EitherShop) -> None:
    """The error is told when the time is over; the request does not wait again."""
    with shop.proxied(OPTIONS={"reconnect_wait_time": 1.0}) as proxies:
        shop.warm()
        for name in ("db2", "db3"):
            proxies[name].refuse()
            proxies[name].cut()
        shop.galera["db1"].query("SET GLOBAL read_only = 1")
        for node in shop.session.cluster.nodes[1:]:
            shop.session.cluster.mark_down(node, OperationalError(2013, "lost"))

        def write() -> None:
            for work in (one, block, function):
                with pytest.raises(OperationalError) as told:
                    work()
                assert told.value.args[0] == READ_ONLY

        in_time(6.0, write, lambda: None)
    assert tags(shop) == []


@both(stock=False)
def test_what_was_set_on_the_connection_is_not_left_behind(
    shop: EitherShop, caplog: pytest.LogCaptureFixture
) -> None:
    """It is on no other node: the server's error is the application's, and the log says why."""
    _now_read_only(shop)
    _raw("SET @shop = 1")
    caplog.set_level("INFO", "galera_router")
    with pytest.raises(OperationalError) as told:
        raw_update()
    assert told.value.args[0] == READ_ONLY
    with connection.cursor() as cursor:
        cursor.execute("SELECT @shop")
        assert cursor.fetchone() == (1,)
    assert "nothing is written elsewhere: SET left state on its connection" in caplog.text


@pytest.fixture
def procedure(shop: EitherShop) -> Iterator[None]:
    """``shop_as_caller``, which adds a tag with the rights of whoever calls it."""
    node = shop.galera["db1"]
    node.query(
        "CREATE OR REPLACE PROCEDURE galera_router.shop_as_caller(tag TEXT) SQL SECURITY INVOKER"
        " INSERT INTO galera_router.shop_tag (name) VALUES (tag)"
    )
    yield
    shop.galera["db2"].query("DROP PROCEDURE galera_router.shop_as_caller")


@both(stock=False)
def test_a_procedure_is_not_called_twice(shop: EitherShop, procedure: None) -> None:
    """What it has done before it was refused is not known; the next one goes elsewhere."""
    _now_read_only(shop)
    with pytest.raises(OperationalError) as told:
        _raw("CALL shop_as_caller('one')")
    assert told.value.args[0] == READ_ONLY
    _raw("CALL shop_as_caller('two')")
    assert tags(shop) == ["before", "two"]


@both(stock=False)
def test_what_is_too_long_to_be_moved_is_run_again_as_a_whole(shop: EitherShop) -> None:
    """If somebody can run it again."""
    shop.configure(OPTIONS={"reconnect_wait_time": 2.0, "failover_history_limit": 1})
    runs: list[int] = []

    def work() -> None:
        Tag.objects.create(name="one")
        Tag.objects.create(name="two")
        if not runs:
            shop.galera["db1"].query("SET GLOBAL read_only = 1")
        runs.append(1)
        Tag.objects.create(name="three")

    with spared(READ_ONLY):
        galera_atomic(work)()
    assert len(runs) == 2
    assert tags(shop) == ["one", "three", "two"]


@both(stock=False)
def test_what_is_too_long_and_is_not_run_again(
    shop: EitherShop, caplog: pytest.LogCaptureFixture
) -> None:
    """The server's error is the application's; the log says why nothing was done about it."""
    _now_read_only(shop)
    shop.configure(OPTIONS={"failover_history_limit": 1})
    shop.galera["db1"].query("SET GLOBAL read_only = 0")
    caplog.set_level("INFO", "galera_router")

    def work() -> None:
        with transaction.atomic():
            Tag.objects.create(name="one")
            Tag.objects.create(name="two")
            shop.galera["db1"].query("SET GLOBAL read_only = 1")
            Tag.objects.create(name="three")

    with pytest.raises(OperationalError) as told:
        work()
    assert told.value.args[0] == READ_ONLY
    assert tags(shop) == ["before"]
    told_why = "the open transaction cannot be moved: it has more than 1 statements"
    assert sum(told_why in record.getMessage() for record in caplog.records) == 1


@both(stock=False)
def test_it_is_the_primary_again_afterwards(
    shop: EitherShop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    be_quick(monkeypatch)
    monkeypatch.setattr(registry, "REFUSAL_KEPT", 0.5)
    _now_read_only(shop)
    for name in ("a", "b", "c"):
        Tag.objects.create(name=name)
    assert shop.writing.name == "db2"
    shop.galera["db1"].query("SET GLOBAL read_only = 0")

    def back() -> bool:
        Tag.objects.create(name="d")
        return shop.writing.name == "db1"

    wait_until(back)
    told = [record.getMessage() for record in caplog.records if "node db1" in record.message]
    assert sum("is read-only" in line for line in told) == 1
    assert sum("takes writes again" in line for line in told) == 1


@both(stock=False)
def test_one_that_takes_writes_again_while_it_is_waited_for_stays_the_primary(
    shop: EitherShop,
) -> None:
    """A change would end all that is open there. After several changes the next one comes late."""
    shop.configure(OPTIONS={"reconnect_wait_time": 15.0})
    shop.warm()
    epoch = "UPDATE galera_router.galera_router_epoch SET flips = 3, changed_at = UTC_TIMESTAMP(6)"
    shop.galera["db1"].query(epoch)
    shop.configure()  # it is read anew
    Tag.objects.create(name="before")
    shop.galera["db1"].query("SET GLOBAL read_only = 1")
    back = threading.Timer(1.5, shop.galera["db1"].query, ["SET GLOBAL read_only = 0"])
    back.start()
    try:
        Tag.objects.create(name="after")
    finally:
        back.join()
    assert tags(shop) == ["after", "before"]
    assert shop.writing.name == "db1"


@both(stock=False)
@pytest.mark.parametrize("work", [raw_update, definition, several])
def test_the_signal_tells_of_it(
    shop: EitherShop, work: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Once, of whatever has met the refusal."""
    _now_read_only(shop)
    work()
    told = [record.getMessage() for record in caplog.records]
    assert sum("failover from db1 to db2" in line for line in told) == 1

"""What one worker has written, its client sees in the next request, whoever answers that."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from django.contrib.auth.models import User

from galera_router.testing import GaleraNode
from tests.integration.causality.worker import Answer, Visitor, Worker, pinned
from tests.integration.support import Shop

pytestmark = pytest.mark.alone

names = (f"n{number}" for number in itertools.count())


@pytest.fixture
def pair(shop: Shop) -> Iterator[tuple[Worker, Worker]]:
    """Two workers, the first reading on db2, the second on db3; both have been at work."""
    with Worker(pinned(shop.galera, "db2")) as one, Worker(pinned(shop.galera, "db3")) as other:
        for worker in (one, other):
            worker.get("/read/")
            worker.post("/add/", data={"name": next(names)})
        yield one, other


def add(worker: Worker, visitor: Visitor) -> str:
    """A name that ``visitor`` has added through ``worker``."""
    name = next(names)
    assert worker.post("/add/", visitor, {"name": name}).status == 200
    return name


def held(*nodes: GaleraNode, seconds: float) -> threading.Timer:
    """Keep ``nodes`` from applying for ``seconds``, from now on."""
    for node in nodes:
        node.hold_applier()

    def release() -> None:
        for node in nodes:
            node.release_applier()

    timer = threading.Timer(seconds, release)
    timer.start()
    return timer


def test_nothing_is_stale_while_the_secondary_is_held(
    shop: Shop, pair: tuple[Worker, Worker]
) -> None:
    """50 reads on a node that does not apply for a second: each waits for its client's write.

    Nobody asks the node how it is: it would say that it is out of step, and be left alone.
    """
    one, _ = pair
    readers = 5
    databases = pinned(shop.galera, "db3", OPTIONS={"watchdog_after": 0})
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(databases)) for _ in range(readers)]
        for worker in workers:
            worker.get("/read/")
        with ThreadPoolExecutor(readers) as pool:
            for _ in range(10):
                visitors = [Visitor() for _ in workers]
                began = time.monotonic()
                timer = held(shop.galera["db3"], seconds=1.0)
                added = [add(one, visitor) for visitor in visitors]
                answers = list(
                    pool.map(
                        lambda pair: pair[0].get("/read/", pair[1]),
                        zip(workers, visitors, strict=True),
                    )
                )
                taken = time.monotonic() - began
                timer.join()
                for name, answer in zip(added, answers, strict=True):
                    assert name in answer.content.split(",")
                assert min(a.seconds for a in answers) > 0.5, "they had to wait"
                assert taken < 2.0, "and not until a limit was over"


@pytest.mark.parametrize("others", [["db3"], ["db2", "db3"]], ids=["another node", "primary"])
def test_a_node_that_lags_for_long_is_passed_by(shop: Shop, others: list[str]) -> None:
    options = {"wsrep_sync_timeout": 1.0}
    db2 = pinned(shop.galera, "db2", OPTIONS=options)
    db3 = pinned(shop.galera, "db3", OPTIONS=options)
    with Worker(db2) as one, Worker(db3) as other:
        for worker in (one, other):
            worker.get("/read/")
            worker.post("/add/", data={"name": next(names)})
        nodes = [shop.galera[name] for name in others]
        with ExitStack() as stack:
            for node in nodes:
                stack.enter_context(node.hold_applier())
            answers: list[Answer] = []
            with shop.traffic() as sent:
                for _ in range(3):
                    visitor = Visitor()
                    name = add(one, visitor)
                    answers.append(other.get("/read/", visitor))
                    assert name in answers[-1].content.split(","), "never stale"
            assert max(a.seconds for a in answers) < 1.0 + 0.5
    reads = {name: [s for s in log if "SELECT `shop_author`" in s] for name, log in sent.items()}
    assert reads["db2" if len(others) == 1 else "db1"], reads


def test_own_writes_are_waited_for_and_that_has_an_end_too(shop: Shop) -> None:
    """The same for the reads of one worker, which knows nothing but that it has written."""
    with Worker(pinned(shop.galera, "db3", OPTIONS={"wsrep_sync_timeout": 1.0})) as worker:
        worker.get("/read/")
        with shop.galera["db2"].hold_applier(), shop.galera["db3"].hold_applier():
            for _ in range(3):
                name = add(worker, Visitor())
                answer = worker.get("/read/")
                assert name in answer.content.split(",")
                assert answer.seconds < 1.0 + 0.5


@pytest.mark.parametrize("path", ["/list/", "/stream/"])
def test_what_is_read_after_the_view_waits_too(
    shop: Shop, pair: tuple[Worker, Worker], path: str
) -> None:
    """A template's queryset, and the parts of a stream."""
    one, other = pair
    for _ in range(3):
        visitor = Visitor()
        timer = held(shop.galera["db3"], seconds=0.4)
        name = add(one, visitor)
        assert name in other.get(path, visitor).content
        timer.join()


def test_api_clients_bring_the_token_in_a_header(shop: Shop, pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    for _ in range(3):
        timer = held(shop.galera["db3"], seconds=0.4)
        name = next(names)
        token = one.post("/add/", data={"name": name}).headers["X-Galera-Token"]
        answer = other.get("/read/", headers={"X-Galera-Token": token})
        assert name in answer.content.split(",")
        timer.join()


def test_who_has_no_token_does_not_wait(shop: Shop, pair: tuple[Worker, Worker]) -> None:
    """The test can fail: without its token a client is answered at once, and too early."""
    one, other = pair
    other.get("/read/")
    other.get("/read/")
    with shop.galera["db3"].hold_applier():
        name = add(one, Visitor())
        answer = other.get("/read/")
        assert answer.seconds < 0.3
        assert name not in answer.content.split(",")


def test_three_hundred_log_ins_hold(shop: Shop) -> None:
    """Log in on one worker, be logged in on the other, while others write."""
    User.objects.create_user("ann", password="secret")
    shop.settle()
    with ExitStack() as stack:
        one, other, third = (
            stack.enter_context(Worker(pinned(shop.galera, name))) for name in ("db2", "db3", "db2")
        )
        done = threading.Event()
        load = threading.Thread(target=write_until, args=(third, done))
        load.start()
        try:
            for number in range(300):
                first, second = (one, other) if number % 2 else (other, one)
                visitor = Visitor()
                first.post("/sign-in/", visitor, {"name": "ann"})
                assert second.get("/who/", visitor).content == "ann", f"log-in {number}"
        finally:
            done.set()
            load.join()


def write_until(worker: Worker, done: threading.Event) -> None:
    """Write through ``worker`` without a pause, for two minutes at most."""
    end = time.monotonic() + 120
    while not done.is_set() and time.monotonic() < end:
        worker.post("/add/", data={"name": next(names)})

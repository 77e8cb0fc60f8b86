"""Celery, with real workers on a real broker: a task sees what its sender had written."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
import redis
from celery import chain
from celery.app.task import Context
from celery.result import AsyncResult
from django.db import OperationalError, connections, transaction

import galera_router.celery as queue_of
from galera_router import galera_atomic
from tests.integration.causality import queue
from tests.integration.causality.worker import pinned
from tests.integration.support import Shop
from tests.shop.models import Author

names = (f"c{number}" for number in itertools.count())
WAIT = 30  # seconds for an answer


@contextmanager
def process(*command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program for the time of the block; ended by its own id."""
    started = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """A Redis server on the loopback, which keeps nothing."""
    port = free_port()
    words = f"redis-server --bind 127.0.0.1 --port {port} --appendonly no --save".split()
    with process(*words, ""):
        client = redis.Redis(port=port)
        deadline = time.monotonic() + 15
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "no Redis"
                time.sleep(0.05)
        url = f"redis://127.0.0.1:{port}/0"
        queue.app.conf.update(broker_url=url, result_backend=url)
        yield url
        client.close()


@contextmanager
def worker(shop: Shop, url: str, name: str, node: str, *options: str) -> Iterator[None]:
    """A Celery worker that takes from the queue ``name`` and reads on ``node`` first."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.project.settings",
        "PROJECT_DATABASES": json.dumps(pinned(shop.galera, node)),
        "QUEUE_URL": url,
        "QUEUE_WORKER": "1",
    }
    command = [sys.executable, "-m", "celery", "-A", "tests.integration.causality.queue", "worker"]
    words = ["-Q", name, "-n", f"{name}@tests", "-l", "WARNING", "--without-gossip"]
    with process(*command, *words, *options, **environment):
        deadline = time.monotonic() + WAIT
        while not queue.app.control.inspect([f"{name}@tests"], timeout=0.3).ping():
            assert time.monotonic() < deadline, "no worker"
        yield


@pytest.fixture(params=["solo", "prefork", "threads"])
def workers(request: pytest.FixtureRequest, shop: Shop, broker: str) -> Iterator[Shop]:
    """The queue "one" is served on db2, "two" on db3."""
    pool = ["--pool", request.param, "--concurrency", "2"]
    with (
        worker(shop, broker, "one", "db2", *pool),
        worker(shop, broker, "two", "db3", *pool),
    ):
        yield shop


@contextmanager
def held(shop: Shop, node: str, seconds: float = 0.4) -> Iterator[None]:
    """Keep ``node`` from applying for ``seconds``."""
    shop.galera[node].hold_applier()
    timer = threading.Timer(seconds, shop.galera[node].release_applier)
    timer.start()
    yield
    timer.join()


def answer(result: AsyncResult[Any]) -> Any:
    return result.get(timeout=WAIT)


def test_a_task_sees_what_its_sender_has_written(workers: Shop) -> None:
    for number in range(6):
        with held(workers, "db3"):
            name = next(names)
            Author.objects.create(name=name)
            sent = queue.seen.apply_async([name], {"atomic": number % 2 == 1}, queue="two")
            assert answer(sent) is True
    with held(workers, "db3"), transaction.atomic():
        name = next(names)
        Author.objects.create(name=name)
        sent_later: list[Any] = []
        transaction.on_commit(
            lambda: sent_later.append(queue.seen.apply_async([name], queue="two"))
        )
    assert answer(sent_later[0]) is True

    # Without a token, or where the task does not care: the test can fail.
    with workers.galera["db3"].hold_applier():
        name = next(names)
        Author.objects.create(name=name)
        bare = queue.seen.apply_async([name], queue="two", headers={"galera_router": []})
        assert answer(bare) is False
        assert answer(queue.loose.apply_async([name], queue="two")) is False

    # From task to task, and nothing stays behind in a worker.
    with held(workers, "db3", 0.8):
        assert answer(AsyncResult(answer(queue.add.delay(next(names))), app=queue.app)) is True
    with held(workers, "db3", 0.8):
        name = next(names)
        Author.objects.create(name=name)
        assert answer(AsyncResult(answer(queue.pass_on.delay(name)), app=queue.app)) is True
    with pytest.raises(ZeroDivisionError):
        answer(queue.fail.apply_async(queue="two"))
    workers.session.new_request()
    for _ in range(4):
        assert answer(queue.needs.apply_async(queue="two")) == [0, ""]


def chained(name: str) -> AsyncResult[Any]:
    after = queue.seen.s().set(queue="two")
    return chain(queue.named.s(name), after).apply_async()


@pytest.mark.parametrize(
    "send",
    [
        lambda name: queue.retried.apply_async([name]),
        lambda name: queue.replaced.apply_async([name]),
        chained,
    ],
    ids=["retry", "replace", "chain"],
)
def test_what_a_task_is_followed_by_sees_its_writes(
    shop: Shop, broker: str, send: Callable[[str], AsyncResult[Any]]
) -> None:
    """Its own message had a token as well: of what had been written before."""
    solo = ["--pool", "solo"]
    with worker(shop, broker, "one", "db2", *solo), worker(shop, broker, "two", "db3", *solo):
        Author.objects.create(name=next(names))
        shop.settle()
        with held(shop, "db3", 1.0):
            assert answer(send(next(names))) is True


def test_a_task_that_was_sent_without_a_token_is_retried_without() -> None:
    request = Context({"id": "1", queue_of.HEADER: [], "delivery_info": {}})
    queue.needs.request_stack.push(request)
    try:
        queue_of._begin(queue.needs)
        assert request.headers == {queue_of.HEADER: []}
    finally:
        queue_of._end(queue.needs)
        queue.needs.request_stack.pop()


def test_an_eager_task_is_a_part_of_its_sender(shop: Shop) -> None:
    Author.objects.create(name="Ann")
    before = shop.session.following.writes_before
    with ExitStack() as stack:
        stack.callback(queue.app.conf.update, task_always_eager=False)
        queue.app.conf.task_always_eager = True
        assert queue.seen.delay("Ann").get() is True
    assert shop.session.following.writes_before == before
    assert shop.session.following.writes > before
    connections.close_all()


@pytest.mark.parametrize("later", [False, True])
def test_a_task_is_sent_once(shop: Shop, broker: str, later: bool) -> None:
    """What has sent one is not run again: ``on_commit`` is the place to do so."""
    runs: list[int] = []

    @galera_atomic
    def work() -> None:
        runs.append(1)
        send = partial(queue.seen.apply_async, ["nobody"], queue="unread")
        transaction.on_commit(send) if later else send()
        Author.objects.count()
        if len(runs) == 1:
            raise OperationalError(1213, "Deadlock found when trying to get lock")

    with nullcontext() if later else pytest.raises(OperationalError):
        work()
    with redis.Redis.from_url(broker) as client:
        sent = client.llen("unread")
        client.delete("unread")
    assert (len(runs), sent) == (1 + later, 1)

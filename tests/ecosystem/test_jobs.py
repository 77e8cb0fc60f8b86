"""RQ: a worker forks for each job, with connections open."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.db import connections
from rq import Queue
from rq.job import Job

from galera_router import causal_token
from tests.ecosystem import jobs
from tests.ecosystem.support import environment, run
from tests.integration.causality.test_celery import broker
from tests.integration.causality.worker import pinned
from tests.integration.support import Shop
from tests.shop.models import Author

__all__ = ["broker"]

COUNT = 12


@pytest.fixture
def queue(broker: str) -> Iterator[Queue]:
    with redis.from_url(broker) as connection:
        yield Queue("tests", connection=connection)


def work(shop: Shop, broker: str) -> str:
    """Have a worker do all that is queued; it reads on db2."""
    return run(environment(shop, pinned(shop.galera, "db2")), "tests.ecosystem.jobs", broker)


def results(queued: list[Job]) -> list[Any]:
    return [job.return_value(refresh=True) for job in queued]


def test_each_job_has_connections_of_its_own(shop: Shop, broker: str, queue: Queue) -> None:
    queued = [queue.enqueue(jobs.add, f"j{number}") for number in range(COUNT)]
    output = work(shop, broker)
    counts, numbers = zip(*results(queued), strict=True)
    assert list(counts) == list(range(1, COUNT + 1)), output
    assert len(set(numbers)) == COUNT, "each has its own"
    rows = shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author")
    assert rows == [(COUNT + 2,)], "the worker's own before and afterwards as well"


def test_a_job_sees_what_its_sender_has_written(shop: Shop, broker: str, queue: Queue) -> None:
    Author.objects.create(name="Ann")
    queued = queue.enqueue(jobs.seen, "Ann", causal_token())
    connections.close_all()
    shop.galera["db2"].hold_applier()
    Author.objects.create(name="Bea")
    waiting = queue.enqueue(jobs.seen, "Bea", causal_token())
    threading.Timer(3, shop.galera["db2"].release_applier).start()
    output = work(shop, broker)
    assert results([queued, waiting]) == [True, True], output

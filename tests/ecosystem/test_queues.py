"""Packages that keep a queue, a schedule or results in the database, with their own workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from django.conf import settings

from tests.ecosystem import queues
from tests.ecosystem.support import environment
from tests.faults.children import Child
from tests.integration.causality.test_celery import process
from tests.integration.support import Shop

COUNT = 60

Started = Callable[..., Child]


@pytest.fixture
def start(shop: Shop) -> Iterator[Started]:
    """``start("app")``: a process with the app and its tables; once more: another process."""
    with ExitStack() as stack:
        made: set[str] = set()

        def start(app: str, **words: Any) -> Child:
            child = Child(shop.galera.databases(), **project(app, **words))
            stack.enter_context(child)
            if app not in made:
                made.add(app)
                stack.callback(drop, shop, child.call(queues.make_tables, app))
                shop.settle()
            return child

        yield start


def drop(shop: Shop, tables: list[str]) -> None:
    names = ", ".join(f"galera_router.{table}" for table in tables)
    shop.galera.nodes[0].query(f"SET STATEMENT foreign_key_checks=0 FOR DROP TABLE {names}")


def project(app: str, **words: Any) -> dict[str, Any]:
    return {"INSTALLED_APPS": [*settings.INSTALLED_APPS, app], **words}


def keys(shop: Shop) -> dict[str, int]:
    """The authors that tasks have added, the same on all nodes."""
    return dict(shop.everywhere("SELECT name, id FROM galera_router.shop_author"))


def test_django_tasks_db(shop: Shop, start: Started) -> None:
    """Two workers lock what they take by ``atomic(using=queryset.db)``: each task is done once."""
    pytest.importorskip("django_tasks_db")
    backends = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
    first = start("django_tasks_db", TASKS=backends)
    second = start("django_tasks_db", TASKS=backends)
    first.call(queues.enqueue_tasks, COUNT)
    shop.settle()
    with ThreadPoolExecutor() as pool:
        working = [
            pool.submit(child.call, queues.work_on_tasks, name)
            for name, child in (("one", first), ("two", second))
        ]
        assert [future.exception() for future in working] == [None, None]
    shop.settle()
    ended = first.call(queues.ended_tasks)
    assert [status for status, _, _ in ended] == ["SUCCESSFUL"] * COUNT
    assert {len(workers) for _, workers, _ in ended} == {1}
    found = keys(shop)
    assert [key for _, _, key in ended] == [found[f"t{number}"] for number in range(COUNT)]
    assert len(found) == COUNT


def test_a_task_sees_what_its_sender_has_written(shop: Shop, start: Started) -> None:
    """On a secondary that lags: it waits there, or reads elsewhere."""
    pytest.importorskip("django_tasks_db")
    backends = {"default": {"BACKEND": "tests.ecosystem.backends.Database"}}
    sender = start("django_tasks_db", TASKS=backends)
    worker = start("django_tasks_db", TASKS=backends)
    for number in range(6):
        with shop.galera["db2"].hold_applier(), shop.galera["db3"].hold_applier():
            carried = sender.call(queues.write_and_enqueue, f"late {number}")
            assert list(carried) == ["galera_router_tokens"]
            worker.call(queues.work_on_tasks, "one")
    shop.settle()
    ended = sender.call(queues.ended_tasks)
    assert [(status, found) for status, _, (found, _) in ended] == [("SUCCESSFUL", "True")] * 6


def test_the_tokens_alone_make_a_task_see_it(shop: Shop, start: Started) -> None:
    """With a queue that is not in the database: the worker has written nothing itself."""
    pytest.importorskip("django_tasks_db")
    backends = {"default": {"BACKEND": "tests.ecosystem.backends.Database"}}
    sender = start("django_tasks_db", TASKS=backends)
    worker = start("django_tasks_db", TASKS=backends)
    worker.call(queues.run_carried, "nobody", {})  # it is connected
    found = {}
    for name in ("without", "with"):
        shop.settle()
        with shop.galera["db2"].hold_applier(), shop.galera["db3"].hold_applier():
            carried = sender.call(queues.write_and_enqueue, name)
            given = carried if name == "with" else {}
            found[name] = worker.call(queues.run_carried, name, given)
    assert found == {"without": ["False", {}], "with": ["True", {}]}


def test_a_task_that_runs_at_once_shares_its_senders_reads(shop: Shop, start: Started) -> None:
    pytest.importorskip("django_tasks_db")
    backends = {"default": {"BACKEND": "tests.ecosystem.backends.AtOnce"}}
    child = start("django_tasks_db", TASKS=backends)
    (found, _), kwargs = child.call(queues.found_at_once, "now")
    assert (found, kwargs) == ("True", {})


def test_django_q2(shop: Shop, start: Started) -> None:
    """Its cluster of processes, with a task that a schedule adds."""
    pytest.importorskip("django_q")
    cluster = {
        "name": "tests", "orm": "default", "workers": 2, "poll": 0.02, "guard_cycle": 0.1,
        "timeout": 20, "retry": 60, "bulk": 5, "save_limit": 2 * COUNT,
    }  # fmt: skip
    child = start("django_q", Q_CLUSTER=cluster)
    child.call(queues.enqueue_q, COUNT)
    shop.settle()
    given = environment(shop, **project("django_q", Q_CLUSTER=cluster))
    with process(sys.executable, "-m", "django", "qcluster", **given):
        ended = child.call(queues.ended_q, COUNT)
    assert ended == [True] * COUNT
    assert set(keys(shop)) == {f"q{number}" for number in range(COUNT)}


def test_django_apscheduler(shop: Shop, start: Started) -> None:
    """Each run of a job is in the database, in the package's books as well."""
    pytest.importorskip("django_apscheduler")
    child = start("django_apscheduler")
    runs, ended = child.call(queues.schedule, 4, COUNT)
    assert len(keys(shop)) == runs
    assert ended == {"Executed": runs}


def test_django_celery_results(shop: Shop, start: Started) -> None:
    """A chord counts its results in the database, under a lock."""
    pytest.importorskip("django_celery_results")
    child = start("django_celery_results")
    returned, total, ended = child.call(queues.run_celery, COUNT)
    found = keys(shop)
    assert returned == [found[f"c{number}"] for number in range(COUNT)]
    assert total == sum(returned)
    assert ended == {"SUCCESS": COUNT + 1}

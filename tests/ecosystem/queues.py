"""What queues of tasks in the database do: each function runs in a process that has the package."""

from __future__ import annotations

import importlib.util
import io
import threading
import time
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.db import connection

from tests.shop.models import Author

LIMIT = 20.0  # seconds for all tasks


def make_tables(app: str) -> list[str]:
    """As ``migrate`` does, without content types and permissions that would be left over."""
    (config,) = [config for config in apps.get_app_configs() if config.name == app]
    models = [model for model in config.get_models() if not model._meta.proxy]
    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)
    return [model._meta.db_table for model in models]


def add(name: str) -> int:
    """Add an author, seen at once; returns the key."""
    author = Author.objects.create(name=name)
    assert Author.objects.filter(name=name).exists()
    return author.pk


# --- django-tasks-db --------------------------------------------------------------------------


def _task() -> Any:
    """The decorator, Django's own since 6.0."""
    name = "django.tasks" if importlib.util.find_spec("django.tasks") else "django_tasks"
    return importlib.import_module(name).task


if apps.is_installed("django_tasks_db"):

    @_task()  # type: ignore[untyped-decorator]
    def add_task(name: str) -> int:
        return add(name)

    @_task()  # type: ignore[untyped-decorator]
    def seen_task(name: str) -> list[str]:
        """Whether there is an author of this name, and which node has said so."""
        from django.db import transaction

        from galera_router.transactions.sessions import session_of
        from tests.shop.models import Author

        with transaction.atomic():
            found = Author.objects.filter(name=name).exists()
            session = session_of("default")
            assert session is not None
            node = session.snapshot.node.name if session.snapshot else "the primary"
        return [str(found), node]


def write_and_enqueue(name: str) -> dict[str, Any]:
    """Add an author and queue a task that looks for it; returns what the queue holds."""
    from tests.shop.models import Author

    Author.objects.create(name=name)
    result = seen_task.enqueue(name)
    return dict(result.kwargs)


def run_carried(name: str, carried: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """As a worker with a queue elsewhere: what the task finds, and what it is given."""
    from types import SimpleNamespace

    from galera_router import tasks
    from tests.shop.models import Author

    arguments = dict(carried)
    result = SimpleNamespace(id=name, kwargs=arguments)
    tasks._begin(task_result=result)
    found = str(Author.objects.filter(name=name).exists())
    tasks._end(task_result=result)
    return found, arguments


def found_at_once(name: str) -> tuple[Any, dict[str, Any]]:
    """The same where the task runs at once; returns what it has returned, and its arguments."""
    from tests.shop.models import Author

    Author.objects.create(name=name)
    result = seen_task.enqueue(name)
    return result.return_value, dict(result.kwargs)


def enqueue_tasks(count: int) -> None:
    for number in range(count):
        add_task.enqueue(f"t{number}")


def work_on_tasks(worker: str) -> None:
    """The package's worker, until nothing is left to do."""
    output = io.StringIO()
    words = {"batch": True, "interval": 0, "startup_delay": False, "reload": False}
    call_command("db_worker", **words, worker_id=worker, verbosity=0, stdout=output)


def ended_tasks() -> list[tuple[str, list[str], int]]:
    """How each task ended, by which workers, and what it returned."""
    from django_tasks_db.models import DBTaskResult

    found = DBTaskResult.objects.order_by("enqueued_at")
    return [(str(t.status), t.worker_ids, t.return_value) for t in found]


# --- django-q2 --------------------------------------------------------------------------------


def enqueue_q(count: int) -> None:
    """Tasks, the last of them by a schedule; the cluster looks for those every 30 s only."""
    from django.utils import timezone
    from django_q.models import Schedule
    from django_q.scheduler import scheduler
    from django_q.tasks import async_task

    for number in range(count - 1):
        async_task(add, f"q{number}")
    Schedule.objects.create(
        func="tests.ecosystem.queues.add",
        args=f"'q{count - 1}'",
        schedule_type=Schedule.ONCE,
        next_run=timezone.now() - timedelta(seconds=1),
    )
    scheduler()


def ended_q(count: int) -> list[bool]:
    """Which tasks have succeeded, once ``count`` have ended; nothing is left in the queue."""
    from django_q.models import OrmQ, Schedule, Task

    deadline = time.monotonic() + LIMIT
    while (Task.objects.count(), OrmQ.objects.count()) != (count, 0):
        assert time.monotonic() < deadline, (Task.objects.count(), OrmQ.objects.count())
        time.sleep(0.1)
    assert not Schedule.objects.exists()
    return list(Task.objects.values_list("success", flat=True))


# --- django-apscheduler -----------------------------------------------------------------------

_runs: list[str] = []


def run_job(name: str) -> None:
    number = f"{name} {len(_runs)} {threading.get_ident()} {time.monotonic_ns()}"
    _runs.append(number)
    add(number)


def schedule(jobs: int, runs: int) -> tuple[int, dict[str, int]]:
    """Have ``jobs`` jobs run often, in threads, until there were ``runs`` in all.

    Returns how many there were, and how many the package knows of, by how they ended.
    """
    from apscheduler.executors.pool import ThreadPoolExecutor
    from apscheduler.schedulers.background import BackgroundScheduler
    from django.db.models import Count
    from django_apscheduler.jobstores import DjangoJobStore
    from django_apscheduler.models import DjangoJobExecution

    scheduler = BackgroundScheduler(executors={"default": ThreadPoolExecutor(3)})
    scheduler.add_jobstore(DjangoJobStore(), "default")
    for number in range(jobs):
        words: dict[str, Any] = {"args": [f"j{number}"], "id": f"j{number}", "coalesce": True}
        late = {"max_instances": runs, "misfire_grace_time": None}  # on a busy machine
        scheduler.add_job(run_job, "interval", seconds=0.2, **words, **late)
    scheduler.start()
    try:
        deadline = time.monotonic() + LIMIT
        while len(_runs) < runs:
            assert time.monotonic() < deadline, _runs
            time.sleep(0.05)
    finally:
        scheduler.pause()
        scheduler.shutdown(wait=True)
    ended = DjangoJobExecution.objects.values_list("status").annotate(Count("pk"))
    return len(_runs), dict(ended)


# --- django-celery-results --------------------------------------------------------------------


def total_of(numbers: list[int]) -> int:
    return sum(numbers)


def run_celery(count: int) -> tuple[list[int], int, dict[str, int]]:
    """A chord of ``count`` tasks on a worker in threads.

    Returns the keys that the tasks gave back, what the chord made of them, and how many results
    are kept, by how they ended.
    """
    from celery import Celery, chord
    from celery.contrib.testing.worker import start_worker
    from django.db.models import Count
    from django_celery_results.models import TaskResult

    app = Celery("tests", broker="memory://", backend="django-db")
    app.conf.update(result_chord_join_timeout=LIMIT, broker_connection_retry_on_startup=False)
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    added = app.task(add, name="add")
    summed = app.task(total_of, name="sum")
    with start_worker(app, pool="threads", concurrency=3, perform_ping_check=False):
        body = chord([added.s(f"c{number}") for number in range(count)])(summed.s())
        total = body.get(timeout=LIMIT)
        keys = [result.get(timeout=LIMIT) for result in body.parent.results]
    ended = dict(TaskResult.objects.values_list("status").annotate(Count("pk")))
    TaskResult.objects.delete_expired(timedelta(days=-1))
    assert not TaskResult.objects.exists()
    return keys, total, ended

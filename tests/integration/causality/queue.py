"""A Celery application of the tests, on whatever broker the environment names."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.project.settings")
if os.environ.get("QUEUE_WORKER"):
    django.setup()

from typing import Any

from celery import Celery
from django.db import transaction

from galera_router import causal_token, reads
from galera_router.causality import scope
from galera_router.celery import install
from galera_router.cluster import monitor

URL = os.environ.get("QUEUE_URL", "memory://")
if os.environ.get("QUEUE_WORKER"):
    monitor.ASK_WELL = float("inf")  # a node whose applier is held would be left alone

app = Celery("tests", broker=URL, backend=URL.replace("memory", "cache+memory"))
app.conf.task_default_queue = "one"
app.conf.broker_connection_retry_on_startup = True
install()
install()  # twice is harmless


@app.task(name="seen")  # type: ignore[untyped-decorator]
def seen(name: str, atomic: bool = False) -> bool:
    """Whether there is an author of this name."""
    from tests.shop.models import Author

    if atomic:
        with transaction.atomic():
            return Author.objects.filter(name=name).exists()
    return Author.objects.filter(name=name).exists()


@app.task(name="loose")  # type: ignore[untyped-decorator]
@reads("any")
def loose(name: str) -> bool:
    return bool(seen(name))


@app.task(name="pass_on")  # type: ignore[untyped-decorator]
def pass_on(name: str) -> str:
    """Queue a task from a task that has written nothing itself; returns its id."""
    return str(seen.apply_async([name], queue="two").id)


@app.task(name="add")  # type: ignore[untyped-decorator]
def add(name: str) -> str:
    """Write, and queue a task that looks for it on another worker; returns its id."""
    from tests.shop.models import Author

    Author.objects.create(name=name)
    return str(seen.apply_async([name], queue="two").id)


@app.task(name="retried", bind=True)  # type: ignore[untyped-decorator]
def retried(self: Any, name: str) -> bool:
    """Write, and fail; the second run, on another worker, looks for what the first has written."""
    from tests.shop.models import Author

    if self.request.retries:
        return bool(seen(name))
    Author.objects.create(name=name)
    raise self.retry(queue="two", countdown=0)


@app.task(name="replaced", bind=True)  # type: ignore[untyped-decorator]
def replaced(self: Any, name: str) -> None:
    """Write, and leave the rest to a task that looks for it on another worker."""
    from tests.shop.models import Author

    Author.objects.create(name=name)
    self.replace(seen.s(name).set(queue="two"))


@app.task(name="named")  # type: ignore[untyped-decorator]
def named(name: str) -> str:
    """Write; returns the name, for the task that comes after this one."""
    from tests.shop.models import Author

    return str(Author.objects.create(name=name).name)


@app.task(name="needs")  # type: ignore[untyped-decorator]
def needs() -> tuple[int, str]:
    """What holds in a task that was given nothing, after others that were."""
    return len(scope.needs("default")), causal_token()


@app.task(name="fail")  # type: ignore[untyped-decorator]
def fail() -> None:
    raise ZeroDivisionError

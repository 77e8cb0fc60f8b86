"""Locks: several clients at one row."""

from __future__ import annotations

import time

from django.db import OperationalError, transaction

from tests.chaos.bank import expect_equal
from tests.chaos.config import TICKETS
from tests.chaos.jobs import Client, Job, in_block, in_function, kind
from tests.chaos.models import Counter, Page, Sale, Task, Ticket
from tests.chaos.workloads import edit_page, increment

HOT = 2  # pages and counters that all go for
HOLDING = 0.004  # seconds
ON_SALE = 3  # tickets a second, one after another
NOT_NOW = {1205, 3572}  # the row is locked


@kind("nowait", 0.5)
def nowait(client: Client, token: str) -> Job:
    """A counter's lock at once or not at all; who has it holds it for a moment."""
    counter = client.shared(HOT)

    def body() -> dict[str, int]:
        try:
            with transaction.atomic():
                Counter.objects.select_for_update(nowait=True).get(pk=counter)
        except OperationalError as error:
            if error.args[0] not in NOT_NOW:
                raise
            return {}
        time.sleep(HOLDING)
        job.won.append(("change", token))
        return increment(counter, token)

    rows = [f"counter {counter}"]
    job = in_function([], body, may=[("change", token)], reads=rows, writes=rows)
    return job


@kind("skip locked", 0.5)
def skip_locked(client: Client, token: str) -> Job:
    """Put up a task, and take the first that nobody has taken or is about to take."""

    def body() -> dict[str, int]:
        keys = {f"task {token}": int(Task.objects.create(token=token).pk)}
        free = Task.objects.select_for_update(skip_locked=True).filter(taker="")
        if client.alone:
            free = free.filter(token__startswith=f"{token.rpartition('.')[0]}.")
        task = free.order_by("pk").first()
        if task is not None:
            task.taker = token
            task.save(update_fields=["taker"])
            job.won.append(("taken", token))
        return keys

    rows = [client.name("task")]
    job = in_function([("task", token)], body, may=[("taken", token)], reads=rows, writes=rows)
    return job


def _buy(job: Job, ticket: int, token: str) -> dict[str, int]:
    Ticket.objects.select_for_update().get(pk=ticket)
    if Sale.objects.filter(ticket=ticket).exists():
        return {}
    job.won.append(("sale", token))
    return {f"sale {token}": int(Sale.objects.create(ticket=ticket, token=token).pk)}


@kind("one ticket", 1.0)
def one_ticket(client: Client, token: str) -> Job:
    """Lock the ticket, which stays as it is; sell it if nobody has."""
    ticket = int(time.monotonic() * ON_SALE) % (TICKETS // 2) + 1
    if client.alone:
        ticket = TICKETS // 2 + client.own
    rows = [f"ticket {ticket}"]
    job = in_function([], lambda: _buy(job, ticket, token), may=[("sale", token)],
                      reads=rows, writes=rows)  # fmt: skip
    return job


# --- a plain block that reads, then writes what all want


@kind("hot edit in a block", 0.5, block=True, guarded=True)
def hot_edit_in_block(client: Client, token: str) -> Job:
    key = client.shared(HOT)
    rows = [f"page {key}"]
    return in_block([("change", token)], lambda: edit_page(Page.objects.get(pk=key), token),
                    reads=rows, writes=rows)  # fmt: skip


@kind("hot count in a block", 0.5, block=True)
def hot_count_in_block(client: Client, token: str) -> Job:
    """Read a counter, then add to it: what was read must still be so, or it is a conflict."""
    key = client.shared(HOT)

    def body() -> dict[str, int]:
        before = Counter.objects.get(pk=key).value
        keys = increment(key, token)
        after = Counter.objects.get(pk=key).value
        expect_equal(f"counter {key} has grown since it was read", after > before, True)
        return keys

    rows = [f"counter {key}"]
    return in_block([("change", token)], body, reads=rows, writes=rows)

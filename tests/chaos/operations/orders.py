"""What is easily overlooked: an order that has changed, and a request that has done something."""

from __future__ import annotations

from django.db.models import F

from tests.chaos import requests
from tests.chaos.bank import expect_equal
from tests.chaos.config import SHARED
from tests.chaos.jobs import Client, Job, in_function, kind
from tests.chaos.models import Counter, Page, Place
from tests.chaos.workloads import increment

PLACES = 5  # in a line
LINES = 8  # that all clients use; more would want their turn at one than get it


def lines(clients: int) -> list[Place]:
    """The lines as they are at first: those of all clients, and one for each of its own."""
    keys = [*range(1, LINES + 1), *range(SHARED + 1, SHARED + clients + 1)]
    return [Place(line=key, rank=rank) for key in keys for rank in range(PLACES)]


def _order(line: int) -> list[int]:
    return list(Place.objects.filter(line=line).order_by("rank").values_list("pk", flat=True))


def _change_places(line: int, token: str) -> dict[str, int]:
    """Send the first of a line to its end.

    Who stands in line is always the same, only the order is not. A page is the line's lock: it
    is changed by everybody who changes the order, so the guard against lost updates keeps that as
    it was seen. It is not read, which would tell as well that somebody has been there.
    """
    seen = _order(line)
    changed = Page.objects.filter(pk=line).update(version=F("version") + 1, last=token)
    expect_equal("pages updated", changed, 1)
    expect_equal(f"order of the line {line}", _order(line), seen)
    Place.objects.filter(line=line).update(rank=F("rank") - 1)
    Place.objects.filter(pk=seen[0]).update(rank=PLACES - 1)
    return {}


@kind("change places", 1.0, guarded=True)
def change_places(client: Client, token: str) -> Job:
    line = client.shared(LINES)
    rows = [f"page {line}", f"place {line}"]
    return in_function([("change", token)], lambda: _change_places(line, token),
                       reads=rows, writes=rows)  # fmt: skip


@kind("request with a visit", 1.0, block=True)
def request_with_a_visit(client: Client, token: str) -> Job:
    """A middleware has committed something before the view: it must not be run again.

    So a conflict may reach the application, as in a block.
    """
    key = client.shared(2)

    def body() -> None:
        assert Counter.objects.get(pk=key).value >= 0
        increment(key, token)

    def run() -> dict[str, int]:
        visits = requests.visit(body)
        expect_equal("visits of one request", visits, 1)
        return {}

    rows = [f"counter {key}"]
    return Job([("change", token)], run, runs=1, atomic=True, reads=rows, writes=rows)

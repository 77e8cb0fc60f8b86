"""Buyers of tickets, in processes of their own: every few moments another one is for sale, once."""

from __future__ import annotations

import random
import time
from pathlib import Path

from django.db import DatabaseError

from galera_router import galera_atomic
from galera_router.cluster import change, monitor
from galera_router.cluster import nodes as registry
from tests.shop.models import Room, Tag

#: Seconds for which a ticket is for sale. Its number is that of the moment, by the time of day.
SALE = 0.04
LONGEST = 3600.0  # seconds of buying


def be_quick() -> None:
    """Notice soon what happens to a node, and what a process alone meets."""
    registry.STARTED = 0.0
    monitor.ASK_WELL = monitor.ASK_ILL = 0.3
    change.CUT_OFF = 0.0


@galera_atomic
def buy(ticket: str, number: str) -> bool:
    """Buy under the lock of a row that is not changed; False if somebody has it."""
    Room.objects.select_for_update().get(name="office")
    if Tag.objects.filter(name__startswith=ticket).exists():
        return False
    Tag.objects.create(name=f"{ticket} {number}")
    return True


def buy_until(stop: str, number: str) -> tuple[list[str], list[str], list[str]]:
    """Buy until there is a file ``stop``.

    Returns the tickets that were bought, those that somebody else had, and the errors.
    """
    bought, lost, errors = list[str](), list[str](), list[str]()
    until = time.monotonic() + LONGEST
    while time.monotonic() < until and not Path(stop).exists():
        now = time.time()
        time.sleep(SALE - now % SALE + random.uniform(0.0, SALE / 4))
        ticket = f"t{time.time() // SALE:.0f}"
        try:
            (bought if buy(ticket, number) else lost).append(ticket)
        except DatabaseError as error:
            errors.append(f"{ticket}: {type(error).__name__}: {error}")
    return bought, lost, errors

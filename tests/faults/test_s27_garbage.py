"""The garbage collector closes a cursor of the application in the middle of a packet of ours."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from django.db import connection, transaction

from galera_router import reads
from tests.differential.interrupts import Interrupts
from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Author, Tag

# The iterator's cursor is closed in the middle of something else, and has nobody to tell of it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NAMES = ["Ann", "Bob", "Cid", "Dan", "Eve"]


class Collection(Interrupts):
    """Collects the garbage at one of the points, instead of raising there."""

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        try:
            super()._profile(frame, event, argument)
        except self.kind:
            gc.collect()


@contextmanager
def only_when_told() -> Iterator[None]:
    """Collect no garbage but at the points that are asked for, and none that is older."""
    gc.collect()
    gc.disable()
    gc.freeze()  # what is there now need not be looked at each time
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


def leave_half_read() -> None:
    """Begin to read, and leave the rest in a reference cycle, for the collector to find."""
    rows = Author.objects.order_by("name").iterator(chunk_size=1)
    assert next(rows).name == NAMES[0]
    cycle: list[Any] = [rows]
    cycle.append(cycle)


def leave_results() -> None:
    """Have a procedure answered, and leave its second result in a reference cycle."""

    def results() -> Iterator[Any]:
        with connection.cursor() as cursor:
            cursor.execute("CALL two_results()")
            yield cursor.fetchall()

    found = results()
    next(found)
    cycle: list[Any] = [found]
    cycle.append(cycle)


def wrong(
    read: Callable[[], list[str]],
    before: Callable[[], Any] = lambda: None,
    leave: Callable[[], None] = leave_half_read,
) -> dict[int, Any]:
    """What was read otherwise than it is, by the point at which garbage was collected."""
    Author.objects.bulk_create([Author(name=name) for name in NAMES])

    def found(collection: Collection) -> list[str]:
        leave()
        before()
        with collection:
            return read()

    with only_when_told():
        counted = Collection()
        assert found(counted) == NAMES
        points = range(1, counted.count + 1)
        told = {point: found(Collection(point)) for point in points}
    return {point: names for point, names in told.items() if names != NAMES}


def names() -> list[str]:
    return list(Author.objects.order_by("name").values_list("name", flat=True))


def names_by_a_cursor(lock: str = "") -> list[str]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT name FROM shop_author ORDER BY name" + lock)
        return [name for (name,) in cursor.fetchall()]


@both()
def test_the_first_read_of_a_block(shop: EitherShop) -> None:
    """BEGIN and the read are one packet: what is left of it is taken for the cursor's own."""
    assert wrong(names_by_a_cursor) == {}


@both()
def test_a_read(shop: EitherShop) -> None:
    assert wrong(names) == {}


@both()
def test_a_read_that_waits_for_an_own_write(shop: EitherShop) -> None:
    """The wait and the read are one packet."""
    assert wrong(names, before=lambda: Tag.objects.create(name="new")) == {}


@both()
def test_the_first_read_on_the_primary(shop: EitherShop) -> None:
    with reads("primary"):
        assert wrong(lambda: names_by_a_cursor(" FOR UPDATE")) == {}


@both(stock=False)
def test_a_packet_behind_a_procedure(shop: EitherShop) -> None:
    """With stock Django the statements would be out of sync: it has one connection to read from."""
    node, name = shop.galera["db1"], f"{shop.galera.database}.two_results"
    node.query(f"CREATE PROCEDURE {name}() BEGIN SELECT 1; SELECT 2; END")
    try:
        with reads("primary"):
            read = lambda: names_by_a_cursor(" FOR UPDATE")  # noqa: E731
            assert wrong(read, leave=leave_results) == {}
    finally:
        node.query(f"DROP PROCEDURE {name}")

"""What is left on a connection is let go of, and nobody asks twice."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest
from django.db import connection, transaction
from MySQLdb.cursors import Cursor

from tests.integration.support import Shop
from tests.shop.models import Author

TWO = "SELECT 1; SELECT 2"


def names() -> list[str]:
    return list(Author.objects.order_by("name").values_list("name", flat=True))


def own_cursor() -> Any:
    """One of the driver's, past the door."""
    connection.ensure_connection()
    return connection.connection.cursor(lambda driver: Cursor(driver))


@pytest.mark.parametrize("writes_between", [False, True])
def test_what_a_cursor_of_the_driver_has_left(shop: Shop, writes_between: bool) -> None:
    """It is the application's: whatever it does is on no account of ours."""
    cursor = own_cursor()
    for name in ("a", "b", "c"):
        if writes_between:
            Author.objects.create(name=name)
        cursor.execute(TWO)  # the second answer stays on the connection
        with transaction.atomic():
            Author.objects.create(name=name + "2")
            cursor.execute(TWO)
    cursor.close()
    assert names() == (["a", "a2", "b", "b2", "c", "c2"] if writes_between else ["a2", "b2", "c2"])


def test_what_a_cursor_of_the_cluster_has_left(shop: Shop) -> None:
    with transaction.atomic():
        Author.objects.create(name="a")
        cursor = connection.connection.cursor()
        cursor.execute(TWO)
        Author.objects.create(name="b")
    assert names() == ["a", "b"]


def test_what_a_read_on_the_fast_lane_has_left(shop: Shop) -> None:
    with transaction.atomic():
        Author.objects.create(name="a")
        for _ in range(3):
            with connection.cursor() as cursor:
                cursor.execute(TWO)
                assert cursor.fetchall() == ((1,),)
        Author.objects.create(name="b")
    assert names() == ["a", "b"]


def asked(work: Any) -> Counter[str]:
    """How often the driver is asked for further answers, and for what it waits, in ``work``."""
    calls: Counter[str] = Counter()

    def profile(frame: Any, event: str, argument: Any) -> None:
        if event == "c_call":
            calls[argument.__name__] += 1

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_a_commit_behind_a_write_asks_for_no_answer_that_is_not_there(shop: Shop) -> None:
    """Each such question gives the interpreter to another thread, and the row stays locked."""
    Author.objects.create(name="warm")
    with transaction.atomic():
        Author.objects.update(name="a")
        calls = asked(connection.connection.commit)
    assert calls["next_result"] == 0
    assert calls["query"] == 1

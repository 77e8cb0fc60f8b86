"""A request whose threads write: no marker of one of them stands for all."""

from __future__ import annotations

import contextvars
import sys
import threading

import pytest
from django.db import connection, transaction

from galera_router import causal_token
from galera_router.causality import scope, tokens
from galera_router.cluster.position import Mark, Position
from galera_router.exceptions import NotCommitted
from tests.faults.server import routines_of
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author

NOTED = 50_000


def place_of_token() -> Position | Mark:
    loaded = tokens.load(causal_token(), None)
    assert loaded is not None
    return loaded[1]


def write_in_another_thread(name: str = "Bea") -> None:
    context = contextvars.copy_context()
    elsewhere(lambda: context.run(Author.objects.create, name=name))


@pytest.mark.parametrize("last", ["own", "other"])
def test_a_token_of_two_threads_is_no_marker(shop: Shop, last: str) -> None:
    with scope.needing({}, request=True):
        if last == "own":
            write_in_another_thread()
        Author.objects.create(name="Ann")
        if last == "other":
            assert isinstance(place_of_token(), Mark)
            write_in_another_thread()
        assert isinstance(place_of_token(), Position)


def test_the_next_request_is_not_concerned(shop: Shop) -> None:
    with scope.needing({}, request=True):
        Author.objects.create(name="Ann")
        write_in_another_thread()
        assert isinstance(place_of_token(), Position)
    with scope.needing({}, request=True):
        shop.session.new_request()
        Author.objects.create(name="Cleo")
        assert isinstance(place_of_token(), Mark)


def test_nor_is_what_follows_outside_of_requests(shop: Shop) -> None:
    with scope.needing({}, request=True):
        Author.objects.create(name="Ann")
        write_in_another_thread()
        assert isinstance(place_of_token(), Position)
    Author.objects.create(name="Cleo")
    assert isinstance(place_of_token(), Mark)


def test_a_write_without_a_marker_behind_one_with(shop: Shop) -> None:
    with scope.needing({}, request=True):
        Author.objects.create(name="Ann")
        shop.session.options.commit_marker = False  # type: ignore[misc]
        Author.objects.create(name="Bea")
        assert isinstance(place_of_token(), Position)


def test_two_threads_note_their_writes_at_once(shop: Shop) -> None:
    """Each write is counted, or the token would be of one of them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with scope.needing({}, request=True):
            context = contextvars.copy_context()
            noting = [threading.Thread(target=context.copy().run, args=(note,)) for _ in range(2)]
            for thread in noting:
                thread.start()
            for thread in noting:
                thread.join()
            assert scope.writes("default") == 2 * NOTED
    finally:
        sys.setswitchinterval(before)


def note() -> None:
    for _ in range(NOTED):
        scope.count_write(scope.current().writes, "default")


def test_equal_counts_of_two_requests_are_not_one_write(shop: Shop) -> None:
    """The thread has written nothing itself; what it asked for the first was kept."""
    Author.objects.create(name="own")
    found = []
    for name in ("Bea", "Cleo"):
        shop.session.new_request()
        with scope.needing({}, request=True):
            write_in_another_thread(name)
            found.append(place_of_token())
    assert found[1].seqno > found[0].seqno


def test_what_a_procedure_has_begun_is_in_no_token_yet(shop: Shop) -> None:
    """It has committed, begun again and written: that is not committed."""
    with routines_of(shop.galera["db1"]), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("CALL shop_restart('one', 'two')")
        Author.objects.count()  # the server is asked what the procedure has left
        with pytest.raises(NotCommitted):
            causal_token()

"""Forks are survived; every thread has its own lazy connection."""

from __future__ import annotations

import os

from django.db import connection, transaction

from galera_router.transactions import install as adoption
from tests.integration.support import Shop, elsewhere
from tests.shop.models import Author


def server_thread(shop: Shop) -> int:
    """The server's number of the connection to the primary; keeps no reference to it."""
    assert shop.session.primary is not None
    return int(shop.session.primary.connection.thread_id())


def test_parent_and_child_go_on_with_connections_of_their_own(shop: Shop) -> None:
    shop.stock()
    assert Author.objects.count() == 1
    Author.objects.create(name="before the fork")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with transaction.atomic():
                Author.objects.count()
                Author.objects.create(name="child")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    Author.objects.create(name="parent")
    with transaction.atomic():
        assert Author.objects.count() == 4


def test_a_transaction_of_the_parent_survives_the_fork(shop: Shop) -> None:
    with transaction.atomic():
        Author.objects.create(name="one")
        before = server_thread(shop)
        child = os.fork()
        if child == 0:
            adoption._inherited.clear()  # as at the interpreter's end: the driver says goodbye
            os._exit(0)
        os.waitpid(child, 0)
        Author.objects.create(name="two")
        assert server_thread(shop) == before, "the child must not have ended the connection"
    assert shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_author") == [(2,)]


def test_an_atomic_block_in_a_new_thread_is_lazy(shop: Shop) -> None:
    shop.stock()
    shop.configure()

    def read() -> int:
        with transaction.atomic():
            return Author.objects.count()

    with shop.traffic() as sent:
        assert elsewhere(read) == 1
    assert sent["db1"] == []


def test_a_connection_is_not_shared_between_threads(shop: Shop) -> None:
    Author.objects.create(name="x")
    mine = shop.session.primary
    theirs = elsewhere(lambda: (Author.objects.create(name="y"), shop.session.primary)[1])
    assert mine is not theirs
    assert connection.connection is not None

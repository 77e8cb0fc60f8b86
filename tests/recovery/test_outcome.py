"""A COMMIT whose answer was lost: the time that statements are allowed is not for our waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

from django.db import transaction

from galera_router.testing import GaleraNode
from galera_router.testing.admin import open_connection
from tests.integration.support import Shop
from tests.shop.models import Tag

#: Seconds that the application allows a statement, and until the new primary can go on.
ALLOWED, HELD = 0.2, 1.0
LIMIT = {"init_command": f"SET SESSION max_statement_time = {ALLOWED}"}


def lose_commit(shop: Shop, release: Callable[[], object]) -> None:
    """Lose a COMMIT and its node; another thread has come to the next one before.

    So nobody has waited until that has caught up. ``release`` is called after a while.
    """
    timer = threading.Timer(HELD, release)
    with shop.proxied(OPTIONS=LIMIT) as proxies:
        with transaction.atomic():
            Tag.objects.create(name="one")
            rule = proxies["db1"].drop(r"\ACOMMIT\Z", cut=True)
            proxies["db1"].refuse()
            cluster = shop.session.cluster
            cluster.acting = cluster.nodes[1]
            timer.start()
        timer.join()
    assert rule.fired
    assert shop.everywhere("SELECT name FROM galera_router.shop_tag") == [("one",)]


def hold_behind_a_lock(first: GaleraNode, second: GaleraNode) -> None:
    """What the first node writes from here on, the second applies only when the lock has gone."""
    first.query("INSERT INTO galera_router.shop_author (name) VALUES ('Ann')")
    waiting = "SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table %'"
    while not second.query(waiting):
        threading.Event().wait(0.01)


def test_a_new_primary_has_to_apply_the_marker_first(shop: Shop) -> None:
    """Its row is not there yet, and is waited for."""
    first, second = shop.galera.nodes[:2]
    with closing(open_connection(second.socket)) as holder:
        holder.query("LOCK TABLES galera_router.shop_author READ")
        hold_behind_a_lock(first, second)
        number = holder.thread_id()
        lose_commit(shop, lambda: second.query("KILL CONNECTION %s", [number]))


def test_a_new_primary_lets_nobody_lock_the_marker(shop: Shop) -> None:
    """Its row is locked, to be looked at, when that is possible."""
    second = shop.galera.nodes[1]
    second.hold_applier()
    lose_commit(shop, second.release_applier)

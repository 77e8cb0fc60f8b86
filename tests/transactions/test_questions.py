"""The connection is lost while its server is asked what an error has left of the transaction."""

from __future__ import annotations

import threading
from contextlib import closing, suppress

import pytest
from django.db import OperationalError, connection, transaction

from galera_router.cluster import nodes as registry
from galera_router.exceptions import CommitOutcomeUnknown, FailoverImpossible
from galera_router.testing import GaleraNode, Proxy, Rule
from galera_router.testing.admin import open_connection
from tests.integration.support import Shop
from tests.shop.models import Author, Tag

QUESTION = r"\ASELECT @@in_transaction\Z"
LOCK = "SELECT * FROM galera_router.shop_author FOR UPDATE"
SEEN = "SELECT name FROM galera_router.shop_tag"


def lose_question(proxies: dict[str, Proxy], shop: Shop) -> Rule:
    return proxies[shop.writing.name].drop(QUESTION, cut=True)


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def release(rule: Rule, node: GaleraNode, holder: int) -> None:
    """Once the question has been asked, end the connection that holds the lock."""
    assert rule.wait(30)
    node.query("KILL CONNECTION %s", [holder])


def test_behind_an_error_of_the_statement(shop: Shop) -> None:
    """The transaction is begun again, and the statement fails as it did before."""
    with shop.proxied() as proxies, transaction.atomic():
        Tag.objects.create(name="one")
        rule = lose_question(proxies, shop)
        with pytest.raises(OperationalError, match="1054"):
            execute("UPDATE shop_author SET no_such_column = 1")
        Tag.objects.create(name="two")
    assert rule.fired
    assert shop.everywhere(SEEN) == [("one",), ("two",)]


def test_behind_a_lock_that_was_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction is begun again, and waits for the lock once more."""
    monkeypatch.setattr(registry, "STARTED", 0.0)  # it stays where the lock is
    shop.stock()
    limit = {"init_command": "SET SESSION innodb_lock_wait_timeout = 1"}
    with shop.proxied(OPTIONS=limit) as proxies, transaction.atomic():
        Tag.objects.create(name="one")
        rule = lose_question(proxies, shop)
        node = shop.writing
        with closing(open_connection(node.socket)) as holder:
            holder.query("START TRANSACTION")
            holder.query(LOCK)
            released = threading.Thread(target=release, args=(rule, node, holder.thread_id()))
            released.start()
            Author.objects.update(name="Bob")
            released.join()
    assert rule.fired
    assert shop.everywhere("SELECT name FROM galera_router.shop_author") == [("Bob",)]
    assert shop.everywhere(SEEN) == [("one",)]


def test_behind_ddl_that_has_failed(shop: Shop) -> None:
    """Its error is told; that the connection was lost is told by the next statement."""
    lost = (FailoverImpossible, CommitOutcomeUnknown)
    with shop.proxied() as proxies, suppress(*lost), transaction.atomic():
        Tag.objects.create(name="one")
        rule = lose_question(proxies, shop)
        with pytest.raises(OperationalError, match="1051"):
            execute("DROP TABLE no_such_table")
        with pytest.raises(lost):
            Tag.objects.count()
    assert rule.fired
    assert shop.everywhere(SEEN) == [("one",)]

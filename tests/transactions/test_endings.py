"""The end of a snapshot is sent, and its answer taken when its connection is next used."""

from __future__ import annotations

import pytest
from django.db import connections, transaction

from galera_router.connections.connection import NodeConnection
from tests.integration.support import Shop
from tests.shop.models import Author, Book


@pytest.fixture
def ended(shop: Shop) -> Shop:
    """A thread whose last transaction has read."""
    shop.warm()
    Author.objects.create(name="Ann")
    shop.settle()
    shop.forget()
    with transaction.atomic():
        assert Author.objects.count() == 1
    return shop


def links(shop: Shop) -> list[NodeConnection]:
    """The connection on which the last snapshot was."""
    aliases = [shop.session.reader.alias(node) for node in shop.session.cluster.nodes]
    return [alias.link for alias in aliases if alias.link is not None and alias.link.outstanding]


def test_nobody_waits_for_it(ended: Shop) -> None:
    assert len(links(ended)) == 1
    with ended.traffic() as sent, transaction.atomic():
        Author.objects.count()
    assert sum(statements.count("Query COMMIT") for statements in sent.values()) == 1


@pytest.mark.parametrize("use", ["block", "read", "alias", "ping", "close"])
def test_its_answer_is_not_taken_for_that_of_what_is_next(ended: Shop, use: str) -> None:
    (link,) = links(ended)
    other = connections[link.node.alias]
    if use == "block":
        with transaction.atomic():
            assert Author.objects.get().name == "Ann"
            assert Book.objects.count() == 0
    elif use == "read":
        assert Author.objects.get().name == "Ann"
    elif use == "alias":
        with other.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == ((1,),)
    elif use == "ping":
        assert other.is_usable()
    else:
        other.close()
    assert Author.objects.using(link.node.alias).get().name == "Ann"
    assert not link.outstanding or use == "close"


def test_a_node_that_dies_before_it_answers_is_noticed(ended: Shop) -> None:
    (link,) = links(ended)
    ended.galera[link.node.name].kill()
    for _ in range(4):
        with transaction.atomic():
            assert Author.objects.get().name == "Ann"


def test_a_node_that_is_frozen_before_it_answers_is_given_up(ended: Shop) -> None:
    node = ended.galera[links(ended)[0].node.name]
    node.freeze()
    try:
        for _ in range(4):
            with transaction.atomic():
                assert Author.objects.get().name == "Ann"
    finally:
        node.thaw()

"""A token of a point that the cluster never comes to: each request waits for it, in vain.

So it is with a cluster that was begun again from an older node: its history goes on, but from an
earlier point than the one that clients have tokens of.
"""

from __future__ import annotations

import time
from contextlib import nullcontext

import pytest
from django.db import transaction

from galera_router import after
from galera_router.causality.tokens import dump
from galera_router.cluster.position import Position
from galera_router.testing import GaleraNode
from tests.faults.known import both
from tests.faults.support import EitherShop
from tests.shop.models import Author

WAIT, SOON = 1.0, 0.4
#: Seconds after which a node that has not caught up is waited for again.
REST = 2.2


def _future(node: GaleraNode, steps: int = 10**6) -> str:
    """A token of the same cluster, of a transaction that there is not."""
    status = node.status()
    seqno = int(status["wsrep_last_committed"]) + steps
    return dump("default", Position(status["wsrep_cluster_state_uuid"], seqno))


def _seconds(shop: EitherShop, token: str, *, inside: bool = False) -> float:
    """How long a request takes that brings ``token``."""
    shop.forget()
    began = time.monotonic()
    with after(token), transaction.atomic() if inside else nullcontext():
        assert Author.objects.count() == 1
    return time.monotonic() - began


@pytest.fixture
def waiting(shop: EitherShop) -> EitherShop:
    shop.stock()
    shop.configure(OPTIONS={"wsrep_sync_timeout": WAIT})
    shop.warm()
    return shop


@both(stock=False)
def test_only_the_first_request_waits(waiting: EitherShop) -> None:
    token = _future(waiting.galera["db1"])
    _seconds(waiting, token)
    time.sleep(REST)
    assert _seconds(waiting, token) < SOON


@both(stock=False)
def test_in_a_transaction(waiting: EitherShop) -> None:
    token = _future(waiting.galera["db1"])
    _seconds(waiting, token, inside=True)
    time.sleep(REST)
    assert _seconds(waiting, token, inside=True) < SOON


@both(stock=False)
def test_another_token_of_the_future(waiting: EitherShop) -> None:
    """Each client has one of its own."""
    node = waiting.galera["db1"]
    _seconds(waiting, _future(node))
    time.sleep(REST)
    assert _seconds(waiting, _future(node, 10**6 + 1)) < SOON

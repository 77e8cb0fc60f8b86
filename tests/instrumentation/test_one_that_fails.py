"""An instrumentation that raises keeps no other one from being told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from galera_router import instrumentation
from galera_router.cluster.nodes import Cluster
from galera_router.events import Event
from tests.instrumentation.support import installed
from tests.integration.support import Shop
from tests.shop.models import Author


class Good:
    def __init__(self) -> None:
        self.told: set[str] = set()

    def event(self, event: Event) -> None: ...

    def counts(self, totals: Mapping[tuple[str, str, bool], int]) -> None:
        self.told.add("counts")

    def nodes(self, clusters: Sequence[Cluster]) -> None:
        self.told.add("nodes")

    def statement(self, cluster: str, node: str, reads: bool) -> None:
        self.told.add("statement")


class Bad(Good):
    def counts(self, totals: Mapping[tuple[str, str, bool], int]) -> None:
        raise ZeroDivisionError

    def statement(self, cluster: str, node: str, reads: bool) -> None:
        raise ZeroDivisionError


def test_the_others_are_told(shop: Shop) -> None:
    good = Good()
    with installed(Bad(), good):
        Author.objects.create(name="Ann")
        instrumentation.refresh()
    assert good.told == {"counts", "nodes", "statement"}


def test_the_view_of_the_metrics_answers(shop: Shop) -> None:
    """It begins with the same look."""
    with installed(Bad()):
        instrumentation.refresh()

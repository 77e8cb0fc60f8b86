"""A connection that is cut inside of the answers to a replay: that is a loss like any other."""

from __future__ import annotations

from django.db import transaction

from galera_router.testing import Rule
from tests.integration.support import OPTIMISTIC, Shop
from tests.shop.models import Author, Tag

LONGEST = 2000  # bytes of an answer, at most


def promote(name: str) -> None:
    """Read on a secondary, then write: the reads are made again on the primary, in one packet."""
    with transaction.atomic():
        assert Author.objects.get().name == "Ann"
        assert Tag.objects.count() >= 0
        assert list(Author.objects.values_list("name", flat=True)) == ["Ann"]
        Tag.objects.create(name=name)


def test_at_each_byte_of_its_answers(shop: Shop) -> None:
    with shop.proxied(OPTIONS=OPTIMISTIC) as proxies:
        shop.stock()
        promote("warm")
        count, rules = 0, list[Rule]()
        while not rules or rules[-1].fired:
            assert count < LONGEST
            rule = proxies["db1"].cut_at_byte(count, toward="client", pattern="SELECT.*shop_author")
            promote(f"t{count}")
            rule.cancel()
            rules.append(rule)
            count += 5
        assert len(rules) > 20
    (found,) = shop.everywhere("SELECT COUNT(*) FROM galera_router.shop_tag")
    assert found == (len(rules) + 1,)

"""Baskets: each is one client's, with labels (many to many) and items that go with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.chaos.bank import expect_equal
from tests.chaos.config import LABELS
from tests.chaos.jobs import Basket, Client, Job, Rows, in_block, in_function, kind
from tests.chaos.models import Basket as Row
from tests.chaos.models import Item

Link: Any = Row.labels.through
Plan = Callable[[Client, Basket], "Change"]


class Change:
    """What is about to be done to the labels of one basket.

    Args:
        added, removed: labels.
        verb: of the related manager: ``add``, ``set`` or ``remove``.
    """

    def __init__(self, basket: Basket, verb: str, added: set[int], removed: set[int]) -> None:
        self.basket = basket
        self.verb = verb
        self.added, self.removed = added, removed
        self.left = basket.labels - removed | added

    def body(self) -> dict[str, int]:
        """Do it, and look."""
        labels = Row.objects.get(token=self.basket.token).labels
        if self.verb == "set":
            labels.set(sorted(self.left))
        else:
            getattr(labels, self.verb)(*sorted(self.added or self.removed))
        seen = set(labels.values_list("pk", flat=True))
        expect_equal(f"labels of {self.basket.token}", seen, self.left)
        return {}

    def told(self) -> None:
        """It has been done."""
        self.basket.labels = self.left
        self.basket.used = self.basket.used | self.added


def _add(client: Client, basket: Basket) -> Change:
    return Change(basket, "add", _fresh(client, basket), set())


def _set(client: Client, basket: Basket) -> Change:
    return Change(basket, "set", _fresh(client, basket), _some(client, basket))


def _remove(client: Client, basket: Basket) -> Change:
    return Change(basket, "remove", set(), _some(client, basket))


def _fresh(client: Client, basket: Basket) -> set[int]:
    """Labels that have never been in it, so that each link is found once only."""
    return set(client.rng.sample(sorted(set(range(1, LABELS + 1)) - basket.used), 2))


def _some(client: Client, basket: Basket) -> set[int]:
    return set(client.rng.sample(sorted(basket.labels), min(2, len(basket.labels))))


def _change(
    client: Client, token: str, make: Callable[..., Job], plan: Plan, *, filled: bool
) -> Job:
    """A change of the labels of a basket of this client; a new basket where none will do."""
    fit = [one for one in client.baskets if len(one.used) < LABELS // 2]
    fit = [one for one in fit if one.labels or not filled]
    if not fit:
        return basket(client, token)
    chosen = client.rng.choice(fit)
    change = plan(client, chosen)
    job = make(chosen.links(change.added), change.body, removes=chosen.links(change.removed))
    return _mine(job, client, chosen, change.told)


def _mine(job: Job, client: Client, chosen: Basket, told: Callable[[], None]) -> Job:
    """``job`` works on ``chosen``, which is let go unless it is known what has become of it."""
    client.baskets.remove(chosen)
    job.reads = job.writes = [f"basket {chosen.token}"]

    def after(done: bool) -> None:
        client.baskets.append(chosen)
        if done:
            told()

    job.after = after
    return job


@kind("basket", 1.0)
def basket(client: Client, token: str) -> Job:
    """A basket with two or three items and two links, each row inserted by itself."""
    new = Basket(token)
    labels = _fresh(client, new)
    items = [f"{token}/{n}" for n in range(client.rng.randint(2, 3))]

    def body() -> dict[str, int]:
        row = Row.objects.create(token=token)
        keys = {f"basket {token}": int(row.pk)}
        for item in items:
            keys[f"item {item}"] = int(Item.objects.create(token=item, basket=row).pk)
        for label in sorted(labels):
            Link.objects.create(basket=row, label_id=label)
        expect_equal("items of a new basket", Item.objects.filter(basket=row).count(), len(items))
        return keys

    def after(done: bool) -> None:
        if done:
            client.baskets.append(Basket(token, labels, labels, items))

    rows: Rows = [("basket", token), *(("item", item) for item in items), *new.links(labels)]
    return in_function(rows, body, after=after)


@kind("delete with children", 0.5)
def delete_basket(client: Client, token: str) -> Job:
    """A basket with its items and links; another is made where there is none."""
    if not client.baskets:
        return basket(client, token)
    chosen = client.rng.choice(client.baskets)
    rows: Rows = [("basket", chosen.token), *(("item", item) for item in chosen.items)]
    rows += chosen.links(chosen.labels)

    def body() -> dict[str, int]:
        deleted, _ = Row.objects.get(token=chosen.token).delete()
        expect_equal(f"rows deleted with {chosen.token}", deleted, len(rows))
        return {}

    job = _mine(in_function([], body, removes=rows), client, chosen, lambda: None)
    after = job.after

    def gone(done: bool) -> None:
        after(done)
        if done:
            client.baskets.remove(chosen)

    job.after = gone
    return job


@kind("m2m add", 0.5)
def m2m_add(client: Client, token: str) -> Job:
    return _change(client, token, in_function, _add, filled=False)


@kind("m2m add in a block", 0.5, block=True)
def m2m_add_in_block(client: Client, token: str) -> Job:
    return _change(client, token, in_block, _add, filled=False)


@kind("m2m set", 0.5)
def m2m_set(client: Client, token: str) -> Job:
    return _change(client, token, in_function, _set, filled=True)


@kind("m2m remove", 0.5)
def m2m_remove(client: Client, token: str) -> Job:
    return _change(client, token, in_function, _remove, filled=True)

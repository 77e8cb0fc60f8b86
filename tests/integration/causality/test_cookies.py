"""Cookies of one client whose responses cross: none of them is lost, and they do not pile up."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from galera_router.causality import tokens
from galera_router.causality.after import includes
from galera_router.causality.carriers import MANY, Brought, carrier
from galera_router.cluster.position import EVERYTHING, Position
from tests.faults.nodes import stalled
from tests.integration.causality.support import Browser, write
from tests.integration.support import Shop

HERE = Position("d6344a14-e7f7-11f1-8047-02fc00000001", 4711, "d6344a14-e7f7")
LATER = Position(HERE.cluster_id, 4712, "d6344a14-e7f7")
ELSEWHERE = Position("d6344a14-e7f7-11f1-8047-02fc00000002", 1, "d6344a14-e7f7")


def test_one_after_the_other_leaves_one(warm: Shop) -> None:
    browser = Browser()
    for name in ("Bea", "Cleo", "Dan"):
        browser.add(name)
        assert len(browser.cookies) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_crossing_responses_are_all_included(warm: Shop, order: tuple[int, ...]) -> None:
    browser = Browser()
    browser.add("Bea")
    warm.settle()
    with stalled(warm.galera["db2"], "shop_author"):
        responses = [browser.ask("/add/", {"name": name}) for name in ("Cleo", "Dan", "Eve")]
        for number in order:
            browser.take(responses[number])
        assert browser.get("/read/") == "Ann,Bea,Cleo,Dan,Eve"
    assert len(browser.cookies) == 3
    browser.add("Fay")
    assert len(browser.cookies) == 1, "the next one includes them"


def test_what_is_taken_back_is_included_in_what_is_set(warm: Shop) -> None:
    """Whatever crosses with the response."""
    browser = Browser()
    browser.add("Bea")
    ((_, before),) = browser.cookies.items()
    response = browser.ask("/add/", {"name": "Cleo"})
    kept = [m.value for m in response.cookies.values() if m["max-age"] != 0]
    assert len(response.cookies) == 2
    assert includes(kept[0], before, None)


def test_many_of_them_become_one_without_a_write(warm: Shop) -> None:
    browser = Browser()
    responses = [browser.ask("/add/", {"name": f"n{n}"}) for n in range(MANY + 1)]
    for response in responses:
        browser.take(response)
    assert len(browser.cookies) == MANY + 1
    browser.get("/nothing/")
    assert len(browser.cookies) == 1
    assert browser.get("/read/") == "Ann,n0,n1,n2,n3,n4"


def test_a_header_may_have_several(warm: Shop) -> None:
    """A client without cookies sends what its responses have had."""
    one, other = write("Bea"), write("Cleo")
    request = RequestFactory().get("/", headers={"X-Galera-Token": f"{other}, {one}"})
    (need,) = carrier().read(request, ("default",)).needs["default"]
    assert tokens.load(other, None) == ("default", need.position)


def test_a_cookie_of_another_name_is_not_ours(warm: Shop) -> None:
    request = RequestFactory().get("/")
    request.COOKIES |= {"galera_other": write(), "galerax": write("Cleo"), "galera.a": ""}
    assert carrier().read(request, ("default",)) == Brought({}, {})


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (HERE, HERE, True),
        (LATER, HERE, True),
        (HERE, LATER, False),
        (EVERYTHING, LATER, True),
        (LATER, EVERYTHING, False),
        (LATER, ELSEWHERE, False),
        (ELSEWHERE, HERE, False),
    ],
)
def test_which_token_is_of_no_more_use(
    shop: Shop, new: Position, old: Position, expected: bool
) -> None:
    """That two are of one node says nothing of which is the later."""
    found = includes(tokens.dump("default", new), tokens.dump("default", old), None)
    assert found is expected


def test_one_that_is_forged_or_of_another_alias(shop: Shop) -> None:
    token = tokens.dump("default", HERE)
    assert includes(token, "forged", None)
    assert not includes(token, tokens.dump("other", HERE), None)

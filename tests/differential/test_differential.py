"""Stock Django is the oracle: a fixed, short selection; ``make differential`` runs many more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from galera_router.testing import Proxy
from tests.differential.examples import DIFFERING, MAY_DIFFER, MENDED
from tests.differential.faulty import Cut, Cutter, Interrupter, Point
from tests.differential.language import Programme, Step
from tests.differential.levels import level
from tests.differential.pair import Pair
from tests.differential.search import Report, Search
from tests.differential.sides import ROUTER, STOCK

SEED = 7
CREATE = Point(Programme((Step("create_author", ("c",)),)), None)
WRITE = Step("create_shelf", ("n0",))
EVERY = 9  # so many points apart


def searched(both: Pair, proxies: dict[str, Proxy], number: int, programmes: int) -> Report:
    cases, play = level(number, both, proxies)
    both.deaths.clear()
    report = Search(cases, play, shrink=10).run(programmes, SEED)
    both.forget_losses()
    assert not both.deaths, both.deaths
    return report


@pytest.mark.parametrize(("number", "programmes"), [(0, 120), (1, 40), (2, 12)])
def test_the_router_is_as_stock_django(
    both: Pair, node_proxies: dict[str, Proxy], number: int, programmes: int
) -> None:
    """What differs is a known fault, or is allowed; and the reads were on a secondary."""
    before = both.tables.served()
    report = searched(both, node_proxies, number, programmes)
    assert not report.new, "\n".join(map(str, report.new.values()))
    assert report.programmes == programmes
    assert both.tables.served() - before > programmes / 4


def known_fault(name: str) -> pytest.MarkDecorator:
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=f"known fault {name}")


def differing(what: str, fault: str, programme: Programme) -> Any:
    return pytest.param(programme, id=f"{fault}-{what}", marks=[known_fault(fault)])


EXAMPLES = [
    *(differing(what, *example) for what, example in DIFFERING.items()),
    *(pytest.param(example, id=name) for name, example in MENDED.items()),
]


@pytest.mark.parametrize("programme", EXAMPLES)
def test_an_example_does_not_differ(both: Pair, programme: Programme) -> None:
    """When one does not, its fault is mended: it goes to MENDED, and the fault's rule goes."""
    difference = both.play(programme).difference
    assert difference is None, str(difference)


IN_A_HOOK = (
    Step("execute_session", ("SET @x = 5",)),
    Step("atomic", (True, False), (WRITE, Step("on_commit", ("create", True)))),
)


def test_a_loss_in_a_hook_is_the_hooks(both: Pair, node_proxies: dict[str, Proxy]) -> None:
    """Django swallows the error of a robust hook: what the block has done is there."""
    cutter = Cutter(both, node_proxies)
    cuts = [Cut(Programme(IN_A_HOOK), 0, "client", at) for at in range(500, 1000, 10)]
    differences = [difference for cut in cuts if (difference := cutter.play(cut)) is not None]
    both.forget_losses()
    assert differences == []
    assert sum(cutter.gave_up.values()) > 1


UNDONE = Step("driver", ("INSERT INTO shop_tag (name) VALUES ('own')",))


def test_connecting_where_all_is_to_be_undone_does_not_differ(both: Pair) -> None:
    """In a block that is to be rolled back a connection is set up as in any other."""
    steps = (Step("set_rollback", (True,)), UNDONE)
    difference = both.play(Programme(steps, "atomic_request")).difference
    assert difference is None, str(difference)


@pytest.mark.parametrize(("name", "programme"), MAY_DIFFER.values(), ids=MAY_DIFFER)
def test_what_may_differ_is_explained(both: Pair, name: str, programme: Programme) -> None:
    """It differs, and the rule of that name is why."""
    report = Search(st.just(programme), lambda case: both.play(case).difference).run(1, SEED)
    assert (dict(report.allowed), report.new) == ({name: 1}, {})


@pytest.mark.parametrize("side", [STOCK, ROUTER])
def test_an_interrupted_create_leaves_nothing(both: Pair, side: str) -> None:
    """Of a block that is undone nothing is left, wherever in it the exception came."""
    interrupter = Interrupter(both, side)
    number = max(interrupter.count(CREATE) for _ in range(2))
    left = [at for at in range(1, number, EVERY) if interrupter.at(CREATE, at) is not None]
    assert interrupter.interrupted
    assert left == []


@pytest.mark.parametrize("side", [STOCK, ROUTER])
def test_an_interrupted_write_is_done_once_or_not_at_all(both: Pair, side: str) -> None:
    """Outside a block too; and what is told as done is done."""
    interrupter = Interrupter(both, side)
    wrong = [at for at in range(1, 400, EVERY) if interrupter.autocommit(WRITE, at) is not None]
    assert interrupter.interrupted
    assert wrong == []


BROKEN = {
    "lose_a_write": (Step("delete_tags", ("t0",)), Step("count", ("Tag",))),
    "skip_a_hook": (Step("atomic", (True, False), (Step("on_commit", ("note", False)),)),),
    "commit_for_rollback": (
        Step("atomic", (True, False), (Step("create_shelf", ("n0",)), Step("fail"))),
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_router_is_found(both: Pair, broken: str) -> None:
    """The comparison can fail: by what is seen, by a hook, by the tables."""
    programme = Programme(BROKEN[broken])
    assert both.play(programme).difference is None
    with both.broken(broken):
        assert both.play(programme).difference is not None
    assert both.play(programme).difference is None


def test_a_programme_that_hangs_is_a_difference(both: Pair) -> None:
    """And the next one is run by a new process."""
    ticket, count = Programme((Step("create_ticket"),)), Programme((Step("count", ("Tag",)),))
    before, both.limit = both.limit, 3.0
    with both.broken("sleep"):
        difference = both.play(ticket).difference
        assert difference is not None
        assert (difference.kind, difference.router) == ("hung", "hung")
        both.limit = before
        assert both.play(count).difference is None

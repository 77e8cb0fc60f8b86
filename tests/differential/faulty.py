"""Programmes with a fault: a connection cut at a byte, an exception at a point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from hypothesis import strategies as st

from galera_router.testing import Proxy
from tests.differential.compare import Difference, compare_renamed, exception
from tests.differential.language import Programme, Step
from tests.differential.pair import Pair
from tests.differential.sides import ROUTER, STOCK
from tests.differential.strategies import programmes, quiet_steps

PERMILLE = 1000
NODES = ("at the busiest node", "at the second")
GIVES_UP = ("FailoverImpossible", "CommitOutcomeUnknown", "ReplayMismatch", "NoNodeAvailable")
SHOULD_NOT = "without a reason"


@dataclass(frozen=True)
class Cut:
    """A programme, and a byte at which one of the router's connections is cut.

    Attributes:
        node: the cut is at the node that is sent most (0) or second most (1).
        toward: the direction whose bytes are counted.
        permille: how far into what passes there without a cut; None for no cut.
    """

    programme: Programme
    node: int
    toward: Literal["server", "client"]
    permille: int | None

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.programme.steps

    def with_steps(self, steps: tuple[Step, ...]) -> Cut:
        return replace(self, programme=replace(self.programme, steps=steps))

    def to_json(self) -> dict[str, Any]:
        return {
            "programme": self.programme.to_json(), "node": self.node,
            "toward": self.toward, "permille": self.permille,
        }  # fmt: skip

    def __str__(self) -> str:
        if self.permille is None:
            return str(self.programme)
        where = f"# cut at {self.permille / 10} % of what goes to the {self.toward}, "
        where += NODES[self.node]
        return f"{where}\n{self.programme}"


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    return Cut(
        draw(programmes()),
        draw(st.sampled_from((0, 0, 1))),
        draw(st.sampled_from(("server", "client"))),
        draw(st.integers(0, PERMILLE - 1)),
    )


class Cutter:
    """Plays programmes with a cut.

    Args:
        both: a pair whose router is behind ``proxies``.
    """

    def __init__(self, both: Pair, proxies: Mapping[str, Proxy]) -> None:
        self.both, self.proxies = both, proxies
        self.fired = 0
        self.gave_up: dict[str, int] = {}

    def play(self, case: Cut) -> Difference | None:
        """The difference between the router with the cut and stock Django without one."""
        before = {name: proxy.passed for name, proxy in self.proxies.items()}
        whole = self.both.play(case.programme)
        if case.permille is None or (whole.difference and whole.difference.kind != "keys"):
            return None  # it differs without a cut
        passed = {
            name: getattr(proxy.passed, f"to_{case.toward}")
            - getattr(before[name], f"to_{case.toward}")
            for name, proxy in self.proxies.items()
        }
        node = sorted(passed, key=lambda name: -passed[name])[case.node]
        proxy = self.proxies[node]
        rule = proxy.cut_at_byte(passed[node] * case.permille // PERMILLE, toward=case.toward)
        answer, rows = self.both.alone(ROUTER, case.programme)
        self.fired += rule.fired
        proxy.heal()
        return self._judge(case, whole.stock, answer, {**rows, STOCK: whole.rows[STOCK]})

    def _judge(
        self, case: Cut, stock: dict[str, Any], router: dict[str, Any], rows: dict[str, list[Any]]
    ) -> Difference | None:
        difference = compare_renamed(stock, router, rows)
        if difference is None or "hung" in router:
            return difference
        at_the_end = difference.kind == "status"
        name = told(difference, router)
        if name not in GIVES_UP:
            return difference
        self.gave_up[name] = self.gave_up.get(name, 0) + 1
        if name == "ReplayMismatch":  # nobody else has written
            return difference
        if at_the_end and _compare_rows(rows) is None:
            return None
        step = next((at for at, error in router["failed"] if error == name), router["started"])
        return self._left(case, {"step": step, "error": name}, rows)

    def _left(
        self, case: Cut, loss: dict[str, Any], rows: dict[str, list[Any]]
    ) -> Difference | None:
        """What is in the tables must be what stock Django leaves when it loses the connection
        there: before the step is done, in its COMMIT, or behind it."""
        found: list[Difference] = []
        for when in ("before", "after", "commit"):
            _, left = self.both.alone(STOCK, case.programme, loss={**loss, "when": when})
            other = _compare_rows({**rows, STOCK: left[STOCK]})
            if other is None:
                return None
            found.append(other)
        return replace(found[0], kind="left", what=f"after {loss['error']}")


def told(difference: Difference, router: dict[str, Any]) -> str | None:
    """The name of the exception with which the router has told of ``difference``.

    Where Django swallows it, in ending a savepoint, only the state of the block differs; it is told
    again at the end of the block. Where the programme swallows it, what comes behind differs: a
    temporary table, say, is gone.
    """
    if difference.kind == "status":
        return str(router["request"])
    own = exception(difference.router)
    if own is not None and not difference.what.startswith("state "):
        return own
    told = [*(error for _, error in router["failed"]), router["request"]]
    return next((error for error in told if error in GIVES_UP), None)


def _compare_rows(rows: dict[str, list[Any]]) -> Difference | None:
    nothing = {"events": [], "runs": 1, "status": 0}
    return compare_renamed(nothing, nothing, rows)


@dataclass(frozen=True)
class Point:
    """Steps in a block that is undone, with an exception at one of their points.

    Attributes:
        permille: how far into the points; None for no interruption.
    """

    programme: Programme
    permille: int | None

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.programme.steps

    def with_steps(self, steps: tuple[Step, ...]) -> Point:
        return replace(self, programme=replace(self.programme, steps=steps))

    def to_json(self) -> dict[str, Any]:
        return {"programme": self.programme.to_json(), "permille": self.permille}

    def __str__(self) -> str:
        if self.permille is None:
            return str(self.programme)
        where = f"# in a block that is undone, interrupted at {self.permille / 10} % of the points"
        return f"{where}\n{self.programme}"


@st.composite
def points(draw: st.DrawFn) -> Point:
    body = draw(st.lists(quiet_steps(), min_size=1, max_size=4))
    return Point(Programme(tuple(body)), draw(st.integers(0, PERMILLE - 1)))


class Interrupter:
    """Plays programmes with an exception at a point.

    Args:
        side: the one that is interrupted.
    """

    def __init__(self, both: Pair, side: str = ROUTER) -> None:
        self.both, self.side = both, side
        self.interrupted = 0

    def count(self, case: Point) -> int:
        """How many points there are, 0 if the programme hangs."""
        counted, _ = self.both.alone(self.side, case.programme, at=0, autocommit=False)
        return int(counted.get("count", 0))

    def play(self, case: Point) -> Difference | None:
        """What is left of a block that was undone, if anything is."""
        if case.permille is None:
            return self.at(case, 0)
        return self.at(case, 1 + self.count(case) * case.permille // PERMILLE)

    def at(self, case: Point, at: int) -> Difference | None:
        """The same at the point of that number."""
        seen, rows = self.both.alone(self.side, case.programme, at=at, autocommit=False)
        if "hung" in seen:
            return Difference("hung", "", "the programme", "ended", "hung")
        self.interrupted += seen["interrupted"]
        return _afterwards(seen["events"]) or _left(rows[self.side])

    def autocommit(self, write: Step, at: int) -> Difference | None:
        """A write outside a block, interrupted: done once or not at all, and never told as done
        if it is not. ``write`` is one that adds a row to shop_shelf."""
        programme = Programme((write,))
        seen, rows = self.both.alone(self.side, programme, at=at, autocommit=True)
        if "hung" in seen:
            return Difference("hung", "", "the programme", "ended", "hung")
        self.interrupted += seen["interrupted"]
        done = [len(node["shop_shelf"]) - len(_SEEDED[3]) for node in rows[self.side]]
        allowed = [1] if seen["raised"] is None else [0, 1]
        if any(number not in allowed for number in done) or len(set(done)) > 1:
            return Difference("left", "shop_shelf", "the rows", allowed, done)
        return None


def _afterwards(events: list[Any]) -> Difference | None:
    for (_, what, found, _), expected in zip(events, AFTERWARDS, strict=True):
        if found != expected:
            return Difference("left", "", what, expected, found)
    return None


def _left(nodes: list[dict[str, Any]]) -> Difference | None:
    for node in nodes:
        for table, rows in zip(AFTER_TABLES, _SEEDED, strict=True):
            if node[table] != rows:
                return Difference("left", table, "the rows", rows, node[table])
    return None


AFTER_TABLES = ("shop_author", "shop_book", "shop_tag", "shop_shelf")
_SEEDED: list[list[Any]] = [
    [["shop_author+0", "a0"], ["shop_author+1", "a1"], ["shop_author+2", "a2"]],
    [
        ["shop_book+0", "shop_author+0", "b0", 1, ""],
        ["shop_book+1", "shop_author+0", "b1", 1, ""],
        ["shop_book+2", "shop_author+1", "b2", 2, ""],
    ],
    [["shop_tag+0", "t0"], ["shop_tag+1", "t1"]],
    [["after", 9], ["s0", 1], ["s1", 2]],
]
AFTERWARDS: tuple[Any, ...] = ([False, True, False], "after", _SEEDED, _SEEDED)

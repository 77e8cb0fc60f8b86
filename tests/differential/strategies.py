"""Random programmes: trees of a few kinds of statements each."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from tests.differential.acts import GROUPS, OPS
from tests.differential.language import SCENES, Programme, Step

DEPTH = 2  # blocks within blocks
LONGEST = 6  # steps of one level
ALWAYS = frozenset({"read", "write", "transaction"})


@cache
def _step(op: str) -> st.SearchStrategy[Step]:
    args = [st.sampled_from(list(choices)) for choices in OPS[op].choices]
    return st.tuples(*args).map(lambda values: Step(op, values))


@cache
def _ops(groups: frozenset[str], block: bool) -> list[str]:
    return [name for name, op in OPS.items() if op.group in groups and op.is_block is block]


@cache
def _leaves(groups: frozenset[str]) -> st.SearchStrategy[Step]:
    """First a group, then one of its statements: large groups do not crowd out small ones."""
    each = {group: _ops(frozenset({group}), False) for group in sorted(groups)}
    each["read"] = each["read"] + each.pop("transaction", [])  # not to raise all the time
    return st.one_of([st.sampled_from(ops).flatmap(_step) for ops in each.values() if ops])


def _some(steps: st.SearchStrategy[Step], least: int) -> st.SearchStrategy[tuple[Step, ...]]:
    """As many as may be, each number as likely; lists alone are mostly short."""
    return st.integers(least, LONGEST).flatmap(lambda number: st.tuples(*[steps] * number))


@cache
def _trees(groups: frozenset[str], depth: int) -> st.SearchStrategy[Step]:
    leaves = _leaves(groups)
    if not depth:
        return leaves
    head = st.sampled_from(_ops(groups, True)).flatmap(_step)
    body = _some(_trees(groups, depth - 1), 1)
    block = st.builds(lambda step, steps: Step(step.op, step.args, steps), head, body)
    return st.one_of(leaves, block, leaves)


@st.composite
def programmes(draw: st.DrawFn) -> Programme:
    """At least three statements, of the common groups and up to three of the rarer ones."""
    rarer = sorted(set(GROUPS) - ALWAYS)
    groups = ALWAYS | draw(st.frozensets(st.sampled_from(rarer), max_size=3))
    steps = draw(_some(_trees(groups, DEPTH), 3))
    scene = draw(st.sampled_from(list(SCENES)))
    return Programme(steps, scene)


QUIET = frozenset({"read", "write", "shapes", "bulk", "relations", "upsert", "raw"})
ENDS = ("CALL commit_between",)  # commits what it finds


def quiet_steps() -> st.SearchStrategy[Step]:
    """Statements and blocks that leave nothing behind when the block around them is undone."""
    ops = QUIET | {"transaction"}
    return _trees(ops, 1).filter(lambda step: not any(end in str(step) for end in ENDS))
